"""Hooks around calls: approval, changed arguments and headers, results and errors seen on the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from mcp.types import TextContent
from tests.reliability.scenario import rig

from jackfield import CallDeniedError, CallHook, JackfieldError, MCPClientSessionManager, ToolCall, ToolResult


class Recorder(CallHook):
    """Notes what passes."""

    def __init__(self, name: str, notes: list[str]) -> None:
        self.name = name
        self.notes = notes

    async def before(self, call: ToolCall) -> None:
        self.notes.append(f"{self.name} before {call.tool} {dict(call.arguments)}")

    async def after(self, call: ToolCall, result: ToolResult) -> None:
        self.notes.append(f"{self.name} after {result.text}")

    async def on_error(self, call: ToolCall, error: JackfieldError) -> None:
        self.notes.append(f"{self.name} error {error.code}")


class Approval(CallHook):
    """Lets through what only reads."""

    async def before(self, call: ToolCall) -> None:
        if not (call.annotations and call.annotations.read_only_hint):
            raise call.deny("somebody has to approve what is not read-only")


class Tenant(CallHook):
    """Adds an argument and a header."""

    async def before(self, call: ToolCall) -> ToolCall:
        return call.with_arguments(n=7).with_headers(x_tenant="acme")


class Polite(CallHook):
    """Has something to say instead."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        return result.model_copy(update={"content": [TextContent(type="text", text="changed")]})

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult:
        return ToolResult(content=[TextContent(type="text", text=f"sorry: {error.code}")])


async def test_hooks_run_in_order_and_end_in_reverse(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager(hooks=[Recorder("outer", notes)])
        async with manager.open_session(server.config, hooks=[Recorder("inner", notes)]) as session:
            await session.call_tool("work", {"n": 1})
            with pytest.raises(JackfieldError):
                await session.call_tool("work", {"n": "one"})
    assert notes == [
        "outer before work {'n': 1}",
        "inner before work {'n': 1}",
        "inner after work 1",
        "outer after work 1",
        "outer before work {'n': 'one'}",
        "inner before work {'n': 'one'}",
        "inner error invalid_arguments",
        "outer error invalid_arguments",
    ]


async def test_a_denied_call_never_ran(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        manager = MCPClientSessionManager(hooks=[Recorder("log", notes), Approval(), Recorder("never", notes)])
        async with manager.open_session(server.config) as session:
            assert (await session.call_tool("look", {"n": 1})).text == "look 1"
            with pytest.raises(CallDeniedError, match=r"'work'.*somebody has to approve.*Nothing was sent") as caught:
                await session.call_tool("work", {"n": 2})
        assert server.runs(2) == 0
    assert caught.value.sent is False
    assert caught.value.code == "call_denied"
    assert notes[-2:] == ["log before work {'n': 2}", "log error call_denied"]


async def test_arguments_and_headers_can_be_changed(tmp_path: Path) -> None:
    with rig("http", tmp_path) as server:
        async with MCPClientSessionManager(hooks=[Tenant()]).open_session(server.config) as session:
            assert (await session.call_tool("work", {"n": 1})).text == "work 7"
            await session.list_tools()
        assert server.lines("tenant") == ["tenant acme"], "with the call, and with nothing else"


async def test_results_and_errors_can_be_replaced(tmp_path: Path) -> None:
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(hooks=[Polite()]).open_session(server.config) as session:
            assert (await session.call_tool("work", {"n": 1})).text == "changed"
            assert (await session.call_tool("no such tool")).text == "sorry: unknown_tool"


async def test_hooks_are_around_the_calls_of_toolkits_too(tmp_path: Path) -> None:
    notes: list[str] = []
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager({"mcpServers": {}}, hooks=[Recorder("log", notes)]) as manager:
            toolkit = await manager.toolkit([server.config])
            await toolkit["work"](n=3)
    assert notes == ["log before work {'n': 3}", "log after work 3"]
