"""A host program over stdio: our own client, and the SDK's, in both eras."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client
from tests.cli.conftest import Command
from tests.conftest import SERVERS, Scripted, eventually, quick_python, strays
from tests.forked import program_of
from tests.gateway.conftest import behind, everything, stdio_config, unruly_entry

from jackfield import (
    Catalog,
    MCPClientSessionManager,
    Session,
    SessionTimeoutError,
    StdioConfig,
    ToolResult,
)

ERAS = ["auto", "handshake"]


async def call(session: Session, tool: str, arguments: Mapping[str, Any] | None = None, **options: Any) -> ToolResult:
    return await session.call_tool("call_tool", {"tool": tool, "arguments": dict(arguments or {})}, **options)


def plain(result: Any) -> dict[str, Any]:
    """What a result says, but for the stamp of who says it."""
    data = result.model_dump(mode="json", by_alias=True, exclude_none=True)
    data.pop("_meta", None)
    return data


EVERYTHING_TO_SAY: list[tuple[str, dict[str, Any]]] = [
    ("echo", {"text": "hé\n" * 20_000}),
    ("receipt", {"customer": "Ada"}),
    ("picture", {}),
    ("media", {}),
    ("fail", {"why": "because"}),
]


@pytest.mark.in_turn("protocol")
@pytest.mark.parametrize("protocol", ERAS)
async def test_our_own_client_with_two_servers(protocol: str, jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(one=everything(), two=unruly_entry("--log", str(tmp_path / "log")))
    direct_config = StdioConfig(server_name="direct", command=quick_python(), args=[str(SERVERS / "everything.py")])
    manager = MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))
    async with manager.open_session(stdio_config(jackfield, protocol=protocol)) as session:
        assert session.protocol_version == ("2026-07-28" if protocol == "auto" else "2025-11-25")
        assert [tool.name for tool in (await session.list_tools()).tools] == ["find_tools", "call_tool"]
        assert behind() == []  # nothing is started before it is needed
        found = (await session.call_tool("find_tools", {"queries": ["echo"]})).text
        assert "never listed: one, two" in found
        assert behind() == []

        assert (await call(session, "two.count")).text == "1"
        assert len(behind()) == 1
        assert (await call(session, "two.count")).text == "2"

        seen: list[tuple[float, float | None, str | None]] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append((done, total, message))

        assert (await call(session, "one.steps", {"count": 2}, progress_callback=progress)).text == "2 steps"
        assert seen == [(1, 2, "step 1"), (2, 2, "step 2")]
        async with manager.open_session(direct_config) as direct:
            for tool, arguments in EVERYTHING_TO_SAY:
                through, straight = (
                    await call(session, f"one.{tool}", arguments),
                    await direct.call_tool(tool, arguments),
                )
                assert plain(through) == plain(straight), tool
    assert not strays()


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_raw_client_of_the_sdk_with_two_servers(mode: str, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry(), two=unruly_entry())
    parameters = StdioServerParameters(
        command=jackfield.python,
        args=["-m", "jackfield", "serve", "--stdio"],
        env=jackfield.environment,
        cwd=jackfield.project,
    )
    async with Client(stdio_client(parameters), mode=mode) as client:
        assert client.server_info is not None
        assert client.server_info.name == "jackfield"
        assert "find_tools" in (client.instructions or "")
        assert [tool.name for tool in (await client.list_tools()).tools] == ["find_tools", "call_tool"]
        for server in ("one", "two"):
            answer = await client.call_tool("call_tool", {"tool": f"{server}.add", "arguments": {"a": 2, "b": 3}})
            assert not answer.is_error
            assert answer.content[0].text == "5"  # type: ignore[union-attr]
        with pytest.raises(MCPError, match=r"Unknown tool: cal_tool\. Did you mean 'call_tool'"):
            await client.call_tool("cal_tool", {})
    assert not strays()


@pytest.mark.in_turn("protocol")
@pytest.mark.parametrize("protocol", ERAS)
async def test_all_tools_themselves(protocol: str, jackfield: Command, tmp_path: Path) -> None:
    only = {"include": ["ec*", "count", "steps", "fail", "receipt", "add_tool", "slow", "late"]}
    jackfield.configure_user(one=everything(**only), two=unruly_entry())
    manager = MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog"))
    async with manager.open_session(stdio_config(jackfield, "--all-tools", protocol=protocol)) as session:
        tools = {tool.name: tool for tool in (await session.list_tools()).tools}
        assert set(tools) >= {"steps", "receipt", "one_echo", "two_echo", "one_count", "two_count", "pid"}
        assert tools["one_echo"].annotations
        assert tools["one_echo"].annotations.read_only_hint
        assert tools["receipt"].output_schema
        assert eventually(lambda: behind() == [])  # they were only asked for their tools
        assert (await session.call_tool("one_echo", {"text": "a"})).text == "a"
        assert (await session.call_tool("two_echo", {"text": "b"})).text == "b"
        assert (await session.call_tool("receipt", {"customer": "Ada"})).data["customer"] == "Ada"
        failed = await session.call_tool("one_fail", {"why": "because"})
        assert failed.is_error
        assert "because" in failed.text
        seen: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            seen.append(done)

        await session.call_tool("steps", {"count": 3}, progress_callback=progress)
        assert seen == [1, 2, 3]

        async with session.listen(tools_list_changed=True) as changes:
            await session.call_tool("add_tool", {"name": "late"})
            with anyio.fail_after(10):
                await anext(aiter(changes))
        assert "late" in [tool.name for tool in (await session.list_tools()).tools]
        assert (await session.call_tool("late")).text == "late"


@pytest.mark.parametrize(("protocol", "all_tools"), [("auto", False), ("handshake", True)])
async def test_a_call_that_is_cancelled_is_cancelled_behind(
    protocol: str, all_tools: bool, jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one=everything())
    log = tmp_path / "slow.log"
    config = stdio_config(jackfield, *(["--all-tools"] if all_tools else []), protocol=protocol)
    arguments = {"seconds": 60, "log": str(log)}
    async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")).open_session(config) as session:
        begun = anyio.Event()

        async def progress(done: float, total: float | None, message: str | None) -> None:
            begun.set()

        async def make() -> None:
            if all_tools:
                await session.call_tool("slow", arguments, progress_callback=progress)
            else:
                await call(session, "one.slow", arguments, progress_callback=progress)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(make)
            await begun.wait()
            tasks.cancel_scope.cancel()
        with anyio.fail_after(10):
            while not log.exists() or not log.read_text():
                await anyio.sleep(0.01)
        assert log.read_text() == "cancelled"


async def test_what_goes_wrong_behind_is_told_to_the_model(jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(
        good=unruly_entry(), broken={"command": "no-such-command"}, dies=unruly_entry("--exit", "3", "--stderr", "ouch")
    )
    async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")).open_session(
        stdio_config(jackfield)
    ) as session:
        for tool, says in [
            ("broken.x", "'no-such-command' was not found"),
            ("dies.x", "ouch"),
            ("good.ad", "Did you mean 'good.add'"),
            ("nobody.x", "nobody"),
        ]:
            answer = await call(session, tool)
            assert answer.is_error
            assert says in answer.text, answer.text
        wrong = await call(session, "good.add", {"a": "two"})
        assert wrong.is_error
        assert wrong.text == "unruly adds integers a and b alone", "the server's own word on arguments counts"
        gone = await call(session, "good.crash", {"code": 9})
        assert gone.is_error
        assert "lost" in gone.text
        alive = await call(session, "good.echo", {"text": "alive"})
        assert alive.text.startswith("alive"), (gone.text, alive.text)


async def test_protocol_errors_keep_their_code(jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(two=unruly_entry())
    async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")).open_session(
        stdio_config(jackfield, "--all-tools")
    ) as session:
        await session.list_tools()
        with pytest.raises(MCPError, match="Did you mean 'echo'") as unknown:
            await session.sdk_session.call_tool("ech", {})
        assert unknown.value.code == -32602


# Ends


def start(command: Command, *options: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command.line("serve", "--stdio", *options),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=command.environment,
        cwd=command.project,
    )


HELLO = (
    b'{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
    b'"clientInfo":{"name":"t","version":"1"}}}\n{"jsonrpc":"2.0","method":"notifications/initialized"}\n'
)


def ask(process: subprocess.Popen[bytes], number: int, tool: str, arguments: str) -> None:
    assert process.stdin
    message = (
        f'{{"jsonrpc":"2.0","id":{number},"method":"tools/call","params":{{"name":"call_tool",'
        f'"arguments":{{"tool":"{tool}","arguments":{arguments}}}}}}}\n'
    )
    process.stdin.write(message.encode())
    process.stdin.flush()


@pytest.mark.parametrize(
    ("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), ("end of stdin", 0), ("the host dies", None)]
)
async def test_however_it_ends_nothing_is_left(how: object, code: int | None, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry("--ignore-sigterm", "--helper", "session"))
    process = start(jackfield)
    assert process.stdin
    assert process.stdout
    process.stdin.write(HELLO)
    process.stdin.flush()
    assert b"serverInfo" in process.stdout.readline()
    ask(process, 2, "one.count", "{}")
    assert b'"id":2' in process.stdout.readline()
    ask(process, 3, "one.sleep", '{"seconds": 100}')
    assert len(behind()) >= 2
    if isinstance(how, int):
        os.kill(program_of(process.pid), how)
    elif how == "end of stdin":
        process.stdin.close()
    else:
        process.stdout.close()
        process.stdin.close()
    ended = process.wait(30)
    assert code is None or ended == code
    errors = process.stderr.read().decode() if process.stderr else ""
    assert "Traceback" not in errors, errors
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            stream.close()
    assert eventually(lambda: not strays(), 10)


def test_what_a_server_prints_does_not_disturb_the_wire(jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry("--stdout", "noise", "--stderr", "noise"))
    process = start(jackfield)
    output, _ = process.communicate(HELLO, timeout=30)
    assert process.returncode == 0
    assert output.count(b"\n") == 1
    assert output.startswith(b'{"jsonrpc"')


def test_garbage_on_stdin_is_survived(jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry())
    process = start(jackfield)
    output, errors = process.communicate(b"\n\xff\xfe not json\n{}\n[]\n" + HELLO, timeout=30)
    assert b"serverInfo" in output
    assert process.returncode == 0
    assert b"Traceback" not in errors


def waiting_bytes(process: subprocess.Popen[bytes]) -> int:
    """How much of its output nobody has read."""
    assert process.stdout
    return struct.unpack("i", fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4))[0]


def test_a_host_that_does_not_read_holds_up_no_signal(jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry())
    process = start(jackfield)
    assert process.stdin
    process.stdin.write(HELLO)
    process.stdin.flush()
    ask(process, 2, "one.flood", '{"bytes": 3000000}')
    assert eventually(lambda: waiting_bytes(process) > 32_000, 20)
    os.kill(program_of(process.pid), signal.SIGTERM)
    assert process.wait(20) == 143
    process.communicate()


async def test_a_server_that_hangs_costs_only_its_call(jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(one=unruly_entry(), two=unruly_entry())
    async with MCPClientSessionManager(catalog=Catalog(tmp_path / "catalog")).open_session(
        stdio_config(jackfield)
    ) as session:
        await call(session, "one.count")
        async with anyio.create_task_group() as tasks:

            async def hang() -> None:
                with pytest.raises(SessionTimeoutError):
                    await call(session, "one.sleep", {"seconds": 100}, call_timeout=1.5)

            tasks.start_soon(hang)
            for _ in range(3):
                assert (await call(session, "two.echo", {"text": "a"})).text == "a"


@pytest.mark.in_turn("protocol")
@pytest.mark.parametrize("protocol", ERAS)
async def test_a_host_sees_what_its_models_api_takes(
    protocol: str, jackfield: Command, scripted: Scripted, tmp_path: Path
) -> None:
    odd = {"oneOf": [{"properties": {"$filter": {"type": "string"}}, "required": ["$filter"]}, {"required": ["id"]}]}
    script = {
        "tools/list": {"tools": [{"name": "work", "inputSchema": {"type": "object", **odd}}]},
        "tools/call": "echo",
    }
    behind_it = scripted(script)
    jackfield.configure_user(one={"command": behind_it.command, "args": behind_it.args})
    async with MCPClientSessionManager().open_session(
        stdio_config(jackfield, "--all-tools", protocol=protocol)
    ) as session:
        [tool] = (await session.list_tools()).tools
        assert list(tool.input_schema["properties"]) == ["filter", "id"]
        assert "oneOf" not in tool.input_schema
        assert tool.description == "work\n\nGive exactly one of these sets of arguments: filter; id."
        assert json.loads((await session.call_tool("work", {"filter": "x"})).text) == {"$filter": "x"}
