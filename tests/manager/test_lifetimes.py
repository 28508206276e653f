"""On a manager that is not entered, all that agents are given keeps its sessions, and closes them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from pathlib import Path

import pytest
from tests.conftest import everything, everything_in_process

from jackfield import Catalog, MCPClientSessionManager, MCPConfig, SessionTerminatedError

Count = Callable[[], Awaitable[str]]


async def toolkit(manager: MCPClientSessionManager) -> tuple[Count, AbstractAsyncContextManager[object]]:
    made = await manager.toolkit()

    async def count() -> str:
        return (await made.call("count")).text

    return count, made


async def derived(manager: MCPClientSessionManager) -> tuple[Count, AbstractAsyncContextManager[object]]:
    made = (await manager.toolkit()).filtered(["count"]).bounded(1000).renamed({"count": "again"}).for_models()

    async def count() -> str:
        return (await made.call("again")).text

    return count, made


async def router(manager: MCPClientSessionManager) -> tuple[Count, AbstractAsyncContextManager[object]]:
    made = manager.router(mode="search")

    async def count() -> str:
        return (await made.call_tool("everything.count")).text

    return count, made


async def routers_toolkit(manager: MCPClientSessionManager) -> tuple[Count, AbstractAsyncContextManager[object]]:
    made = manager.router(mode="search").toolkit()

    async def count() -> str:
        return (await made.call("call_tool", {"tool": "everything.count"})).text

    return count, made


async def query_tool(manager: MCPClientSessionManager) -> tuple[Count, AbstractAsyncContextManager[object]]:
    made = manager.query_tool()

    async def count() -> str:
        return await made("everything", tool_name="count")

    return count, aclosing(made)


@pytest.mark.parametrize("way", [toolkit, derived, router, routers_toolkit, query_tool])
async def test_sessions_are_kept_until_what_uses_them_is_closed(
    way: Callable[[MCPClientSessionManager], Awaitable[tuple[Count, AbstractAsyncContextManager[object]]]],
    tmp_path: Path,
) -> None:
    manager = MCPClientSessionManager(MCPConfig(servers=[everything()]), catalog=Catalog(tmp_path))
    count, closing = await way(manager)
    async with closing:
        assert [await count() for _ in range(3)] == ["1", "2", "3"]
        assert len(manager.sessions()) == 1
    assert manager.sessions() == []
    # It can be used again; what was behind its session was ended on purpose.
    async with closing:
        assert await count() == "1"
    assert manager.sessions() == []


async def test_what_another_uses_is_not_closed(tmp_path: Path) -> None:
    manager = MCPClientSessionManager(MCPConfig(servers=[everything()]), catalog=Catalog(tmp_path))
    first, second = [await manager.toolkit(key="shared") for _ in range(2)]
    async with second:
        async with first:
            assert (await first.call("count")).text == "1"
            assert (await second.call("count")).text == "2"
        assert (await second.call("count")).text == "3"
    assert manager.sessions() == []


def test_without_closing_the_servers_end_with_the_event_loop(tmp_path: Path) -> None:
    server = everything()
    config = {"mcpServers": {"everything": {"command": server.command, "args": server.args}}}
    code = (
        "import asyncio, json, os, sys\n"
        "from jackfield import Catalog, MCPClientSessionManager\n"
        "async def main():\n"
        "    manager = MCPClientSessionManager(json.loads(sys.argv[1]), catalog=Catalog(sys.argv[2]))\n"
        "    tools = await manager.toolkit()\n"
        "    print((await tools.call('count')).text, (await tools.call('count')).text)\n"
        "asyncio.run(main())\n"
    )
    line = [sys.executable, "-W", "error", "-c", code, json.dumps(config), str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "1 2\n", "")
    # That no server runs on is checked after every test.


async def test_a_manager_can_be_opened_and_closed_without_a_block() -> None:
    manager = MCPClientSessionManager(MCPConfig(servers=[everything_in_process()]))
    assert await manager.open() is manager
    for _ in range(2):
        async with manager.open_session("everything", key="k") as session:
            assert await session.ping() > 0
    assert manager.stats().opened == 1
    await manager.close()
    assert manager.sessions() == []


async def test_a_tool_follows_its_manager_when_that_is_left_and_entered_again() -> None:
    """A warm call leases the session that it had before, and asks the manager only where that is not open any more."""
    manager = MCPClientSessionManager(MCPConfig(servers=[everything_in_process()]))
    async with manager:
        tools = await manager.toolkit(key="k")
        assert [(await tools.call("count")).text for _ in range(2)] == ["1", "2"]
        assert await manager.close_session("everything", "k")
        assert (await tools.call("count")).text
        assert manager.stats().opened == 2
    with pytest.raises(SessionTerminatedError, match="manager was closed"):
        await tools.call("count")
    async with manager:
        assert (await tools.call("count")).text
        assert [info.key for info in manager.sessions()] == ["k"]
    assert manager.sessions() == []
