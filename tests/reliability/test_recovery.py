"""Recovery beyond the table: what is shared, what is told, resumed streams, the circuit breaker, checks."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import pytest
from benchmarks.fuzzing.fronts import Wire
from tests.conftest import Listening, Unruly, open_descriptors, strays
from tests.reliability.scenario import Line, rig, settled

from jackfield import (
    Event,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    RecoveryFailed,
    ServerStartError,
    ServerUnavailableError,
    Session,
    SessionCallbacks,
    SessionClosed,
    SessionConfig,
    SessionLost,
    SessionRecovered,
    SessionTerminatedError,
    SessionTimeoutError,
    StdioConfig,
    StreamRenewed,
    ToolsChanged,
)
from jackfield.transport import report

T = TypeVar("T")


def of_kind(seen: list[Event], kind: type[Event]) -> list[Event]:
    return [event for event in seen if isinstance(event, kind)]


async def test_callers_of_one_lost_session_share_one_recovery_and_each_is_told(tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            async with (
                manager.open_session(server.config, key="ada") as one,
                manager.open_session(server.config, key="ada") as other,
            ):
                assert one.generation == 1
                os.kill(one.process_id or 0, signal.SIGKILL)
                assert await settled(lambda: of_kind(seen, SessionLost))
                results = []

                async def call(session: Session, n: int) -> None:
                    results.append(await session.call_tool("work", {"n": n}))

                async with anyio.create_task_group() as tasks:
                    for n in range(10):
                        tasks.start_soon(call, one if n % 2 else other, n)
                assert [result.generation for result in results] == [2] * 10
                assert any(result.state_lost for result in results)
                assert not (await one.call_tool("work", {"n": 11})).state_lost, "it was told already"
                assert not (await other.call_tool("work", {"n": 12})).state_lost
                assert one.generation == other.generation == 2
    assert len(of_kind(seen, SessionRecovered)) == 1


@pytest.mark.parametrize(
    ("exits_after", "waits", "ended"),
    [(0.3, 30.0, "exited with code 7"), (60.0, 0.05, "ended or closed its output")],
    ids=["it exits later", "it goes on"],
)
async def test_an_error_waits_for_the_exit_code_of_a_process_whose_output_ended(
    exits_after: float, waits: float, ended: str, unruly: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "_EXIT_SECONDS", waits)
    server = unruly("--exit-delay", str(exits_after))
    async with MCPClientSessionManager() as manager, manager.open_session(server) as session:
        with pytest.raises(SessionTerminatedError, match=f"was lost: its process {ended}"):
            await session.call_tool("crash", {"code": 7})
        assert (await session.call_tool("echo", {"text": "on"})).text.endswith("on")


async def test_state_that_was_lost_while_nobody_had_the_session_is_told_to_who_comes_next(tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("stdio", tmp_path) as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            async with manager.open_session(server.config, key="ada") as session:
                await session.call_tool("count")
                process = session.process_id
            os.kill(process or 0, signal.SIGKILL)
            assert await settled(lambda: not manager.sessions())
            async with manager.open_session(server.config, key="ada") as session:
                result = await session.call_tool("count")
                assert (result.text, result.state_lost, result.generation) == ("1", True, 2)
                assert not (await session.call_tool("count")).state_lost
            async with manager.open_session(server.config, key="eve") as session:
                assert not (await session.call_tool("count")).state_lost
    assert not of_kind(seen, SessionRecovered), "nobody needed it, so that it was not opened again"


async def with_session_refresh(session: Session, operation: Callable[[Session], Awaitable[T]]) -> T:
    """As LangChain's guide to stateful sessions has it."""
    try:
        return await operation(session)
    except SessionTimeoutError:
        await session.refresh()
        return await operation(session)


@pytest.mark.parametrize("line", ["stdio", "http", "sse", "http 2026"])
async def test_a_hanging_server_is_refreshed(line: Line, tmp_path: Path) -> None:
    with rig(line, tmp_path, "--fault", "stall", "--after", "1", call_timeout=0.4) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            result = await with_session_refresh(session, lambda session: session.call_tool("work", {"n": 2}))
            assert result.text == "work 2"
            assert session.generation == 2
            assert not result.state_lost, "whoever refreshes knows"


async def test_a_server_that_cannot_be_opened_again_is_tried_again_by_the_next_call(tmp_path: Path) -> None:
    seen: list[Event] = []
    program = tmp_path / "program"
    with rig("stdio", tmp_path, retry_attempts=2, retry_delay=0.01) as server:
        assert isinstance(server.config, StdioConfig)
        program.symlink_to(server.config.command)
        config = server.config.model_copy(update={"command": str(program)})
        async with MCPClientSessionManager(on_event=seen.append).open_session(config) as session:
            await session.call_tool("work", {"n": 1})
            program.unlink()
            os.kill(session.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: of_kind(seen, RecoveryFailed))
            with pytest.raises(ServerStartError, match="was not found") as caught:
                await session.call_tool("work", {"n": 2})
            assert caught.value.sent is False
            assert caught.value.state_lost
            program.symlink_to(server.config.command)
            result = await session.call_tool("work", {"n": 3})
            assert result.text == "work 3"
            assert session.generation == 2


