"""The sessions behind a workbench: listings that fail, sessions that others push out, and the order of calls."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from tests.conftest import Scripted, Unruly, eventually

from jackfield import (
    JackfieldError,
    ListingFailed,
    MCPClientSessionManager,
    MCPConfig,
    SessionEvicted,
    create_toolkit,
)

GOOD = {"tools": [{"name": "work", "inputSchema": {"type": "object"}}]}
FAILED = {"raw": json.dumps({"jsonrpc": "2.0", "id": "@ID", "error": {"code": -32603, "message": "broke"}})}
FAILED["raw"] = FAILED["raw"].replace('"@ID"', "@ID")
CHANGED = json.dumps({"jsonrpc": "2.0", "method": "notifications/tools/list_changed"})
ANSWER = '{"jsonrpc": "2.0", "id": @ID, "result": {"content": [{"type": "text", "text": "worked"}]}}'


async def test_tools_stay_while_the_server_cannot_be_asked(scripted: Scripted) -> None:
    seen: list[Any] = []
    more = {"tools": [*GOOD["tools"], {"name": "late", "inputSchema": {"type": "object"}}]}
    script = {"tools/list": [GOOD, FAILED, FAILED, FAILED, more], "tools/call": {"raw": f"{CHANGED}\n{ANSWER}"}}
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(script)]), on_event=seen.append) as manager:
        workbench = manager.workbench()
        assert [tool["name"] for tool in await workbench.list_tools()] == ["work"]
        await workbench.call_tool("work")
        names: list[list[str]] = []

        async def again() -> bool:
            names.append([tool["name"] for tool in await workbench.list_tools()])
            return len(names[-1]) == 2

        for _ in range(100):
            if await again():
                break
            await asyncio.sleep(0.01)
        assert names[-1] == ["work", "late"]
        assert all(listed == ["work"] for listed in names[:-1])
    told = [event for event in seen if isinstance(event, ListingFailed)]
    assert {(event.method, event.error.code) for event in told} == {("tools/list", "request_failed")}


async def test_who_cannot_be_asked_is_not_without_tools(scripted: Scripted) -> None:
    failing = scripted({"tools/list": FAILED})
    none = scripted({"tools/list": {"raw": FAILED["raw"].replace("-32603", "-32601")}})
    async with MCPClientSessionManager(MCPConfig(servers=[failing])) as manager:
        with pytest.raises(JackfieldError, match="broke"):
            await manager.toolkit()
        [tool] = await manager.workbench().list_tools()
        assert tool["name"] == "open_scripted"
        assert "broke" in tool.get("description", "")
    async with MCPClientSessionManager(MCPConfig(servers=[none])) as manager:
        assert await manager.workbench().list_tools() == []
        assert (await manager.toolkit()).names == []


async def test_what_an_agent_uses_is_closed_last_and_its_next_answer_says_that_state_is_gone(unruly: Unruly) -> None:
    seen: list[Any] = []
    config = MCPConfig(servers=[unruly()])
    async with MCPClientSessionManager(config, max_sessions=2, on_event=seen.append) as manager:
        workbench = manager.workbench(key="agent")
        may_end = asyncio.Event()

        async def run() -> None:
            await workbench.list_tools()
            await workbench.call_tool("count")
            await may_end.wait()

        agent = asyncio.create_task(run())
        await asyncio.to_thread(eventually, lambda: any(info.calls for info in manager.sessions()))
        for key in ("a", "b"):
            async with manager.open_session("unruly", key=key) as session:
                await session.call_tool("count")
        assert {info.key for info in manager.sessions()} == {"agent", "b"}, "it was used before a, and runs"
        may_end.set()
        await agent
        async with manager.open_session("unruly", key="c"):
            assert {info.key for info in manager.sessions()} == {"b", "c"}, "it has ended"
        result = await workbench.call_tool("count")
        assert "reopened" in result.to_text()
        assert not result.is_error
    evicted = [event for event in seen if isinstance(event, SessionEvicted)]
    assert [(event.key, event.for_server, event.for_key, event.state_lost) for event in evicted[:2]] == [
        ("a", "unruly", "b", True),
        ("agent", "unruly", "c", True),
    ]


async def test_a_session_closed_by_close_idle_is_told_like_one_that_was_lost(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        workbench = manager.workbench()
        assert (await workbench.call_tool("count")).to_text() == "1"
        assert await manager.close_idle() == 1
        assert "reopened" in (await workbench.call_tool("count")).to_text()


@pytest.mark.parametrize("way", ["workbench", "toolkit", "session"])
async def test_ordered_calls_do_not_overtake_each_other(way: str, unruly: Unruly) -> None:
    async with (
        MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager,
        manager.open_session("unruly", key="k") as session,
    ):
        if way == "workbench":
            workbench = manager.workbench(key="k", ordered=True)
            await workbench.list_tools()

            async def call(name: str, **arguments: object) -> str:
                return (await workbench.call_tool(name, arguments)).to_text()
        else:
            toolkit = await (
                manager.toolkit(key="k", ordered=True) if way == "toolkit" else create_toolkit(session, ordered=True)
            )

            async def call(name: str, **arguments: object) -> str:
                return (await toolkit.call(name, arguments)).text

        ended: list[str] = []

        async def noted(name: str, **arguments: object) -> None:
            await call(name, **arguments)
            ended.append(name)

        await asyncio.gather(noted("sleep", seconds=0.2), noted("echo", text="x"), noted("count"))
        assert ended == ["sleep", "echo", "count"]


async def test_a_call_whose_turn_does_not_come_was_not_made(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        toolkit = await manager.toolkit(ordered=True)
        slow = asyncio.create_task(toolkit["sleep"].call({"seconds": 30}, call_timeout=5))
        await asyncio.to_thread(eventually, lambda: any(info.in_flight for info in manager.sessions()))
        with pytest.raises(JackfieldError, match="before this call of") as caught:
            await toolkit["count"].call({}, call_timeout=0.2)
        assert caught.value.sent is False
        slow.cancel()
        await asyncio.gather(slow, return_exceptions=True)
