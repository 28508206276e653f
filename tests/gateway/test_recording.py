"""What passes between a client and a server is recorded, without secrets, and served again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.cli.conftest import Command
from tests.conftest import Scripted
from tests.gateway.conftest import stdio_config

from jackfield import (
    ConfigError,
    MCPClientSessionManager,
    ReplayConfig,
    RequestError,
    SessionCallbacks,
    StdioConfig,
)
from jackfield.gateway.traces.trace import Trace

SECRET = "Zx81-qLk3-vvT0"
TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "ask")]


def trace_of(path: Path, *messages: tuple[str, dict[str, Any]]) -> Path:
    """A trace of one session, a message a second."""
    hello = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"tools": {}},
        "serverInfo": {"name": "n", "version": "7"},
    }
    opening: list[tuple[str, dict[str, Any]]] = [
        ("server", {"id": 0, "method": "initialize", "params": {}}),
        ("client", {"id": 0, "result": {**hello, "instructions": "Be kind."}}),
        ("server", {"id": 1, "method": "tools/list"}),
        ("client", {"id": 1, "result": {"tools": TOOLS}}),
    ]
    lines = [{"jackfield_trace": 1, "server": "notes", "recorded_at": "2026-11-27T10:00:00+00:00"}]
    for second, (to, message) in enumerate([*opening, *messages]):
        lines.append({"at": second, "session": 1, "to": to, "message": {"jsonrpc": "2.0", **message}})
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


def call(number: int, name: str, progress: str | None = None, **arguments: Any) -> tuple[str, dict[str, Any]]:
    meta = {} if progress is None else {"_meta": {"progressToken": progress}}
    return "server", {"id": number, "method": "tools/call", "params": {"name": name, "arguments": arguments, **meta}}


def answer(number: int, text: str) -> tuple[str, dict[str, Any]]:
    return "client", {"id": number, "result": {"content": [{"type": "text", "text": text}]}}


async def test_a_server_is_recorded_and_replayed(scripted: Scripted, jackfield: Command, tmp_path: Path) -> None:
    file = tmp_path / "trace.jsonl"
    server = scripted({"tools/list": {"tools": TOOLS}, "tools/call": "params"})
    assert isinstance(server, StdioConfig)
    environment = {**server.environment_values(), "API_TOKEN": SECRET}
    jackfield.configure_user(notes={"command": server.command, "args": server.args, "env": environment})
    [program, *arguments] = jackfield.line("record", "notes", "-o", str(file))
    recorded = stdio_config(jackfield).model_copy(update={"command": program, "args": arguments})
    async with MCPClientSessionManager().open_session(recorded) as session:
        names = [tool.name for tool in (await session.list_tools()).tools]
        deep = {"credentials": {"user": ["hunter2-deep"]}, "pin_secret": 90210}
        given = {"password": "hunter2-hunter2", "note": f"it is {SECRET}", "n": 1, **deep}
        told = (await session.call_tool("work", given)).text
    text = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert SECRET not in text
    assert "hunter2" not in text
    assert "90210" not in text
    assert {message.session for message in Trace.load(file).messages} >= {1}
    asked = len(scripted.asked)
    async with MCPClientSessionManager().open_session(ReplayConfig(server_name="again", trace=file)) as session:
        assert [tool.name for tool in (await session.list_tools()).tools] == names
        assert (await session.call_tool("work", given)).text.count("n") == told.count("n")
    assert len(scripted.asked) == asked, "the server itself was not asked again"
    replayed = stdio_config(jackfield).model_copy(update={"args": [*arguments[:-4], "replay", str(file)]})
    async with MCPClientSessionManager().open_session(replayed) as session:
        assert [tool.name for tool in (await session.list_tools()).tools] == names


async def test_answers_come_in_their_order_and_the_last_one_stays(tmp_path: Path) -> None:
    exchanges = [
        call(2, "work"),
        answer(2, "one"),
        call(3, "work", n=1),
        answer(3, "other"),
        call(4, "work"),
        answer(4, "two"),
    ]
    config = ReplayConfig(server_name="notes", trace=trace_of(tmp_path / "t.jsonl", *exchanges))
    async with MCPClientSessionManager() as manager:
        for _ in range(2):
            async with manager.open_session(config) as session:
                assert session.instructions == "Be kind."
                answers = [(await session.call_tool("work")).text for _ in range(3)]
                assert answers == ["one", "two", "two"], "each session begins with the first"
                assert (await session.call_tool("work", {"n": 1})).text == "other"


async def test_what_it_told_and_asked_comes_before_its_answer(tmp_path: Path) -> None:
    question = {
        "message": "Sure?",
        "requestedSchema": {"type": "object", "properties": {"password": {"type": "string"}}},
    }
    progress = {"method": "notifications/progress", "params": {"progressToken": "p", "progress": 1, "message": "half"}}
    exchanges = [
        call(2, "ask", "p"),
        ("client", progress),
        ("client", {"id": 9, "method": "elicitation/create", "params": question}),
        ("server", {"id": 9, "result": {"action": "accept", "content": {}}}),
        answer(2, "done"),
    ]
    config = ReplayConfig(server_name="notes", trace=trace_of(tmp_path / "t.jsonl", *exchanges), protocol="handshake")
    seen: list[str] = []

    async def elicitation(context: object, params: Any) -> Any:
        from mcp.types import ElicitResult

        seen.append(params.message)
        return ElicitResult(action="decline")

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(str(message))

    callbacks = SessionCallbacks(elicitation=elicitation)
    async with MCPClientSessionManager().open_session(config, callbacks=callbacks) as session:
        assert (await session.call_tool("ask", progress_callback=on_progress)).text == "done"
    assert seen == ["half", "Sure?"]


@pytest.mark.parametrize(
    ("tool", "arguments", "says"),
    [
        ("work", {"n": 2}, "no tools/call of 'work' with these arguments. It has: {\"n\": 1}"),
        ("ask", {}, "no tools/call of 'ask'"),
    ],
)
async def test_what_was_not_recorded_is_said(tool: str, arguments: dict[str, Any], says: str, tmp_path: Path) -> None:
    config = ReplayConfig(
        server_name="notes", trace=trace_of(tmp_path / "t.jsonl", call(2, "work", n=1), answer(2, "x"))
    )
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(RequestError) as caught:
            await session.call_tool(tool, arguments)
    assert says in str(caught.value)


async def test_it_takes_the_time_that_the_server_took(tmp_path: Path) -> None:
    trace = trace_of(tmp_path / "t.jsonl", call(2, "work"), answer(2, "x"))
    async with MCPClientSessionManager() as manager:
        for speed, is_late in ((0.01, True), (1000.0, False)):
            config = ReplayConfig(server_name=f"at {speed}", trace=trace, speed=speed)
            async with manager.open_session(config) as session:
                await session.list_tools() if not is_late else None
                with anyio.move_on_after(0.2 if is_late else 20) as scope:
                    await session.call_tool("work")
                assert scope.cancelled_caught is is_late


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Line 1"),
        ("{}\n", "no `jackfield_trace: 1`"),
        ('{"jackfield_trace": 1}\nx\n', "Line 2"),
        ('{"jackfield_trace": 1}\n{"at": 0, "session": 1, "to": "you", "message": {"id": 1}}\n', "`to` must be"),
        ("\udcff", "not UTF-8"),
    ],
)
def test_what_is_no_trace_is_said(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "t.jsonl"
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ConfigError, match=says):
        Trace.load(file)
    with pytest.raises(ValueError, match=says):
        ReplayConfig(server_name="notes", trace=file)
    with pytest.raises(ValueError, match="cannot be read"):
        ReplayConfig(server_name="notes", trace=tmp_path / "nowhere")
