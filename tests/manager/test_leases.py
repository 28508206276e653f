"""Keys, leases, single flight, idle closing and limits."""

from __future__ import annotations

import asyncio
import os
import signal

import anyio
import pytest
from tests.conftest import Pushy, Unruly, eventually, strays
from tests.daily import daily

from jackfield import (
    CallHook,
    ConfigError,
    Event,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    PoolTimeoutError,
    SessionClosed,
    SessionConfig,
    SessionOpened,
    SessionOpening,
    SessionTerminatedError,
    SessionTimeoutError,
    StdioConfig,
    ToolCall,
    UnknownServerError,
)

BACKENDS = ["asyncio", "trio"]


class Record:
    """An event listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.arrived = anyio.Event()

    def __call__(self, event: Event) -> None:
        self.events.append(event)
        self.arrived.set()

    def count(self, kind: type[Event]) -> int:
        return sum(isinstance(event, kind) for event in self.events)

    async def until(self, kind: type[Event], count: int = 1) -> None:
        with anyio.fail_after(10):
            while self.count(kind) < count:
                self.arrived = anyio.Event()
                await self.arrived.wait()


async def test_private_sessions_share_nothing(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(unruly()) as first, manager.open_session(unruly()) as second:
            assert (await first.call_tool("pid")).text != (await second.call_tool("pid")).text


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_hundred_leases_on_one_key_open_one_session(unruly: Unruly, backend: str) -> None:
    seen = Record()

    async def main() -> None:
        async with MCPClientSessionManager(MCPConfig(servers=[unruly()]), on_event=seen) as manager:
            pids: set[str] = set()

            async def lease() -> None:
                async with manager.open_session("unruly", key="k") as session:
                    pids.add((await session.call_tool("pid")).text)

            async with anyio.create_task_group() as tasks:
                for _ in range(100):
                    tasks.start_soon(lease)
            assert len(pids) == 1
            assert len(manager.sessions()) == 1

    anyio.run(main, backend=backend)
    assert seen.count(SessionOpening) == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_many_private_sessions_never_exceed_the_limit(unruly: Unruly, backend: str) -> None:
    async def main() -> None:
        most = 0
        async with MCPClientSessionManager(max_sessions=8) as manager:

            async def use() -> None:
                nonlocal most
                async with manager.open_session(unruly()) as session:
                    await session.call_tool("count")
                    most = max(most, len(strays()), len(manager.sessions()))

            async with anyio.create_task_group() as tasks:
                for _ in range(daily(12, whole=30)):
                    tasks.start_soon(use)
        assert 1 < most <= 8

    anyio.run(main, backend=backend)


async def test_two_keys_are_two_sessions(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        config = unruly()
        async with manager.open_session(config, key="a") as a, manager.open_session(config, key="b") as b:
            assert (await a.call_tool("count")).text == "1"
            assert (await a.call_tool("count")).text == "2"
            assert (await b.call_tool("count")).text == "1"


async def test_a_named_session_keeps_its_state_between_leases(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        config = unruly()
        for expected in ("1", "2", "3"):
            async with manager.open_session(config, key="a") as session:
                assert (await session.call_tool("count")).text == expected


async def test_without_entering_the_manager_a_named_session_ends_with_its_last_lease(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()
    config = unruly()
    async with manager.open_session(config, key="a") as first:
        async with manager.open_session(config, key="a") as second:
            assert (await first.call_tool("pid")).text == (await second.call_tool("pid")).text
        assert len(strays()) == 1
    assert strays() == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_idle_session_is_closed_and_opened_anew(unruly: Unruly, backend: str) -> None:
    async def main() -> None:
        seen = Record()
        config = unruly(session=SessionConfig(idle_timeout=0.1))
        async with MCPClientSessionManager(on_event=seen) as manager:
            async with manager.open_session(config, key="a") as session:
                await session.call_tool("count")
            await seen.until(SessionClosed)
            assert [event.reason for event in seen.events if isinstance(event, SessionClosed)] == ["idle"]
            assert strays() == []
            async with manager.open_session(config, key="a") as session:
                assert (await session.call_tool("count")).text == "1"

    anyio.run(main, backend=backend)


async def test_a_session_is_never_idle_while_leased_or_in_a_call(unruly: Unruly) -> None:
    seen = Record()
    config = unruly(session=SessionConfig(idle_timeout=0.05))
    async with MCPClientSessionManager(on_event=seen) as manager:
        async with manager.open_session(config, key="a") as session:
            await session.call_tool("sleep", {"seconds": 0.3})
            assert seen.count(SessionClosed) == 0
            call = asyncio.create_task(session.call_tool("sleep", {"seconds": 0.3}))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
        assert (await call).text == "slept", "the lease ended first, the call went on"
        await seen.until(SessionClosed)


async def test_a_session_that_lists_its_tools_unasked_when_its_idle_time_ends_is_closed_after_that(
    pushy: Pushy,
) -> None:
    seen = Record()
    config = pushy("--tells", "--page-delay", "0.5", session=SessionConfig(idle_timeout=0.1))
    async with MCPClientSessionManager(on_event=seen) as manager:
        async with manager.open_session(config, key="a") as session:
            await session.call_tool("work")  # It says that its tools changed.
        await seen.until(SessionClosed)
        assert len(pushy.log("tools/list")) == 2


async def test_a_session_that_lists_its_tools_unasked_makes_room_after_that(pushy: Pushy, unruly: Unruly) -> None:
    config = pushy("--tells", "--page-delay", "1")
    async with MCPClientSessionManager(max_sessions=1) as manager:
        async with manager.open_session(config, key="a") as session:
            await session.call_tool("work")
        while len(pushy.log("tools/list")) < 2:
            await asyncio.sleep(0.01)
        async with manager.open_session(unruly(), acquire_timeout=20) as session:
            assert (await session.call_tool("count")).text == "1"


async def test_the_least_recently_used_idle_session_makes_room(unruly: Unruly) -> None:
    seen = Record()
    async with MCPClientSessionManager(max_sessions=2, on_event=seen) as manager:
        config = unruly()
        for key in ("old", "new"):
            async with manager.open_session(config, key=key) as session:
                await session.call_tool("count")
        async with manager.open_session(config, key="third"):
            assert {info.key for info in manager.sessions()} == {"new", "third"}
    first = next(event for event in seen.events if isinstance(event, SessionClosed))
    assert (first.key, first.reason) == ("old", "evicted")


async def test_waiting_for_room_is_bounded_and_says_what_to_do(unruly: Unruly) -> None:
    async def ask() -> PoolTimeoutError:
        with pytest.raises(PoolTimeoutError) as caught:
            await manager.open_session(unruly(), acquire_timeout=0.1).__aenter__()
        return caught.value

    async with MCPClientSessionManager(max_sessions=1) as manager, manager.open_session(unruly()):
        error = await asyncio.create_task(ask())
    assert str(error) == (
        "No room for a session of server 'unruly' within 0.1 s: 1 of max_sessions=1 are open, 1 in use.\n"
        "Close sessions earlier, or raise acquire_timeout, or max_sessions of the manager."
    )
    assert (error.sent, error.retryable, error.seconds) == (False, True, 0.1)


async def test_a_call_that_waits_for_room_until_its_own_deadline_says_so(unruly: Unruly) -> None:
    config = MCPConfig(servers=[unruly(name="wanted"), unruly(name="other")])
    async with MCPClientSessionManager(config, max_sessions=1) as manager, await manager.toolkit("wanted") as toolkit:
        await manager.close_session("wanted", manager.sessions()[0].key or "")
        async with manager.open_session("other"):
            call = asyncio.create_task(toolkit["count"].call(call_timeout=0.2))
            with pytest.raises(
                PoolTimeoutError, match=r"No room for a session of server 'wanted' within 0\.2 s"
            ) as caught:
                await call
        assert caught.value.hint == "Close sessions earlier, or raise call_timeout or max_sessions."


async def test_a_waiter_that_gives_up_does_not_block_the_next(unruly: Unruly) -> None:
    async with MCPClientSessionManager(max_sessions=1) as manager:
        async with manager.open_session(unruly()):
            waiting = asyncio.create_task(manager.open_session(unruly()).__aenter__())
            await asyncio.sleep(0.05)
            waiting.cancel()
        with anyio.fail_after(5):
            async with manager.open_session(unruly()) as session:
                await session.call_tool("count")


@pytest.mark.parametrize("backend", BACKENDS)
def test_those_who_hold_a_session_and_wait_for_another_do_not_wait_for_ever(unruly: Unruly, backend: str) -> None:
    ends: list[str] = []

    async def nested(manager: MCPClientSessionManager) -> None:
        try:
            async with manager.open_session(unruly(name="a")) as one:
                await one.call_tool("count")
                async with manager.open_session(unruly(name="b")) as other:
                    ends.append((await other.call_tool("count")).text)
        except PoolTimeoutError as error:
            ends.append(f"{error} sent={error.sent}")

    async def main() -> None:
        async with MCPClientSessionManager(max_sessions=2, acquire_timeout=1000) as manager:
            async with anyio.create_task_group() as tasks:
                for _ in range(6):
                    tasks.start_soon(nested, manager)
            assert manager.sessions() == []

    anyio.run(main, backend=backend)
    assert len(ends) == 6
    refused = [end for end in ends if end != "1"]
    assert 0 < len(refused) < 6
    for text in refused:
        assert "become free: 2 of max_sessions=2 are open, 2 in use. The caller itself holds a session of 'a'" in text
        assert "Close that session before you open another, or raise max_sessions" in text


async def test_a_holder_waits_for_who_does_not_wait(unruly: Unruly) -> None:
    async with MCPClientSessionManager(max_sessions=2) as manager:
        other = manager.open_session(unruly(name="other"))
        await asyncio.create_task(other.__aenter__())
        async with manager.open_session(unruly(name="mine")):
            waiting = asyncio.create_task(manager.open_session(unruly(name="third")).__aenter__())
            second = manager.open_session(unruly(name="second"))
            entering = asyncio.create_task(second.__aenter__())
            second.holder = asyncio.current_task()
            await asyncio.sleep(0.05)
            assert not entering.done()
            await other.__aexit__(None, None, None)
            await entering
            assert not waiting.done(), "who holds a session goes first"
            await second.__aexit__(None, None, None)
        await waiting


async def test_more_servers_at_once_than_there_is_room_for(unruly: Unruly) -> None:
    servers = [unruly(name=name) for name in "abc"]
    manager = MCPClientSessionManager(MCPConfig(servers=servers), max_sessions=2, acquire_timeout=1000)
    async with manager, manager.open_sessions() as opened:
        assert len(opened) == 2
        (error,) = opened.errors.values()
        assert "The caller itself holds a session" in error.message


async def test_cancelling_the_opener_does_not_disturb_who_waits_with_it(unruly: Unruly) -> None:
    config = unruly("--start-delay", "0.4")
    async with MCPClientSessionManager() as manager:

        async def lease() -> str:
            async with manager.open_session(config, key="k") as session:
                return (await session.call_tool("pid")).text

        first = asyncio.create_task(lease())
        second = asyncio.create_task(lease())
        await asyncio.sleep(0.05)
        first.cancel()
        assert (await second).isdigit()
        with pytest.raises(asyncio.CancelledError):
            await first
    assert [line for line in unruly.log if line.startswith("run")] == ["run pid"]


async def test_ten_slow_servers_open_side_by_side(unruly: Unruly) -> None:
    servers = [unruly("--start-delay", "0.2", name=f"slow{number}") for number in range(10)]
    started: list[int] = []

    def count(event: Event) -> None:
        if isinstance(event, SessionOpened):
            started.append(len(manager.sessions()))

    manager = MCPClientSessionManager(MCPConfig(servers=servers), on_event=count)
    async with manager, manager.open_sessions() as opened:
        assert len(opened) == 10
        assert opened.errors == {}
        assert (await opened["slow7"].call_tool("echo", {"text": "7"})).text == "7"
    assert started == [10] * 10, "before the first was open, all had been started"


async def test_one_that_fails_does_not_take_the_others_down(unruly: Unruly) -> None:
    config = MCPConfig(
        servers=[
            unruly(name="good"),
            unruly("--exit", "3", "--stderr", "no licence", name="bad"),
            StdioConfig(server_name="missing", command="no-such-command"),
        ]
    )
    async with MCPClientSessionManager(config).open_sessions() as opened:
        assert list(opened) == ["good"]
        assert set(opened.errors) == {"bad", "missing"}
        assert "no licence" in str(opened.errors["bad"])
        assert (await opened["good"].call_tool("echo", {"text": "here"})).text == "here"
        with pytest.raises(JackfieldError, match="exited with code 3"):
            opened["bad"]
        with pytest.raises(UnknownServerError, match="godo"):
            opened["godo"]
    assert strays() == []


async def test_a_failed_opening_is_told_to_all_who_waited_and_can_be_tried_again(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        bad = unruly("--start-delay", "0.2", "--exit", "2")

        async def lease() -> None:
            async with manager.open_session(bad, key="k"):
                pytest.fail("it cannot open")

        results = await asyncio.gather(*(lease() for _ in range(5)), return_exceptions=True)
        assert {type(result).__name__ for result in results} == {"ServerStartError"}
        assert len({id(result) for result in results}) == 5
        assert manager.sessions() == []
        async with manager.open_session(unruly(), key="k") as session:
            await session.call_tool("count")


async def test_leaving_the_manager_closes_what_is_in_use(unruly: Unruly) -> None:
    manager = await MCPClientSessionManager().__aenter__()
    session = await manager.open_session(unruly(), key="k").__aenter__()
    call = asyncio.create_task(session.call_tool("sleep", {"seconds": 60}))
    await asyncio.sleep(0.1)
    await manager.__aexit__(None, None, None)
    assert strays() == []
    with pytest.raises(SessionTerminatedError) as caught:
        await call
    assert caught.value.sent is True
    with pytest.raises(SessionTerminatedError, match="manager was closed"):
        await manager.open_session(unruly()).__aenter__()


async def test_a_lost_named_session_is_opened_anew_by_the_next_lease(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        config = unruly()
        async with manager.open_session(config, key="k") as session:
            with pytest.raises(SessionTerminatedError):
                await session.call_tool("crash", {"code": 1})
        async with manager.open_session(config, key="k") as session:
            assert (await session.call_tool("count")).text == "1"


async def test_close_session_ends_one_key_only(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        for key in ("a", "b"):
            async with manager.open_session(unruly(), key=key) as session:
                await session.call_tool("count")
        assert await manager.close_session("unruly", "a") is True
        assert await manager.close_session("unruly", "a") is False
        assert [info.key for info in manager.sessions()] == ["b"]


async def test_a_call_of_a_session_that_is_closed_is_told_before_its_server_has_ended(
    unruly: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("jackfield.transport.report._EXIT_SECONDS", 60)
    async with MCPClientSessionManager() as manager:
        session = await manager.open_session(unruly("--ignore-eof", "--ignore-sigterm"), key="a").__aenter__()
        call = asyncio.create_task(session.call_tool("sleep", {"seconds": 60}))
        await asyncio.to_thread(eventually, lambda: "run sleep" in unruly.log)
        closing = asyncio.create_task(manager.close_session("unruly", "a"))
        with pytest.raises(SessionTerminatedError, match="was closed"):
            await call
        assert strays() != []
        os.kill(session.process_id or 0, signal.SIGKILL)
        assert await closing


async def test_events_tell_the_life_of_a_session(unruly: Unruly) -> None:
    seen = Record()
    async with MCPClientSessionManager(on_event=seen).open_session(unruly()) as session:
        await session.call_tool("echo", {"text": "x"})
        await session.call_tool("fail")
    names = [type(event).__name__ for event in seen.events]
    assert names == [
        "SessionOpening",
        "SessionOpened",
        *["CallStarted", "CallFinished"] * 2,
        "SessionClosed",
    ]
    opened = next(event for event in seen.events if isinstance(event, SessionOpened))
    assert opened.protocol_version == "2025-11-25"
    assert opened.process_id


async def test_a_raising_listener_harms_nothing(unruly: Unruly, caplog: pytest.LogCaptureFixture) -> None:
    def listener(event: Event) -> None:
        raise RuntimeError("listener")

    async with MCPClientSessionManager(on_event=listener).open_session(unruly()) as session:
        assert (await session.call_tool("echo", {"text": "x"})).text == "x"
    assert "listener raised" in caplog.text


def test_one_manager_can_serve_one_event_loop_after_another(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()

    async def use() -> str:
        async with manager.open_session(unruly()) as session:
            return (await session.call_tool("count")).text

    assert [anyio.run(use, backend=backend) for backend in ("asyncio", "trio", "asyncio")] == ["1", "1", "1"]
    assert manager.stats().opened == 3


async def test_two_loops_at_once_are_refused(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()

    def other_thread() -> None:
        with manager.open_session_sync(unruly()):
            pass

    async with manager.open_session(unruly()):
        with pytest.raises(JackfieldError, match="another event loop"):
            await asyncio.to_thread(other_thread)
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_max_concurrency_bounds_calls_of_one_session(unruly: Unruly) -> None:
    config = unruly(session=SessionConfig(max_concurrency=2))
    async with MCPClientSessionManager() as manager, manager.open_session(config) as session:
        await session.list_tools()
        most = 0

        async def call() -> None:
            nonlocal most
            await session.call_tool("sleep", {"seconds": 0.05})

        async with anyio.create_task_group() as tasks:
            for _ in range(6):
                tasks.start_soon(call)
            await asyncio.sleep(0.02)
            assert unruly.log.count("run sleep") <= 2


def test_misuse_is_told() -> None:
    with pytest.raises(ConfigError, match="max_sessions"):
        MCPClientSessionManager(max_sessions=0)
    with pytest.raises(UnknownServerError, match="without a config"):
        MCPClientSessionManager().open_session("x")
    with pytest.raises(ConfigError, match="name or its configuration"):
        MCPClientSessionManager().open_session(3)  # type: ignore[arg-type]

    async def listen(event: object) -> None:
        raise AssertionError(event)

    with pytest.raises(ConfigError, match="on_event is a coroutine function"):
        MCPClientSessionManager(on_event=listen)  # type: ignore[arg-type]


async def test_a_lease_cannot_be_entered_twice(unruly: Unruly) -> None:
    lease = MCPClientSessionManager().open_session(unruly())
    async with lease:
        with pytest.raises(RuntimeError, match="in use"):
            await lease.__aenter__()


async def test_a_manager_with_sessions_open_cannot_be_entered(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()
    async with manager.open_session(unruly()) as session:
        with pytest.raises(RuntimeError, match="enter it before you open any"):
            await manager.__aenter__()
        assert (await session.call_tool("count")).text == "1", "nothing happened to it"
    async with manager:
        pass


async def test_a_server_is_opened_once_in_a_group(unruly: Unruly) -> None:
    with pytest.raises(ConfigError, match="given a server twice: unruly, unruly"):
        MCPClientSessionManager().open_sessions([unruly(), unruly()])


async def test_a_manager_that_opened_nothing_leaves_nothing() -> None:
    manager = MCPClientSessionManager()
    async with manager:
        assert manager.sessions() == []
    await manager.__aexit__(None, None, None)  # also where it was never entered again


async def test_a_manager_can_be_entered_again_once_left(unruly: Unruly) -> None:
    manager = MCPClientSessionManager()
    for _ in range(2):
        async with manager:
            with pytest.raises(RuntimeError, match="already entered"):
                await manager.__aenter__()
            async with manager.open_session(unruly(), key="k") as session:
                assert (await session.call_tool("count")).text == "1"


async def test_several_sessions_take_hooks_and_a_time_to_wait_for_room(unruly: Unruly) -> None:
    called: list[str] = []

    class Hook(CallHook):
        async def before(self, call: ToolCall) -> None:
            called.append(f"{call.server_name}.{call.tool}")

    servers = [unruly(name=name) for name in "ab"]
    async with MCPClientSessionManager(max_sessions=2, acquire_timeout=1000) as manager:
        async with manager.open_sessions(servers, hooks=[Hook()], acquire_timeout=30) as opened:
            for session in opened.values():
                await session.call_tool("echo", {"text": "x"})
            async with manager.open_sessions([unruly(name="c")], acquire_timeout=0.1) as more:
                assert isinstance(more.errors["c"], PoolTimeoutError)
    assert sorted(called) == ["a.echo", "b.echo"]


async def test_a_group_of_sessions_is_entered_once_at_a_time(unruly: Unruly) -> None:
    async with MCPClientSessionManager() as manager:
        group = manager.open_sessions([unruly()])
        async with group as opened:
            with pytest.raises(RuntimeError, match="in use; call open_sessions"):
                await group.__aenter__()
            assert (await opened["unruly"].call_tool("count")).text == "1"


async def test_no_time_is_not_told_as_no_room(unruly: Unruly) -> None:
    with pytest.raises(SessionTimeoutError, match="was not open within 0 s") as caught:
        await MCPClientSessionManager().open_session(unruly(), acquire_timeout=0).__aenter__()
    assert caught.value.code == "session_timeout"
