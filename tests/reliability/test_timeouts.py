"""Calls that time out, and are made again where the tool says that it does no harm, if that is wanted."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import anyio
import pytest
from tests.reliability.scenario import Line, rig, settled

from jackfield import (
    CallFinished,
    CallRetried,
    CallStarted,
    Event,
    MCPClientSessionManager,
    SessionTimeoutError,
    create_toolkit,
)
from jackfield.session.owner import SessionOwner


@pytest.mark.parametrize(("line", "tool"), [("http", "look"), ("http 2026", "put")])
async def test_a_call_without_harm_is_made_again_after_a_time_out(line: Line, tool: str, tmp_path: Path) -> None:
    """The first is never answered. One call is counted, its repetitions are, and no error is."""
    seen: list[Event] = []
    with rig(line, tmp_path, attempt_timeout=1) as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            async with manager.open_session(server.config, key="ada") as session:
                result = await session.call_tool(tool, {"n": 1, "slow": 1})
                assert result.text == f"{tool} 1"
                assert not result.state_lost
                assert await settled(lambda: len(server.lines("cancelled")) == 1 or line == "http 2026")
                info = session.info()
            stats = manager.stats()
    assert server.runs(1) == 2
    assert (stats.calls, stats.retries, stats.errors, stats.session_errors, stats.lost) == (1, 1, 0, 0, 0)
    assert (info.calls, info.errors, info.generation) == (1, 0, 1)
    calls = [event for event in seen if isinstance(event, CallStarted | CallRetried | CallFinished)]
    assert [type(event) for event in calls] == [CallStarted, CallRetried, CallFinished]
    assert {event.call_number for event in calls} == {1}
    assert all(isinstance(event.error, SessionTimeoutError) for event in calls if isinstance(event, CallRetried))


async def test_waits_between_the_attempts_become_longer(tmp_path: Path) -> None:
    at: list[float] = []

    def note(event: Event) -> None:
        if isinstance(event, CallStarted | CallRetried | CallFinished):
            at.append(time.monotonic())

    with rig("http", tmp_path, attempt_timeout=0.3, retry_delay=0.2, retry_attempts=3) as server:
        async with MCPClientSessionManager(on_event=note).open_session(server.config) as session:
            with pytest.raises(SessionTimeoutError):
                await session.call_tool("look", {"n": 1, "slow": 9})
    started, *retried, _ = at
    spans = [late - early for early, late in itertools.pairwise([started, *retried])]
    # From the second attempt on, each is preceded by its wait: 0.2 s, then 0.4 s, of which jitter takes a quarter.
    assert spans[1] >= 0.3 + 0.2 * 0.75
    assert spans[2] >= 0.3 + 0.4 * 0.75


async def test_the_error_says_which_attempt_it_was_and_what_to_set(tmp_path: Path) -> None:
    with rig("http", tmp_path, attempt_timeout=0.4, retry_attempts=2) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            tool = (await create_toolkit(session))["look"]
            with pytest.raises(SessionTimeoutError) as caught:
                await tool(n=1, slow=9)
    assert server.runs(1) == 3
    assert "did not answer tools/call within 0.4 s at attempt 3; the server was asked to cancel it" in str(caught.value)
    assert "Raise attempt_timeout or call_timeout" in str(caught.value)
    assert (caught.value.sent is not False, caught.value.state_lost) == (True, False)


async def test_all_attempts_are_within_the_deadline_of_the_call(tmp_path: Path) -> None:
    with rig("http", tmp_path, attempt_timeout=0.2, retry_attempts=50, retry_delay=0.01) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.list_tools()
            started = anyio.current_time()
            with pytest.raises(SessionTimeoutError):
                await session.call_tool("look", {"n": 1, "slow": 99}, call_timeout=0.7)
            assert anyio.current_time() - started < 5
    assert 1 <= server.runs(1) <= 4


@pytest.mark.parametrize(
    ("tool", "settings"), [("work", {"attempt_timeout": 0.1}), ("look", {}), ("look", {"attempt_timeout": 5})]
)
async def test_it_is_not_made_again_otherwise(tool: str, settings: dict[str, float], tmp_path: Path) -> None:
    """Not where it may do harm, and not where it was not asked for, or the time is up."""
    with rig("http", tmp_path, **settings) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.list_tools()
            with pytest.raises(SessionTimeoutError, match=r"within 0\.5 s;"):
                await session.call_tool(tool, {"n": 1, "slow": 1}, call_timeout=0.5)
    assert server.runs(1) == 1


async def test_waiting_for_ones_turn_is_no_attempt(tmp_path: Path) -> None:
    with rig("http", tmp_path, attempt_timeout=0.8, max_concurrency=1) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            owner: SessionOwner = session._owner
            assert owner.slots is not None
            await session.list_tools()
            async with anyio.create_task_group() as tasks:
                async with owner.slots:
                    tasks.start_soon(session.call_tool, "look", {"n": 1})
                    await anyio.sleep(1)
            assert owner.totals.retries == 0
    assert server.runs(1) == 1
