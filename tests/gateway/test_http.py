"""Host programs over HTTP: each has sessions of its own, and only this machine's programs are let in."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from tests.cli.conftest import Command
from tests.conftest import Listening, eventually, strays
from tests.forked import program_of
from tests.gateway.conftest import Serving, behind, everything, ledger_entry, stdio_config, unruly_entry
from tests.gateway.test_stdio import call

from jackfield import AuthenticationError, Catalog, ConfigError, MCPClientSessionManager, ToolResult
from jackfield.gateway.http import listen

Start = Callable[..., Serving]


@pytest.fixture
def manager(tmp_path: Path) -> MCPClientSessionManager:
    """Of a host program, with a catalog of its own."""
    return MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))


async def test_clients_have_sessions_of_their_own_which_end_with_them(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager
) -> None:
    jackfield.configure_user(one=unruly_entry(), two=unruly_entry())
    gateway = serving()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", gateway.url)
    async with manager.open_session(gateway.config()) as ada:
        assert ada.protocol_version == "2025-11-25"
        assert [tool.name for tool in (await ada.list_tools()).tools] == ["find_tools", "call_tool"]
        assert behind() == []
        async with manager.open_session(gateway.config()) as grace:
            assert [(await call(ada, "one.count")).text for _ in range(3)] == ["1", "2", "3"]
            assert (await call(grace, "one.count")).text == "1"
            assert (await call(grace, "two.count")).text == "1"
            assert len(behind()) == 3
        assert eventually(lambda: len(behind()) == 1, 10)
        assert (await call(ada, "one.count")).text == "4"
    assert eventually(lambda: behind() == [], 10)


async def test_a_server_that_is_kept_alive_outlasts_its_idle_time(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager
) -> None:
    idle = {"idle_timeout": 0.3}
    jackfield.configure_user(one=unruly_entry(session=idle), two=unruly_entry(session=idle))
    async with manager.open_session(serving("--keep-alive", "one").config()) as session:
        assert [(await call(session, f"{name}.count")).text for name in ("one", "two")] == ["1", "1"]
        assert eventually(lambda: len(behind()) == 1, 10)
        assert (await call(session, "one.count")).text == "2"
    assert eventually(lambda: behind() == [], 10)


@pytest.mark.parametrize(("policy", "is_http"), [("tell", False), ("refuse", True)])
async def test_a_client_reads_that_state_behind_is_gone(
    policy: str, is_http: bool, serving: Start, jackfield: Command, manager: MCPClientSessionManager, tmp_path: Path
) -> None:
    jackfield.configure_user(db=ledger_entry(tmp_path, session={"on_state_lost": policy}))
    front = serving("--all-tools").config() if is_http else stdio_config(jackfield)
    async with manager.open_session(front) as session:

        async def run(sql: str) -> ToolResult:
            arguments = {"sql": sql}
            return await (
                session.call_tool("execute", arguments) if is_http else call(session, "db.execute", arguments)
            )

        for sql in ("BEGIN", "INSERT INTO t VALUES (1)"):
            assert "gone" not in (await run(sql)).text
        [process] = behind()
        os.kill(process, signal.SIGKILL)
        answer = await run("INSERT INTO t VALUES (2)")
        assert "(transactions, open files, logins) was lost" in answer.text
        after = await run("SELECT x FROM t")
        assert "gone" not in after.text
        assert after.structured_content is not None
        if policy == "refuse":
            assert (answer.is_error, after.data) == (True, {"rows": []})


async def test_requests_without_sessions_share_nothing(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager
) -> None:
    """Over HTTP the protocol of 2026-07-28 has no sessions: whoever wants to keep state says so, each time."""
    jackfield.configure_user(one=unruly_entry())
    gateway = serving()
    config = gateway.config(protocol="auto")
    async with manager.open_session(config) as ada, manager.open_session(config) as grace:
        assert ada.protocol_version == "2026-07-28"
        tools = {tool.name: tool for tool in (await ada.list_tools()).tools}
        assert "session" in tools["call_tool"].input_schema["properties"]
        assert [(await call(session, "one.count")).text for session in (ada, grace, ada)] == ["1", "1", "1"]
        assert eventually(lambda: behind() == [], 10)

        async def kept(session: str) -> str:
            return (await ada.call_tool("call_tool", {"tool": "one.count", "session": session})).text

        count, handle = re.fullmatch(r'(\d+)\n.*pass session="([0-9a-f]{16})".*', await kept("new")).groups()  # type: ignore[union-attr]
        assert (count, await kept(handle), await kept(handle)) == ("1", "2", "3")
        assert re.match(r"1\n", await kept("new"))
        assert "This session does not exist" in await kept("0123456789abcdef")
        assert len(behind()) == 2
    assert gateway.end(signal.SIGTERM) == 143
    assert not strays()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_raw_client_of_the_sdk(mode: str, serving: Start, jackfield: Command) -> None:
    jackfield.configure_user(one=everything(), two=unruly_entry())
    gateway = serving("--all-tools")
    seen: list[float] = []

    async def progress(done: float, total: float | None, message: str | None) -> None:
        seen.append(done)

    async with Client(streamable_http_client(gateway.url), mode=mode) as client:
        tools = [tool.name for tool in (await client.list_tools()).tools]
        assert {"picture", "one_echo", "two_echo"} <= set(tools)
        assert (await client.call_tool("picture", {})).content[1].type == "image"
        assert (await client.call_tool("two_echo", {"text": "a"})).content[0].text == "a"  # type: ignore[union-attr]
        await client.call_tool("steps", {"count": 2}, progress_callback=progress)
    assert seen == [1, 2]


@pytest.mark.parametrize("protocol", ["auto", "handshake"])
async def test_changes_are_told_to_all_clients(
    protocol: str,
    serving: Start,
    jackfield: Command,
    manager: MCPClientSessionManager,
    listening: Callable[..., Listening],
) -> None:
    """Of one server that all of them use; what a process lists is listed for its client alone."""
    jackfield.configure_user(one={"url": listening("everything.py", "streamable-http").http("one").url})
    gateway = serving("--all-tools")
    listens, changes_it = gateway.config(protocol=protocol), gateway.config()
    async with manager.open_session(listens) as session, manager.open_session(changes_it) as other:
        assert session.server_capabilities.tools
        assert session.server_capabilities.tools.list_changed
        await session.list_tools()
        async with session.listen(tools_list_changed=True) as changes:
            await other.call_tool("add_tool", {"name": "late"})
            with anyio.fail_after(10):
                await anext(aiter(changes))
        assert "late" in [tool.name for tool in (await session.list_tools()).tools]
        assert (await other.call_tool("late")).text == "late"


async def test_a_call_that_is_cancelled_over_http(
    serving: Start, jackfield: Command, manager: MCPClientSessionManager, tmp_path: Path
) -> None:
    jackfield.configure_user(one=everything())
    gateway = serving()
    for protocol in ("auto", "handshake"):
        log = tmp_path / protocol
        async with manager.open_session(gateway.config(protocol=protocol)) as session:
            begun = anyio.Event()

            async def progress(done: float, total: float | None, message: str | None, begun=begun) -> None:  # type: ignore[no-untyped-def]
                begun.set()

            async with anyio.create_task_group() as tasks:
                arguments = {"seconds": 60, "log": str(log)}
                tasks.start_soon(lambda: call(session, "one.slow", arguments, progress_callback=progress))  # noqa: B023
                await begun.wait()
                tasks.cancel_scope.cancel()
            with anyio.fail_after(10):
                while not log.exists() or log.read_text() != "cancelled":
                    await anyio.sleep(0.01)


# Who is let in


async def test_web_pages_are_not_let_in(serving: Start, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry())
    gateway = serving()
    port = gateway.url.partition("127.0.0.1:")[2].partition("/")[0]
    body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    good = {"Accept": "application/json, text/event-stream"}
    async with httpx2.AsyncClient(headers=good) as client:
        for headers, status in [
            ({"Host": "evil.example"}, 421),
            ({"Host": f"evil.example:{port}"}, 421),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": f"http://127.0.0.1:{port}"}, 400),  # let in, but ping wants a session
            ({"Host": f"localhost:{port}"}, 400),
        ]:
            assert (await client.post(gateway.url, json=body, headers=headers)).status_code == status, headers


@pytest.mark.parametrize("how", ["file", "variable"])
async def test_a_token_is_asked_for(
    how: str, serving: Start, jackfield: Command, manager: MCPClientSessionManager, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry())
    (tmp_path / "token").touch(0o600)
    (tmp_path / "token").write_text("s3cret-token\n")
    if how == "file":
        gateway = serving("--token-file", str(tmp_path / "token"))
    else:
        gateway = serving(env={"JACKFIELD_SERVE_TOKEN": "s3cret-token"})
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "s3cret-token"}):
        with pytest.raises(AuthenticationError):
            async with manager.open_session(gateway.config(headers=headers)):
                pass
    async with manager.open_session(gateway.config(headers={"Authorization": "Bearer s3cret-token"})) as session:
        assert (await call(session, "one.echo", {"text": "a"})).text == "a"
    gateway.process.terminate()
    output, errors = gateway.process.communicate(timeout=30)
    assert "s3cret" not in output + errors


@pytest.mark.parametrize("address", ["127.0.0.1:0", "localhost:0", "[::1]:0", "0", "127.0.0.2:0"])
def test_addresses_of_this_machine(address: str) -> None:
    listener, url = listen(address)
    listener.close()
    assert re.fullmatch(r"http://(127\.0\.0\.[12]|localhost|\[::1\]):[1-9]\d*/mcp", url)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("0.0.0.0:80", "is reachable from other machines"),
        ("192.168.0.1:80", "is reachable from other machines"),
        ("example.org:80", "is reachable from other machines"),
        ("[::]:80", "is reachable from other machines"),
        ("localhost", "not an address to listen on"),
        (":80", "not an address to listen on"),
        ("127.0.0.1:99999", "not an address to listen on"),
        ("", "not an address to listen on"),
        ("127.0.0.1:-1", "not an address to listen on"),
    ],
)
def test_other_addresses_are_refused(address: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        listen(address)


def test_a_port_that_is_taken() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        with pytest.raises(ConfigError, match="Listening on"):
            listen(f"127.0.0.1:{taken.getsockname()[1]}")


# Ends


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
async def test_a_signal_ends_everything(
    number: int, code: int, serving: Start, jackfield: Command, manager: MCPClientSessionManager
) -> None:
    jackfield.configure_user(one=unruly_entry("--ignore-sigterm", "--helper", "session"))
    gateway = serving()
    async with httpx2.AsyncClient(headers={"Accept": "application/json, text/event-stream"}, timeout=30) as client:
        hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
        begin = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}
        session = {"Mcp-Session-Id": (await client.post(gateway.url, json=begin)).headers["mcp-session-id"]}
        params = {"name": "call_tool", "arguments": {"tool": "one.sleep", "arguments": {"seconds": 100}}}

        async def hang() -> None:
            with pytest.raises(httpx2.TransportError):  # noqa: PT012
                answer = await client.post(
                    gateway.url,
                    json={"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": params},
                    headers=session,
                )
                raise httpx2.ReadError(str(answer.status_code))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hang)
            with anyio.fail_after(20):
                while len(behind()) < 2:
                    await anyio.sleep(0.01)
            os.kill(program_of(gateway.process.pid), number)
    assert gateway.process.wait(30) == code
    _, errors = gateway.process.communicate()
    assert "Traceback" not in errors, errors
    assert eventually(lambda: not strays(), 10)
