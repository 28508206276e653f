"""Calls that come to the loop of their session from other loops and threads, and to one that cannot answer."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import math
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from jackfield import ConfigError, SessionTimeoutError
from jackfield.session import session_loop as home_module
from jackfield.session.session_loop import BlockedLoopError, SessionLoop, SessionLoopError, session_loop_here


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gives up soon."""
    monkeypatch.setattr(home_module, "REACH_TIMEOUT", 0.2)
    monkeypatch.setattr(home_module, "_LOOK_SECONDS", 0.05)


@pytest.fixture(autouse=True)
async def threads_end(nothing_left: None) -> AsyncIterator[None]:
    yield
    await asyncio.get_running_loop().shutdown_default_executor()


async def here() -> int:
    return id(asyncio.get_running_loop())


async def test_from_the_loop_itself_a_call_is_just_made() -> None:
    assert await session_loop_here().run(here) == await here()


async def test_from_another_loop_and_from_a_thread() -> None:
    session_loop = session_loop_here()
    assert await asyncio.to_thread(lambda: asyncio.run(session_loop.run(here))) == await here()
    assert await asyncio.to_thread(session_loop.run_blocking, here) == await here()


@pytest.mark.parametrize("error", [SessionTimeoutError("too late"), ConfigError("wrong"), KeyError("x")])
async def test_errors_come_back_as_they_are(error: Exception) -> None:
    session_loop = session_loop_here()

    async def fail() -> None:
        raise error

    for call in (lambda: session_loop.run_blocking(fail), lambda: asyncio.run(session_loop.run(fail))):
        with pytest.raises(type(error)) as caught:
            await asyncio.to_thread(call)
        assert caught.value is error


async def test_cancelling_there_cancels_here() -> None:
    session_loop, begun, ended = session_loop_here(), asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def elsewhere() -> None:
        call = asyncio.create_task(session_loop.run(wait))
        await session_loop.run(begun.wait)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call

    await asyncio.to_thread(lambda: asyncio.run(elsewhere()))
    async with asyncio.timeout(5):
        await ended.wait()


async def test_blocking_the_loop_itself_is_refused() -> None:
    with pytest.raises(SessionLoopError, match="Use the async methods"):
        session_loop_here().run_blocking(here)


async def test_a_loop_that_is_blocked_is_not_waited_for_and_never_makes_the_call_later(soon: None) -> None:
    session_loop = session_loop_here()
    made: list[int] = []

    async def call() -> None:
        made.append(1)

    for way in (lambda: session_loop.run_blocking(call), lambda: asyncio.run(session_loop.run(call))):
        errors: list[BaseException] = []
        ended = threading.Event()

        def try_it(way: object = way, errors: list[BaseException] = errors, ended: threading.Event = ended) -> None:
            try:
                way()  # type: ignore[operator]
            except SessionLoopError as error:
                errors.append(error)
            ended.set()

        threading.Thread(target=try_it).start()
        ended.wait()  # which blocks the loop, for a reason that nobody can see
        assert "something blocks it" in str(errors[0])
        assert "Nothing was sent" in str(errors[0])
    await asyncio.sleep(0.01)
    assert made == []


def in_a_pool(call: Callable[[], object]) -> None:
    with ThreadPoolExecutor() as pool:
        pool.submit(call).result()


def mapped(call: Callable[[], object]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: call(), range(3)))


def in_a_pool_of_a_pool(call: Callable[[], object]) -> None:
    with ThreadPoolExecutor() as pool:
        done, _ = concurrent.futures.wait([pool.submit(in_a_pool, call)])
        done.pop().result()


def joined(call: Callable[[], object]) -> None:
    errors: list[BaseException] = []

    def try_it() -> None:
        try:
            call()
        except SessionLoopError as error:
            errors.append(error)

    thread = threading.Thread(target=try_it)
    thread.start()
    thread.join()
    raise errors[0]


@pytest.mark.parametrize("wait", [in_a_pool, mapped, in_a_pool_of_a_pool, joined], ids=lambda wait: wait.__name__)
@pytest.mark.parametrize("is_async", [False, True], ids=["from a thread", "from another loop"])
async def test_a_loop_that_waits_for_the_very_call_is_told_at_once(
    wait: Callable[[Callable[[], object]], None], is_async: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(home_module, "REACH_TIMEOUT", math.inf)
    session_loop = session_loop_here()
    with pytest.raises(BlockedLoopError, match="synchronous run that waits for this tool"):
        wait((lambda: asyncio.run(session_loop.run(here))) if is_async else (lambda: session_loop.run_blocking(here)))


async def test_a_loop_that_is_busy_for_a_while_is_waited_for() -> None:
    session_loop = session_loop_here()
    call = asyncio.get_running_loop().run_in_executor(None, session_loop.run_blocking, here)
    time.sleep(4 * home_module._BUSY_SECONDS)
    assert await call == await here()


class Elsewhere:
    """A loop in a thread of its own, and the `SessionLoop` made there."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._may_close = threading.Event()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

        async def make() -> SessionLoop:
            return session_loop_here()

        self.session_loop = asyncio.run_coroutine_threadsafe(make(), self._loop).result(5)

    def _serve(self) -> None:
        self._loop.run_forever()
        self._may_close.wait()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def stop(self) -> None:
        """End the loop as `loop.stop()` does: with calls under way left as they are."""
        self._loop.call_soon_threadsafe(self._loop.stop)

    def close(self) -> None:
        self._may_close.set()
        self._thread.join()


@pytest.fixture
def elsewhere(nothing_left: None) -> Iterator[Elsewhere]:
    made = Elsewhere()
    yield made
    made.close()


async def test_a_loop_that_has_ended_is_told(elsewhere: Elsewhere) -> None:
    elsewhere.stop()
    elsewhere.close()
    with pytest.raises(SessionLoopError, match="has ended; nothing was sent"):
        await elsewhere.session_loop.run(here)
    with pytest.raises(SessionLoopError, match="has ended; nothing was sent"):
        await asyncio.to_thread(elsewhere.session_loop.run_blocking, here)


@pytest.mark.parametrize("blocking", [False, True])
async def test_a_loop_that_ends_during_a_call_is_told(soon: None, elsewhere: Elsewhere, blocking: bool) -> None:
    begun = threading.Event()

    async def stay() -> None:
        begun.set()
        await asyncio.Event().wait()

    session_loop = elsewhere.session_loop
    call = asyncio.create_task(
        asyncio.to_thread(session_loop.run_blocking, stay) if blocking else session_loop.run(stay)
    )
    async with asyncio.timeout(30):
        while not begun.is_set():
            await asyncio.sleep(0.01)
        elsewhere.stop()
        with pytest.raises(SessionLoopError, match="may have taken effect"):
            await call


def test_without_a_loop_it_says_where_to_make_tools() -> None:
    with pytest.raises(SessionLoopError, match="Make the tools in the async code"):
        session_loop_here()


async def test_copies_of_a_tool_share_the_loop() -> None:
    session_loop = session_loop_here()
    assert copy.deepcopy({"session_loop": session_loop})["session_loop"] is session_loop
