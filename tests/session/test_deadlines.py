"""One deadline for all that a caller asks for; nobody waits for another caller's."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp.server import MCPServer
from mcp.server.mcpserver import Context
from mcp.types import Tool, ToolAnnotations
from tests.conftest import MARK, TOKEN, Pushy, strays

from jackfield import (
    CallHook,
    InProcessConfig,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    SessionConfig,
    SessionTerminatedError,
    SessionTimeoutError,
    StdioConfig,
    ToolCall,
    UnknownToolError,
    create_toolkit,
)
from jackfield import Tool as JackfieldTool
from jackfield.cli.kept import run_kept
from jackfield.cli.request_steps import Request
from jackfield.daemon.sessions import KeptSessions, Wanted
from jackfield.loops import Deadline
from jackfield.session.offers import known_tools
from jackfield.session.session import caller_of
from jackfield.toolkit.tool import LeasedSource, OrderedSource, server_tool


@pytest.mark.parametrize("hooks", [[], [CallHook()]])
async def test_the_pages_of_a_listing_count_for_the_call(pushy: Pushy, hooks: list[CallHook]) -> None:
    config = pushy("--pages", "1000", "--page-delay", "0.1")
    async with MCPClientSessionManager(hooks=hooks).open_session(config) as session:
        with pytest.raises(SessionTimeoutError, match=r"'work' was not called.*tools/list within 0\.5 s") as caught:
            await session.call_tool("work", call_timeout=0.5)
        assert caught.value.sent is False
        with pytest.raises(SessionTimeoutError):
            await session.list_tools(call_timeout=0.5)


async def test_a_caller_waits_for_no_other_callers_listing(pushy: Pushy) -> None:
    async with MCPClientSessionManager().open_session(pushy("--unanswered-lists", "1000")) as session:
        patient = asyncio.create_task(session.call_tool("work", call_timeout=1000))
        while not pushy.log("tools/list"):
            await asyncio.sleep(0.01)
        with pytest.raises(SessionTimeoutError, match=r"within 0\.2 s") as caught:
            await session.call_tool("work", call_timeout=0.2)
        assert caught.value.sent is False
        assert not patient.done()
        assert len(pushy.log("tools/list")) == 1
        patient.cancel()


async def test_a_caller_waits_for_no_other_callers_listing_that_has_no_bound(pushy: Pushy) -> None:
    config = pushy("--unanswered-lists", "1000", session=SessionConfig(call_timeout=None))
    async with MCPClientSessionManager().open_session(config) as session:
        endless = asyncio.create_task(session.call_tool("work"))
        while not pushy.log("tools/list"):
            await asyncio.sleep(0.01)
        with pytest.raises(SessionTimeoutError, match=r"within 0\.2 s; other callers still wait for its answer"):
            await known_tools(caller_of(session), Deadline.after(0.2))
        assert not endless.done()
        endless.cancel()


async def test_a_listing_goes_on_without_the_caller_who_began_it(pushy: Pushy) -> None:
    async with (
        MCPClientSessionManager() as manager,
        manager.open_session(pushy("--pages", "4", "--page-delay", "0.2"), key="k") as mine,
    ):
        async with manager.open_session(mine.config, key="k") as others:
            first = asyncio.create_task(others.call_tool("work"))
            while not pushy.log("tools/list"):
                await asyncio.sleep(0.01)
            calls = [asyncio.create_task(mine.call_tool("work")) for _ in range(5)]
            await asyncio.sleep(0)
            first.cancel()
        assert [(await call).text for call in calls] == ["done"] * 5
        assert len(pushy.log("tools/list")) == 4


async def test_a_listing_that_nobody_waits_for_is_cancelled_and_the_next_caller_begins_another(pushy: Pushy) -> None:
    async with MCPClientSessionManager().open_session(pushy("--unanswered-lists", "1")) as session:
        callers = [asyncio.create_task(session.call_tool("work")) for _ in range(3)]
        while not pushy.log("tools/list"):
            await asyncio.sleep(0.01)
        for caller in callers:
            caller.cancel()
        await asyncio.wait(callers)
        assert (await session.call_tool("work")).text == "done"
        assert len(pushy.log("tools/list")) == 2
        assert len(pushy.log("notifications/cancelled")) == 1


async def test_calls_that_do_not_fit_share_the_listing_that_is_fetched_for_them(pushy: Pushy) -> None:
    async with MCPClientSessionManager().open_session(pushy("--page-delay", "0.2")) as session:
        listing, _ = await known_tools(caller_of(session), Deadline.after(None))
        assert listing
        listing.fetched_at -= 10
        calls = await asyncio.gather(*(session.call_tool("misfit") for _ in range(5)), return_exceptions=True)
        assert [type(call) for call in calls] == [UnknownToolError] * 5
        assert len(pushy.log("tools/list")) == 2


async def test_those_who_share_a_listing_have_errors_of_their_own(pushy: Pushy) -> None:
    config = pushy("--unanswered-lists", "1", session=SessionConfig(retry_attempts=0))
    async with MCPClientSessionManager().open_session(config) as session:
        calls = [asyncio.create_task(session.call_tool("work")) for _ in range(3)]
        while not pushy.log("tools/list"):
            await asyncio.sleep(0.01)
        assert session.process_id
        os.kill(session.process_id, signal.SIGKILL)
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [SessionTerminatedError] * 3
        assert [error.sent for error in errors] == [False] * 3  # type: ignore[union-attr]
        assert len({id(error) for error in errors}) == 3


class Waits(CallHook):
    """Waits for somebody who does not answer."""

    async def before(self, call: ToolCall) -> None:
        await asyncio.Event().wait()


class Blocks(CallHook):
    """Not async, and still at it when time is up."""

    def before(self, call: ToolCall) -> None:  # type: ignore[override]
        time.sleep(0.3)


class Insists(CallHook):
    """Is cancelled, and lets the call through all the same."""

    async def before(self, call: ToolCall) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Event().wait()


@pytest.mark.parametrize("hook", [Waits(), Blocks(), Insists()], ids=lambda hook: type(hook).__name__)
async def test_hooks_count_for_the_call(pushy: Pushy, hook: CallHook) -> None:
    async with MCPClientSessionManager().open_session(pushy(), hooks=[hook]) as session:
        guarded = (await create_toolkit(session))["work"].hooked(hook)
        for call in (
            lambda: session.call_tool("work", call_timeout=0.2),
            lambda: guarded.call({}, call_timeout=0.2),
        ):
            with pytest.raises(
                SessionTimeoutError, match=r"it did not answer within 0\.2 s; nothing was sent"
            ) as caught:
                await call()
            assert caught.value.sent is False
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]
    assert not pushy.log("tools/call")


def _work(session: Session, seconds: float) -> JackfieldTool:
    config = session.config.model_copy(update={"session": SessionConfig(call_timeout=seconds)})
    return server_tool(session, config, Tool(name="work", input_schema={}))


@pytest.mark.parametrize(("setting", "given"), [(1.0, None), (30, 1.0)], ids=["of the server", "given"])
async def test_hooks_of_a_tool_and_its_call_share_one_deadline(
    pushy: Pushy, setting: float, given: float | None, own_clock: Callable[[], float]
) -> None:
    class Slow(CallHook):
        async def before(self, call: ToolCall) -> None:
            await asyncio.sleep(0.8)

    config = pushy("--unanswered-lists", "1000")
    async with MCPClientSessionManager().open_session(config) as session:
        started = own_clock()
        tool = replace(_work(session, setting), call_timeout=setting).hooked(Slow())
        with pytest.raises(SessionTimeoutError, match=r"tools/list within 1 s"):
            await tool.call({}, call_timeout=given)
        assert own_clock() - started < 1.7  # with a bound for each step it would take 1.8


async def test_hooks_of_a_tool_have_the_servers_own_bound(pushy: Pushy) -> None:
    config = pushy(session=SessionConfig(call_timeout=30))
    async with MCPClientSessionManager().open_session(config) as session:
        tool = (await create_toolkit(session))["work"]
        assert tool.call_timeout == 30
        with pytest.raises(SessionTimeoutError, match=r"within 0\.2 s"):
            await replace(tool, call_timeout=0.2).hooked(Waits()).call()
    others = [pushy(), pushy(session=SessionConfig(call_timeout=600)).model_copy(update={"server_name": "slow"})]
    own = MCPClientSessionManager(MCPConfig(servers=others)).router(mode="search").toolkit()
    assert own["call_tool"].call_timeout == 600
    assert not pushy.log("tools/call")


@pytest.mark.parametrize("bound", [0.3, None], ids=["given", "of the server"])
@pytest.mark.parametrize("ordered", [False, True], ids=["side by side", "ordered"])
async def test_opening_counts_for_the_call(pushy: Pushy, bound: float | None, ordered: bool) -> None:
    silent = pushy(silent=True, session=SessionConfig(call_timeout=0.3 if bound is None else 30))
    async with MCPClientSessionManager() as manager:
        leased = LeasedSource(manager, silent, "ada")
        source = OrderedSource(leased) if ordered else leased
        with pytest.raises(SessionTimeoutError, match=r"was not open within 0\.3 s; the call was not made") as caught:
            await server_tool(source, silent, Tool(name="work", input_schema={})).call({}, call_timeout=bound)
        assert caught.value.sent is False
        working = LeasedSource(manager, pushy(), "eve")
        assert (await working.call_tool("work", call_timeout=30)).text == "done"


async def test_opening_and_listing_share_the_deadline_of_a_call(pushy: Pushy, own_clock: Callable[[], float]) -> None:
    config = pushy("--start-delay", "0.5", "--pages", "1000", "--page-delay", "0.1")
    async with MCPClientSessionManager() as manager:
        started, deadline = own_clock(), Deadline.after(1.0)
        with pytest.raises(SessionTimeoutError, match=r"tools/list within 1 s"):
            await LeasedSource(manager, config, "ada").call_tool("work", call_timeout=deadline)
        assert own_clock() - started < 1.4
        assert len(pushy.log("tools/list")) <= 6


async def test_waiting_for_a_turn_counts_for_the_call(pushy: Pushy) -> None:
    config = pushy("--unanswered-lists", "1000", session=SessionConfig(call_timeout=0.3))
    async with MCPClientSessionManager().open_session(config) as session:
        tool = server_tool(OrderedSource(session), config, Tool(name="work", input_schema={}))
        first = asyncio.create_task(tool.call({}, call_timeout=30))
        await asyncio.sleep(0)
        with pytest.raises(SessionTimeoutError, match=r"calls before this call.*within 0\.3 s"):
            await tool.call({})
        first.cancel()


async def test_waiting_for_a_slot_counts_for_the_call(pushy: Pushy) -> None:
    config = pushy("--call-delay", "30", session=SessionConfig(max_concurrency=1, close_timeout=0.5))
    async with MCPClientSessionManager().open_session(config) as session:
        first = asyncio.create_task(session.call_tool("work"))
        while not pushy.log("tools/call"):
            await asyncio.sleep(0.01)
        with pytest.raises(SessionTimeoutError, match=r"tools/call within 0\.2 s; the request was not sent") as caught:
            await session.call_tool("work", call_timeout=0.2)
        assert caught.value.sent is False
        first.cancel()


@pytest.mark.parametrize("private", [True, False])
async def test_acquire_timeout_covers_opening(pushy: Pushy, private: bool) -> None:
    silent = pushy(silent=True, session=SessionConfig(timeout=1000, close_timeout=0.5))
    async with MCPClientSessionManager(acquire_timeout=0.3) as manager:
        for given, seconds in ((None, 0.3), (0.2, 0.2)):
            lease = manager.open_session(silent, key=None if private else "k", acquire_timeout=given)
            started = time.monotonic()
            with pytest.raises(SessionTimeoutError, match=rf"was not open within {seconds:g} s") as caught:
                await lease.__aenter__()
            assert time.monotonic() - started < 5
            assert caught.value.sent is False


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
@pytest.mark.parametrize("private", [True, False])
def test_a_caller_whose_time_is_over_does_not_wait_for_the_session_to_close(private: bool, backend: str) -> None:
    config = StdioConfig(
        server_name="slow",
        command="sleep",
        args=["1000"],
        environment={MARK: TOKEN},
        session=SessionConfig(close_timeout=5),
    )

    async def main() -> None:
        manager = MCPClientSessionManager()  # Not entered: nothing is kept.
        lease = manager.open_session(config, key=None if private else "k", acquire_timeout=0.3)
        with pytest.raises(SessionTimeoutError, match=r"was not open within 0\.3 s"):
            await lease.__aenter__()
        assert [info.state for info in manager.sessions()] == ["closing"]
        del lease, manager
        gc.collect()
        while strays():
            await anyio.sleep(0.05)

    anyio.run(main, backend=backend)


async def test_leaving_the_manager_waits_for_sessions_that_were_not_open_in_time(nothing_left: None) -> None:
    config = StdioConfig(
        server_name="slow",
        command="sleep",
        args=["1000"],
        environment={MARK: TOKEN},
        session=SessionConfig(close_timeout=2),
    )
    async with MCPClientSessionManager() as manager:
        with pytest.raises(SessionTimeoutError):
            await manager.open_session(config, acquire_timeout=0.3).__aenter__()
        assert len(strays()) == 1
    assert strays() == []


async def test_room_and_opening_share_acquire_timeout(pushy: Pushy, own_clock: Callable[[], float]) -> None:
    silent = pushy(silent=True, session=SessionConfig(timeout=1000, close_timeout=0.5))
    async with MCPClientSessionManager(max_sessions=1) as manager:
        held = manager.open_session(pushy())
        await held.__aenter__()
        started = own_clock()
        waiting = asyncio.create_task(manager.open_session(silent, key="k", acquire_timeout=1.0).__aenter__())
        await asyncio.sleep(0.8)
        await held.__aexit__(None, None, None)
        with pytest.raises(SessionTimeoutError, match=r"was not open within 1 s"):
            await waiting
        assert own_clock() - started < 1.7


async def test_recovery_counts_for_acquire_timeout(pushy: Pushy, tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    program.chmod(0o755)
    config = pushy(session=SessionConfig(timeout=1000, close_timeout=0.5)).model_copy(update={"command": str(program)})
    async with MCPClientSessionManager() as manager, manager.open_session(config, key="k") as session:
        assert session.process_id
        program.write_text("#!/bin/sh\nexec sleep 1000\n")
        os.kill(session.process_id, signal.SIGKILL)
        while session.info().state == "open":
            await asyncio.sleep(0.01)
        with pytest.raises(SessionTimeoutError, match=r"was not open within 0\.3 s"):
            await manager.open_session(config, key="k", acquire_timeout=0.3).__aenter__()


async def test_a_slow_server_has_its_timeout_where_acquire_timeout_is_omitted(
    pushy: Pushy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.pool.session_manager._ACQUIRE_SECONDS", 0.05)
    config = pushy("--start-delay", "0.3")
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("work")).text == "done"
    quick = config.model_copy(update={"session": SessionConfig(timeout=0.05)})
    with pytest.raises(SessionTimeoutError, match=r"within 0\.05 s"):
        await MCPClientSessionManager().open_session(quick).__aenter__()


def test_the_blocking_twin_has_the_same_deadline(pushy: Pushy, own_clock: Callable[[], float]) -> None:
    config = pushy("--pages", "1000", "--page-delay", "0.1")
    with MCPClientSessionManager().open_session_sync(config) as session:
        started = own_clock()
        with pytest.raises(SessionTimeoutError, match=r"tools/list within 0\.5 s"):
            session.call_tool("work", call_timeout=0.5)
        assert own_clock() - started < 1.5


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_deadline_that_is_extended_moves_the_end_of_waits_that_have_begun(backend: str) -> None:
    async def wait() -> None:
        deadline = Deadline.after(0.05)
        started = anyio.current_time()
        with deadline.scope() as waiting, anyio.CancelScope(deadline=started + 0.02) as shorter:
            deadline.extend(started + 0.3)
            deadline.extend(started)  # an earlier time changes nothing
            await anyio.sleep_forever()
        assert shorter.cancelled_caught
        with deadline.scope() as waiting:
            await anyio.sleep_forever()
        assert waiting.cancelled_caught
        assert deadline.has_passed
        assert anyio.current_time() - started >= 0.3
        assert deadline.seconds == pytest.approx(0.3, abs=0.02)

    anyio.run(wait, backend=backend)


def working(steps: int, seconds: float) -> InProcessConfig:
    """A server whose tool reports progress that often."""
    server: MCPServer[Any] = MCPServer("works")

    @server.tool(annotations=ToolAnnotations(idempotent_hint=True))
    async def work(context: Context) -> str:
        for step in range(steps):
            await anyio.sleep(seconds)
            await context.report_progress(step + 1, steps)
        if steps < 3:
            await anyio.sleep_forever()
        return "done"

    return InProcessConfig(server_name="works", server=server)


@pytest.mark.parametrize("protocol", ["auto", "handshake"])
async def test_progress_starts_the_time_of_a_call_again(protocol: Literal["auto", "handshake"]) -> None:
    """Of each attempt, too."""
    settings = SessionConfig(attempt_timeout=1.4)
    config = working(8, 0.25).model_copy(update={"protocol": protocol, "session": settings})
    seen: list[float] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        await session.list_tools()
        result = await session.call_tool(
            "work", call_timeout=1.5, reset_timeout_on_progress=True, progress_callback=on_progress
        )
        assert result.text == "done"
        assert seen == list(range(1, 9))
        assert manager.stats().retries == 0


async def test_progress_does_not_bound_a_call_that_is_made_once() -> None:
    """`attempt_timeout` is for what may be made again."""
    server: MCPServer[Any] = MCPServer("works")

    @server.tool()
    async def work(context: Context) -> str:
        await context.report_progress(1, 2)
        await anyio.sleep(0.6)
        return "done"

    config = InProcessConfig(server_name="works", server=server, session=SessionConfig(attempt_timeout=0.2))
    async with MCPClientSessionManager().open_session(config) as session:
        await session.list_tools()
        result = await session.call_tool("work", call_timeout=20, reset_timeout_on_progress=True)
        assert result.text == "done"


async def test_a_call_that_reports_progress_no_more_is_given_up() -> None:
    config = working(2, 0.1)
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(SessionTimeoutError, match=r"within 0\.5 s after its last progress") as caught:
            await session.call_tool("work", call_timeout=0.5, reset_timeout_on_progress=True)
        assert "Raise call_timeout" in (caught.value.hint or "")


async def test_a_call_that_never_ends_has_a_maximum() -> None:
    settings = SessionConfig(call_timeout=0.3, reset_timeout_on_progress=True, max_total_timeout=0.7)
    config = working(10_000, 0.05).model_copy(update={"session": settings})
    async with MCPClientSessionManager().open_session(config) as session:
        with pytest.raises(SessionTimeoutError, match=r"within 0\.7 s in all, though it reported progress") as caught:
            await session.call_tool("work")
        assert "Raise max_total_timeout" in (caught.value.hint or "")
        with pytest.raises(SessionTimeoutError, match=r"within 0\.4 s in all"):
            await session.call_tool("work", max_total_timeout=0.4)
        with pytest.raises(SessionTimeoutError, match=r"within 0\.3 s; "):
            await session.call_tool("work", reset_timeout_on_progress=False)


async def test_opening_a_kept_session_counts_for_its_request(pushy: Pushy) -> None:
    silent = pushy(silent=True, session=SessionConfig(call_timeout=0.3, close_timeout=0.5))
    async with KeptSessions("test", lambda: None) as sessions:
        kept = sessions.keep(Wanted(silent, "k", None, "fingerprint", None))
        for bound in (None, 0.2):
            deadline = Deadline.of(bound, silent.session.call_timeout)
            with pytest.raises(SessionTimeoutError, match=rf"not open within {bound or 0.3} s"):
                async with sessions.use(kept, deadline):
                    raise AssertionError("it is never open")


def test_the_steps_of_a_command_share_its_timeout() -> None:
    given: list[float | None] = []

    class Slow:
        def request(self, method: str, params: Any, *, call_timeout: float | None, on_progress: Any) -> Any:
            given.append(call_timeout)
            time.sleep(0.1)
            return {}

    def steps() -> Any:
        yield Request("tools/list")
        yield Request("tools/call")
        return (yield Request("tools/call"))

    run_kept(Slow(), steps(), timeout=0.15, on_progress=None)
    first, second, third = given
    assert first
    assert second
    assert third
    assert first <= 0.15
    assert second <= 0.05
    assert third <= 0.001
    run_kept(Slow(), steps(), timeout=None, on_progress=None)
    assert given[3:] == [None] * 3
