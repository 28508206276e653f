"""What a model reads after its state is gone, and calls that are refused: where they come from, and until when."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from mcp.types import TextContent
from tests.conftest import ledger
from tests.reliability.scenario import rig, settled

from jackfield import (
    CallHook,
    Catalog,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    ServerStartError,
    Session,
    SessionTerminatedError,
    StateLostError,
    StdioConfig,
    ToolCall,
    ToolError,
    ToolResult,
    create_toolkit,
)

ONE, TWO = ({"sql": f"INSERT INTO t VALUES ({number})"} for number in (1, 2))
NOTE = "Note: the session with server 'ledger' was lost and reopened; anything the server kept for it "
GONE = "(transactions, open files, logins) was lost"


@asynccontextmanager
async def lost(
    config: StdioConfig, key: str | None = None, *, is_open: bool = True
) -> AsyncIterator[tuple[MCPClientSessionManager, Session]]:
    """A session whose transaction is gone, and its manager; it is open again, or about to be."""
    catalog = Catalog(Path(config.args[-1]).parent / "catalog")
    async with MCPClientSessionManager(MCPConfig(servers=[config]), catalog=catalog) as manager:
        async with manager.open_session(config, key=key) as session:
            await session.call_tool("execute", {"sql": "BEGIN"})
            await session.call_tool("execute", ONE)
            os.kill(session.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: session.generation == 2 if is_open else session.state_lost)
            yield manager, session


# Refusing


@pytest.mark.parametrize("fault", ["forget", "invalid"])
async def test_a_call_is_not_made_again_on_a_blank_session(fault: str, tmp_path: Path) -> None:
    """The loss is noticed by the call itself, which provably was not executed."""
    with rig("http", tmp_path, "--fault", fault, "--after", "1", on_state_lost="refuse") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            with pytest.raises(StateLostError, match=rf"'work' was not made.*{GONE[1:8]}") as caught:
                await session.call_tool("work", {"n": 2})
            assert (caught.value.sent, caught.value.state_lost, caught.value.retryable) == (False, True, True)
            assert caught.value.generation == 1
            assert server.runs(2) == 0
            result = await session.call_tool("work", {"n": 3})
            assert (result.text, result.state_lost, result.generation) == ("work 3", False, 2)


async def test_what_reads_only_is_called_again_and_tells(tmp_path: Path) -> None:
    with rig("http", tmp_path, "--fault", "forget", "--after", "1", on_state_lost="refuse") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            assert (await session.call_tool("look", {"n": 2})).state_lost
            assert not (await session.call_tool("work", {"n": 3})).state_lost


async def test_a_call_that_may_have_run_is_never_told_as_not_sent(tmp_path: Path) -> None:
    """An idempotent one would be made again; refused, it says that it may have taken effect."""
    with rig("stdio", tmp_path, "--fault", "ran-and-crash", on_state_lost="refuse") as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            with pytest.raises(StateLostError, match="may have taken effect before") as caught:
                await session.call_tool("put", {"n": 1})
            assert caught.value.sent is not False
            assert server.runs(1) == 1


async def test_calls_side_by_side_are_refused_together(tmp_path: Path) -> None:
    async with lost(ledger(tmp_path, on_state_lost="refuse")) as (_, session):
        results = await asyncio.gather(
            *(session.call_tool("execute", TWO) for _ in range(5)), session.call_tool("rows"), return_exceptions=True
        )
        assert [type(result) for result in results] == [StateLostError] * 5 + [ToolResult]
        assert results[-1].state_lost  # type: ignore[union-attr]
        assert (await session.call_tool("rows")).data == {"rows": []}


@pytest.mark.parametrize("is_open", [True, False])
async def test_until_the_loss_is_acknowledged(is_open: bool, tmp_path: Path) -> None:
    async with lost(ledger(tmp_path, on_state_lost="refuse"), key="k", is_open=is_open) as (manager, session):
        session.acknowledge()
        assert not session.state_lost
        assert not (await session.call_tool("execute", TWO)).state_lost
        async with manager.open_session("ledger", key="k") as other:
            assert not other.state_lost, "it counts for all users"


# Who is told


@pytest.mark.parametrize("policy", ["tell", "refuse"])
async def test_who_leases_a_session_for_each_call_is_told_once(policy: str, tmp_path: Path) -> None:
    """Lost while nobody had it, and then not to be opened for a while."""
    program = tmp_path / "python"
    program.symlink_to(sys.executable)
    config = ledger(tmp_path, on_state_lost=policy, retry_attempts=0).model_copy(update={"command": str(program)})
    async with MCPClientSessionManager() as manager:
        toolkit = await manager.toolkit([config], key="k")
        await toolkit.call("execute", {"sql": "BEGIN"})
        [info] = manager.sessions()
        os.kill(info.process_id or 0, signal.SIGKILL)
        assert await settled(lambda: not manager.sessions())
        program.unlink()
        for _ in range(2):
            with pytest.raises(ServerStartError):
                await toolkit.call("execute", TWO)
        program.symlink_to(sys.executable)
        if policy == "refuse":
            with pytest.raises(StateLostError):
                await toolkit.call("execute", TWO)
        else:
            assert (
                await toolkit.call("execute", TWO)
            ).text == f'{NOTE}{GONE}. Set up again what you need before you continue.\n{{"rows": []}}'
        assert (await toolkit.call("rows")).text == ('{"rows": []}' if policy == "refuse" else '{"rows": [2]}')


async def test_an_error_that_says_so_counts_as_told(tmp_path: Path) -> None:
    async with MCPClientSessionManager() as manager:
        toolkit = await manager.toolkit([ledger(tmp_path, on_state_lost="refuse")], key="k")
        await toolkit.call("execute", {"sql": "BEGIN"})
        with pytest.raises(SessionTerminatedError, match=f"may have taken effect.*{GONE[1:8]}"):
            await toolkit.call("execute", {"sql": "die"})
        assert not (await toolkit.call("execute", TWO)).state_lost


async def test_a_tools_own_error_says_so(tmp_path: Path) -> None:
    async with lost(ledger(tmp_path)) as (_, session):
        with pytest.raises(ToolError) as caught:
            await (await create_toolkit(session))["execute"](sql="ROLLBACK")
        assert caught.value.state_lost
        assert GONE in str(caught.value).splitlines()[0]
        assert str(caught.value).splitlines()[1:] == ["The server wrote: cannot rollback - no transaction is active"]


async def test_each_user_of_a_key_is_told(tmp_path: Path) -> None:
    async with lost(ledger(tmp_path), key="k") as (manager, session):
        toolkit = await manager.toolkit(key="k")
        assert (await session.call_tool("rows")).state_lost
        assert (await toolkit.call("rows")).state_lost, "that another one was told helps this one's model little"
        assert not (await toolkit.call("rows")).state_lost


@pytest.mark.parametrize("end", ["idle", "evicted", "closed"])
async def test_what_is_closed_unasked_is_lost_too(end: str, tmp_path: Path) -> None:
    config = ledger(tmp_path, idle_timeout=0.05 if end == "idle" else 60)
    other = config.model_copy(update={"server_name": "other"})
    async with MCPClientSessionManager(max_sessions=1) as manager:
        toolkit = await manager.toolkit([config], key="k")
        await toolkit.call("rows")
        if end == "evicted":
            async with manager.open_session(other):
                pass
        elif end == "closed":
            await manager.close_session("ledger", "k")
        assert await settled(lambda: not manager.sessions())
        result = await toolkit.call("rows")
        assert (result.state_lost, result.generation) == ((False, 1) if end == "closed" else (True, 2))


async def test_a_server_that_keeps_no_sessions_has_nothing_to_lose(tmp_path: Path) -> None:
    with rig("http 2026", tmp_path, idle_timeout=0.05) as server:
        async with MCPClientSessionManager() as manager:
            toolkit = await manager.toolkit([server.config], key="k")
            await toolkit.call("work", {"n": 1})
            assert await settled(lambda: not manager.sessions())
            assert (await toolkit.call("work", {"n": 2})).text == "work 2"


# What is read


async def test_the_servers_own_result_stays_as_it_was(tmp_path: Path) -> None:
    async with lost(ledger(tmp_path)) as (_, session):
        result = await session.call_tool("rows")
        assert (result.text, result.state_lost) == ('{"rows": []}', True)
        told = result.for_model()
        assert (told.text.splitlines()[1], told.data) == (result.text, {"rows": []})
        assert told.for_model() is told
        assert told.for_code().content == result.content
        bare = result.model_copy(update={"content": []})
        assert bare.for_model().text.endswith('continue.\n{"rows": []}'), "structured content alone is read as well"
        assert bare.for_model().for_code().content == []


class Terse(CallHook):
    """Replaces whatever comes."""

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult:
        return ToolResult(content=[TextContent(type="text", text="done")])

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult:
        return ToolResult(content=[TextContent(type="text", text="failed")])


@pytest.mark.parametrize(("policy", "said"), [("tell", "done"), ("refuse", "failed")])
async def test_a_hook_that_replaces_the_answer_does_not_hide_it(policy: str, said: str, tmp_path: Path) -> None:
    async with lost(ledger(tmp_path, on_state_lost=policy)) as (_, session):
        toolkit = (await create_toolkit(session)).hooked(Terse())
        note, text = (await toolkit.call("execute", TWO)).text.splitlines()
        assert (note.startswith(NOTE), text) == (True, said)


async def test_a_resource_tells_too(tmp_path: Path) -> None:
    async with lost(ledger(tmp_path, on_state_lost="refuse")) as (_, session):
        toolkit = await create_toolkit(session)
        text = (await toolkit.call("read_resource", {"uri": "ledger://t"})).text
        assert text.startswith(NOTE)
        assert text.endswith("\na table")
        assert not (await toolkit.call("execute", TWO)).state_lost


def workbench(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    bench = manager.workbench(key="k")

    async def run(sql: str) -> str:
        return (await bench.call_tool("execute", {"sql": sql})).to_text()

    return run


def router(manager: MCPClientSessionManager, **options: Any) -> Callable[[str], Awaitable[str]]:
    toolkit = manager.router(mode="search", key="k", **options).toolkit()

    async def run(sql: str) -> str:
        return (await toolkit.call("call_tool", {"tool": "execute", "arguments": {"sql": sql}})).text

    return run


def short_router(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    return router(manager, max_result_chars=200)


def router_in_code(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    found = manager.router(mode="search", key="k")

    async def run(sql: str) -> str:
        return (await found.call_tool("ledger.execute", {"sql": sql})).text

    return run


def router_with_all_tools(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    found = manager.router(mode="tools", key="k")

    async def run(sql: str) -> str:
        return (await found.toolkit().call("execute", {"sql": sql})).text

    return run


def query_tool(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    function = manager.query_tool(key="k")
    return lambda sql: function("ledger", tool_name="execute", arguments={"sql": sql})


def query_tool_with_a_handler(manager: MCPClientSessionManager) -> Callable[[str], Awaitable[str]]:
    async def handler(session: Session, query: str) -> str:
        return (await session.call_tool("execute", {"sql": query})).text

    function = manager.query_tool(key="k", handler=handler)
    return lambda sql: function("ledger", query=sql)


WAYS = [
    workbench,
    router,
    short_router,
    router_in_code,
    router_with_all_tools,
    query_tool,
    query_tool_with_a_handler,
]


@pytest.mark.parametrize("policy", ["tell", "refuse"])
@pytest.mark.parametrize("way", WAYS)
async def test_every_way_in_that_leases_for_each_call(
    way: Callable[[MCPClientSessionManager], Callable[[str], Awaitable[str]]], policy: str, tmp_path: Path
) -> None:
    async with lost(ledger(tmp_path, on_state_lost=policy), key="k") as (manager, _):
        run = way(manager)
        try:
            answer = await run(TWO["sql"])
        except StateLostError as error:
            answer = str(error)
        assert "'ledger' was lost and reopened" in answer
        assert GONE in answer
        assert answer.startswith("Note: ") is (policy == "tell")
        assert "gone" not in await run("SELECT x FROM t")
