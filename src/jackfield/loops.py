"""What is known here of the event loops of asyncio and trio: which one runs, whether it has ended, how to reach it from
another thread, and tasks that belong to an object. And `Changed`, a signal that can be given again and again.

anyio's task groups must be left by the task that entered them, which a session that outlives its opener cannot promise.
So `spawn` starts a task that belongs to an object instead; the event loop's own shutdown cancels what is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import weakref
from collections.abc import Callable, Coroutine
from typing import Any, Self

import anyio

_NEVER_SECONDS = 1e9

# How long a cancelled task may take to end by itself while its `is_entering` holds.
_CANCEL_AGAIN_SECONDS = 0.1


def spawn(
    function: Callable[[], Coroutine[Any, Any, None]],
    name: str,
    *,
    ended: Callable[[], None],
    is_entering: Callable[[], bool],
) -> object:
    """Start a task of its own. Keep what is returned until the task ends: the loop does not keep it alive.

    Args:
        function: Runs in the task; should not raise.
        name: The task's name.
        ended: Called exactly once when the task has ended, however it did: a task of asyncio that is cancelled before
            its first step never enters `function`, so that no `finally` in it runs.
        is_entering: Whether the task may be inside a `TaskGroup.start()`; see `_Task`.
    """
    has_ended = False

    def end(_: object = None) -> None:
        nonlocal has_ended
        if not has_ended:
            has_ended = True
            ended()

    async def run() -> None:
        try:
            await function()
        finally:
            end()

    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.spawn_system_task(run, name=name, context=contextvars.copy_context())
    task = _Task(run(), loop=loop, name=name)
    task.is_entering = is_entering
    task.add_done_callback(end)
    return task


class _Task(asyncio.Task[None]):
    """A task that gets out of anyio's `TaskGroup.start()` when its event loop shuts down.

    A task that is cancelled before its first step never counts as finished in anyio 4.16, and `start()` waits for that
    shielded. The end of `asyncio.run()` cancels all tasks in such a way; only another such cancellation ends the wait.
    """

    is_entering: Callable[[], bool]

    def cancel(self, msg: object = None) -> bool:
        if msg is None:  # anyio's own cancellations, which it repeats itself, have a message
            self.get_loop().call_later(_CANCEL_AGAIN_SECONDS, self._cancel_again)
        return super().cancel(msg)

    def _cancel_again(self) -> None:
        if not self.done() and self.is_entering():
            super().cancel()


class LockHere:
    """A lock for the tasks of the event loop that runs now. Those who held or awaited it on one that has ended ended
    with that."""

    def __init__(self) -> None:
        self._loop: object = None
        self._lock = anyio.Lock()

    def get(self) -> anyio.Lock:
        """The lock; which are served in the order in which they came."""
        if self._loop is not (loop := event_loop_token()):
            self._loop, self._lock = loop, anyio.Lock()
        return self._lock


def event_loop_token() -> object:
    """Something that is the same for all code of one running event loop, and for no other."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


class EventLoop:
    """One event loop of asyncio, for code that may run elsewhere.

    Args:
        loop: It runs in this thread.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._process_id = os.getpid()
        self._thread_id = threading.get_ident()
        self._loop = loop

    @classmethod
    def here(cls) -> Self | None:
        """The event loop that runs here; `None` where that is not one of asyncio."""
        try:
            return cls(asyncio.get_running_loop())
        except RuntimeError:
            return None

    def __deepcopy__(self, memo: object) -> Self:
        return self  # Frameworks copy tools; there is but one loop.

    @property
    def thread_id(self) -> int:
        """The thread that the loop runs in."""
        return self._thread_id

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is another loop than the one that runs here, and runs itself in this process."""
        if asyncio._get_running_loop() is self._loop:
            return False
        return self._loop.is_running() and os.getpid() == self._process_id

    @property
    def has_ended(self) -> bool:
        """Whether the loop is closed."""
        return self._loop.is_closed()


def is_running() -> bool:
    """Whether an event loop runs here. One that ran when this process was forked does not."""
    try:
        event_loop_token()
    except RuntimeError:
        return False
    return True


def current_task() -> object:
    """The running task, in either backend."""
    try:
        return asyncio.current_task()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_task()


def is_closed(token: object) -> bool:
    """Whether the event loop of this token has ended for good."""
    if isinstance(token, asyncio.AbstractEventLoop):
        return token.is_closed()
    import trio

    try:
        token.run_sync_soon(int)  # type: ignore[attr-defined]  # pyright: ignore
    except trio.RunFinishedError:
        return True
    return False


def setter_from_anywhere(event: anyio.Event) -> Callable[[], object]:
    """A function that sets an event of the loop that runs here, from whichever thread."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        token = trio.lowlevel.current_trio_token()
        return lambda: token.run_sync_soon(event.set)

    def set_it() -> None:
        # Waking the loop costs two system calls, and within a step of its own it is awake.
        if asyncio._get_running_loop() is loop:
            event.set()
        else:
            loop.call_soon_threadsafe(event.set)

    return set_it


class _Sentinel:
    """Lives as long as an event loop keeps the timer it hangs on."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action

    def __call__(self) -> None:
        """The timer's callback; never due."""

    def __del__(self) -> None:
        self.action()


def on_loop_close(action: Callable[[], object]) -> Callable[[], None]:
    """Do something when the running event loop is closed; returns what calls that off.

    Waiting for the garbage collector would not do: anyio keeps a closed loop alive by the futures of
    the descriptors that were waited for. Closing a loop drops its timers, so a timer that is never due
    tells. On trio a run ends only after its tasks did.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return lambda: None
    sentinel = _Sentinel(action)
    timer = weakref.ref(loop.call_later(_NEVER_SECONDS, sentinel))
    watched = weakref.ref(sentinel)
    del sentinel

    def call_off() -> None:
        if (left := watched()) is not None:
            left.action = _nothing
        if (handle := timer()) is not None:
            handle.cancel()

    return call_off


def _nothing() -> None:
    pass


class Changed:
    """Wakes all tasks that wait for the next change. A signal that nobody waits for costs nothing."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def set(self) -> None:
        """Wake all who wait now."""
        if self._next is not None:
            event, self._next = self._next, None
            event.set()

    async def wait(self) -> None:
        """Return at the next signal. What is to be waited for must be checked before, without an `await` between."""
        if self._next is None:
            self._next = anyio.Event()
        await self._next.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once a condition holds; it is checked now and at every signal."""
        while not condition():
            await self.wait()