async def test_a_server_that_dies_again_and_again_is_left_alone(tmp_path: Path) -> None:
    """It opens well and dies at once, so that reopening alone would go on for ever."""
    seen: list[Event] = []
    arguments = ("--fault", "crash", "--when", "ready", "--times", "100")
    with rig("stdio", tmp_path, *arguments, retry_attempts=3, retry_delay=0.01) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            assert await settled(lambda: of_kind(seen, RecoveryFailed))
            assert len(of_kind(seen, SessionRecovered)) == 2, "the first opening, and two more: three in all"
            with pytest.raises(SessionTerminatedError):
                await session.call_tool("work", {"n": 1})


async def test_the_circuit_breaker(tmp_path: Path) -> None:
    config = StdioConfig(
        server_name="broken",
        command=str(tmp_path / "program"),
        session={"failure_threshold": 3, "retry_delay": 0.02, "max_retry_delay": 0.2},  # type: ignore[arg-type]
    )
    manager = MCPClientSessionManager()
    for _ in range(3):
        with pytest.raises(ServerStartError):
            await manager.open_session(config).__aenter__()
    with pytest.raises(ServerUnavailableError, match=r"3 times in a row.*next attempt in 0\.\d s.*not found") as caught:
        await manager.open_session(config).__aenter__()
    assert caught.value.sent is False
    assert caught.value.retry_after
    assert manager.stats().failed == 3, "the fourth did not try"
    with pytest.raises(ServerStartError):  # another key has a breaker of its own
        await manager.open_session(config, key="ada").__aenter__()
    await anyio.sleep(caught.value.retry_after)
    with pytest.raises(ServerStartError):  # the trial
        await manager.open_session(config).__aenter__()
    with pytest.raises(ServerUnavailableError, match="cool-down"):
        await manager.open_session(config).__aenter__()


async def test_one_trial_at_a_time_and_its_success_closes_the_breaker(tmp_path: Path) -> None:
    program = tmp_path / "program"
    with rig("stdio", tmp_path, failure_threshold=1, max_retry_delay=0.1) as server:
        assert isinstance(server.config, StdioConfig)
        config = server.config.model_copy(update={"command": str(program)})
        manager = MCPClientSessionManager()
        with pytest.raises(ServerStartError):
            await manager.open_session(config).__aenter__()
        program.symlink_to(server.config.command)
        await anyio.sleep(0.15)
        outcomes: list[str] = []

        async def attempt() -> None:
            try:
                async with manager.open_session(config) as session:
                    outcomes.append((await session.call_tool("work", {"n": 1})).text)
            except ServerUnavailableError as error:
                outcomes.append(error.code)

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(attempt)
        assert sorted(outcomes) == ["unavailable"] * 4 + ["work 1"]
        await attempt()
        assert outcomes[-1] == "work 1"


async def test_without_retries_a_lost_session_stays_lost_until_it_is_refreshed(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, retry_attempts=0) as server:
        async with MCPClientSessionManager().open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            os.kill(session.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: session.process_id is None)
            with pytest.raises(SessionTerminatedError):
                await session.call_tool("look", {"n": 2})
            await session.refresh()
            assert (await session.call_tool("work", {"n": 3})).text == "work 3"


@pytest.mark.parametrize("line", ["stdio", "http", "sse"])
async def test_a_kept_session_is_checked_after_long_silence(line: Line, tmp_path: Path) -> None:
    """It hangs while nobody has it; whoever comes next must not wait for a call's timeout to learn that."""
    seen: list[Event] = []
    arguments = ("--fault", "stall", "--when", "idle", "--after", "1")
    with rig(line, tmp_path, *arguments, liveness_after=0.05, liveness_timeout=0.2, call_timeout=60) as server:
        async with MCPClientSessionManager(on_event=seen.append) as manager:
            async with manager.open_session(server.config, key="ada") as session:
                await session.call_tool("work", {"n": 1})
            assert await settled(lambda: server.lines("fault"))
            await anyio.sleep(0.1)
            with anyio.fail_after(30):
                async with manager.open_session(server.config, key="ada") as session:
                    result = await session.call_tool("work", {"n": 2})
            assert result.state_lost
            assert "did not answer a liveness check" in of_kind(seen, SessionLost)[0].error.message  # type: ignore[attr-defined]


# Streams


