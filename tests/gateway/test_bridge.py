"""`jackfield serve` as a bridge: one server that is configured nowhere, over another transport, as it is."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitResult
from tests.cli.conftest import Command
from tests.conftest import Listening, Scripted, eventually, everything
from tests.gateway.conftest import Serving, behind, stdio_config

from jackfield import Catalog, MCPClientSessionManager, Session, SessionCallbacks, StdioConfig

Start = Callable[..., Serving]


@pytest.fixture
def manager(tmp_path: Path) -> MCPClientSessionManager:
    """Of a host program, with a catalog of its own."""
    return MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))


def command_of(config: StdioConfig) -> str:
    return shlex.join([config.command, *config.args])


async def looked_at(session: Session) -> None:
    tools = {tool.name: tool for tool in (await session.list_tools()).tools}
    assert {"echo", "picture", "order"} <= set(tools)
    assert (await session.call_tool("echo", {"text": "a"})).text == "a"
    assert [(await session.call_tool("count")).text for _ in range(2)] == ["1", "2"]
    assert (await session.call_tool("picture")).content[1].type == "image"


@pytest.mark.parametrize("form", ["--stdio COMMAND", "COMMAND --stdio", "COMMAND"])
async def test_stdio_over_http(form: str, serving: Start, jackfield: Command, manager: MCPClientSessionManager) -> None:
    """In each form in which it can be written; nothing is configured, and nothing but the command is started."""
    line = command_of(everything("any", "stdio"))
    jackfield.configure(untrusted={"command": "touch", "args": ["started"]})
    gateway = serving(*[line if word == "COMMAND" else word for word in form.split()])
    async with manager.open_session(gateway.config()) as session:
        await looked_at(session)
        assert len(behind()) == 1
    assert eventually(lambda: behind() == [], 10)
    assert not (jackfield.project / "started").exists()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_sdks_client_at_a_bridge(mode: str, serving: Start, jackfield: Command) -> None:
    gateway = serving("--stdio", command_of(everything("any", "stdio")))
    async with Client(streamable_http_client(gateway.url), mode=mode) as client:
        assert "echo" in [tool.name for tool in (await client.list_tools()).tools]
        assert (await client.call_tool("echo", {"text": "a"})).content[0].text == "a"  # type: ignore[union-attr]


@pytest.mark.parametrize("transport", ["streamable-http", "sse"])
async def test_http_over_stdio(
    transport: str, listening: Callable[..., Listening], jackfield: Command, manager: MCPClientSessionManager
) -> None:
    url = listening("everything.py", transport).url
    upstream = ["--sse", url] if transport == "sse" else [url]
    async with manager.open_session(stdio_config(jackfield, *upstream, protocol="handshake")) as session:
        await looked_at(session)


async def test_headers_go_to_the_server_at_a_url(
    listening: Callable[..., Listening], jackfield: Command, manager: MCPClientSessionManager
) -> None:
    url = listening("everything.py", "streamable-http").url
    jackfield.environment["TENANT"] = "acme"
    front = stdio_config(jackfield, "--header", "X-Tenant: ${TENANT}", url)
    async with manager.open_session(front) as session:
        assert (await session.call_tool("headers", {"name": "x-tenant"})).text == "acme"


async def test_http_over_http(
    serving: Start, listening: Callable[..., Listening], manager: MCPClientSessionManager
) -> None:
    gateway = serving(listening("everything.py", "streamable-http").url)
    async with manager.open_session(gateway.config()) as session:
        assert (await session.call_tool("echo", {"text": "a"})).text == "a"


async def test_stdio_over_stdio(jackfield: Command, manager: MCPClientSessionManager) -> None:
    async with manager.open_session(stdio_config(jackfield, command_of(everything("any", "stdio")))) as session:
        await looked_at(session)


@pytest.mark.parametrize("front", ["--http", "--stdio"])
def test_a_server_that_cannot_be_met_is_told_where_it_was_given(front: str, jackfield: Command) -> None:
    front_options = ["--http", "0", "--stdio"] if front == "--http" else ["--stdio"]
    crashing = shlex.join([jackfield.python, "-c", "import sys; sys.exit('no licence')"])
    for upstream, says in (("nowhere --now", "nowhere"), (crashing, "no licence"), ("http://127.0.0.1:1/mcp", "")):
        if "://" in upstream and front == "--http":
            continue
        done = jackfield("serve", *front_options, upstream, stdin="")
        assert (done.exit_code, done.stdout) == (4, ""), done.stderr
        assert says in done.stderr
        assert done.stderr.startswith("Error: ")


async def test_a_known_server_starts_with_the_first_call(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager
) -> None:
    line = command_of(everything("any", "stdio"))
    for is_known in (False, True):
        gateway = serving("--stdio", line)
        async with manager.open_session(gateway.config()) as session:
            assert "echo" in [tool.name for tool in (await session.list_tools()).tools]
            assert eventually(lambda: behind() == [], 10), is_known
            await session.call_tool("echo", {"text": "a"})
            assert len(behind()) == 1


@pytest.mark.parametrize("transport", ["stdio", "streamable-http"])
async def test_a_client_of_the_handshake_era_is_asked_by_a_server_of_both(
    transport: str,
    serving: Start,
    listening: Callable[..., Listening],
    jackfield: Command,
    manager: MCPClientSessionManager,
) -> None:
    """Servers of the SDK that speak the newer protocol, too, ask only in the older one."""
    upstream = [command_of(everything("any", "stdio"))] if transport == "stdio" else []
    upstream = upstream or [listening("everything.py", transport).url]

    async def answer(context: object, params: object) -> ElicitResult:
        return ElicitResult(action="accept", content={"name": "Ann"})

    callbacks = SessionCallbacks(elicitation=answer)
    for front in (serving(*upstream).config(), stdio_config(jackfield, *upstream, protocol="handshake")):
        async with manager.open_session(front, callbacks=callbacks) as session:
            assert (await session.call_tool("ask_user")).text == "accept: Ann"


async def test_a_client_of_the_handshake_era_and_a_server_of_the_newer(
    serving: Start, scripted: Scripted, manager: MCPClientSessionManager
) -> None:
    server = scripted({"tools/call": "echo"}, line="http modern")
    gateway = serving(server.url)  # type: ignore[union-attr]
    for _ in range(2):
        async with manager.open_session(gateway.config()) as session:
            assert (await session.call_tool("work", {"a": 1})).text == '{"a": 1}'