@pytest.mark.parametrize("retry", [(), ("--retry-ms", "30")])
async def test_a_broken_stream_is_resumed_where_there_are_event_ids(retry: tuple[str, ...], tmp_path: Path) -> None:
    seen: list[Event] = []
    notes: list[object] = []

    async def note(params: object) -> None:
        notes.append(params)

    arguments = ("--fault", "cut", "--after", "1", "--event-ids", "--flood", "20", *retry)
    with rig("http", tmp_path, *arguments) as server:
        manager = MCPClientSessionManager(on_event=seen.append, callbacks=SessionCallbacks(logging=note))
        async with manager.open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            notes.clear()
            result = await session.call_tool("work", {"n": 2})
            assert result.text == "work 2"
            assert not result.state_lost
            assert session.generation == 1
            assert await settled(lambda: len(notes) >= 20)
            await anyio.sleep(0.05)
            assert len(notes) == 20, "none lost, and none twice, although the server sends one again"
    assert server.runs(2) == 1
    assert len(server.lines("resume")) == 1
    assert [event.resumed for event in of_kind(seen, StreamRenewed)] == [True]  # type: ignore[attr-defined]


@pytest.mark.parametrize("fault", ["cut", "refuse-stream"])
async def test_what_the_server_says_unasked_arrives_again_after_its_stream_broke(fault: str, tmp_path: Path) -> None:
    """The SDK's reader gives up after two attempts; then calls still work, and notifications are silently gone."""
    seen: list[Event] = []
    arguments = (
        "--fault",
        fault,
        "--when",
        "idle",
        "--after",
        "1",
        "--times",
        "5" if fault == "refuse-stream" else "1",
    )
    with rig("http", tmp_path, *arguments) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            assert await settled(lambda: server.lines("stream"))
            await session.call_tool("work", {"n": 1})
            assert await settled(lambda: of_kind(seen, StreamRenewed), 10)
            await session.call_tool("announce")
            assert await settled(lambda: of_kind(seen, ToolsChanged))
            assert session.generation == 1


async def test_the_first_attempt_to_recover_waits_for_nothing(tmp_path: Path) -> None:
    seen: list[Event] = []
    with rig("stdio", tmp_path, retry_delay=300, max_retry_delay=300) as server:
        async with MCPClientSessionManager(on_event=seen.append).open_session(server.config) as session:
            await session.call_tool("work", {"n": 1})
            os.kill(session.process_id or 0, signal.SIGKILL)
            assert await settled(lambda: of_kind(seen, SessionLost))
            assert (await session.call_tool("work", {"n": 2})).text == "work 2"


async def test_stubborn_servers_are_closed_side_by_side(tmp_path: Path) -> None:
    """Each ignores the end of stdin and SIGTERM, and started a helper that does so too."""
    inputs: list[str] = []
    still_open: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, SessionClosed):
            still_open.append(len(set(inputs) & set(open_descriptors().values())))

    with rig("stdio", tmp_path, "--stubborn", "--helper", timeout=30, close_timeout=1) as server:
        async with MCPClientSessionManager(on_event=count) as manager:
            async with anyio.create_task_group() as tasks:
                for number in range(8):
                    tasks.start_soon(manager.open_session(server.config, key=str(number)).__aenter__)
            inputs = [os.readlink(f"/proc/{info.process_id}/fd/0") for info in manager.sessions()]
            assert len(set(inputs) & set(open_descriptors().values())) == 8
    assert still_open == [0] * 8, "before the first of them was gone, all had been asked to end"
    assert not strays()


@pytest.mark.parametrize("line", ["http handshake", "http modern", "sse handshake"])
async def test_a_last_attempt_that_was_not_sent_does_not_deny_an_earlier_one(
    line: str, tmp_path: Path, listening: Callable[..., Listening]
) -> None:
    transport, era = line.split()
    log = tmp_path / "rig.log"
    log.touch()
    server = listening("rig.py", transport, "--era", era, "--log", str(log))
    settings = SessionConfig(retry_attempts=1, retry_delay=0.01, timeout=10)
    make = server.sse if transport == "sse" else server.http
    config = make(protocol="auto" if era == "modern" else "handshake", session=settings)

    async def kill_while_it_runs() -> None:
        assert await settled(lambda: "run look" in log.read_text(), 20)
        server.process.kill()
        server.stop()

    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        await session.list_tools()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(kill_while_it_runs)
            with pytest.raises(JackfieldError) as caught:
                await session.call_tool("look", {"n": 1, "seconds": 60})
    assert caught.value.sent is not False
    assert "an earlier attempt may have taken effect" in caught.value.message
    assert "the call was not carried out." not in caught.value.message


async def test_a_listing_that_may_have_been_sent_is_no_call_that_may_have_taken_effect(
    tmp_path: Path, listening: Callable[..., Listening]
) -> None:
    server = listening("rig.py", "http", "--log", str(tmp_path / "rig.log"))
    wire = Wire(int(server.url.rpartition(":")[2].partition("/")[0]), random.Random(1))
    port = await wire.open()
    config = HttpConfig(
        server_name="rig",
        url=f"http://127.0.0.1:{port}/mcp",
        protocol="handshake",
        session=SessionConfig(retry_attempts=0),
    )
    try:
        async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
            server.stop()  # What stands in front still accepts connections, and drops them.
            with pytest.raises(JackfieldError) as caught:
                await session.call_tool("work")
    finally:
        await wire.close()
    assert caught.value.sent is False
    assert "was not called" in caught.value.message
    assert "may have taken effect" not in str(caught.value)
