"""Event loops of asyncio and trio, and waiting in them.

Which loop runs, whether it has ended, and tasks that belong to an object; `Deadline` of a request, and `IdleClock` of a
session that nobody uses; `Changed`, a signal that can be given again and again.

anyio's task groups must be left by the task that entered them, which a session that outlives its opener cannot promise.
So `spawn` starts a task that belongs to an object instead; the event loop's own shutdown cancels what is left.
"""

from __future__ import annotations

import asyncio
import contextvars
import math
import os
import threading
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio

from .errors import seconds_of

_T = TypeVar("_T")

# What users' own code may take to end after it was cancelled, before it is abandoned.
_ABANDON_SECONDS = 0.5

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


async def in_own_task(function: Callable[[], Coroutine[Any, Any, _T]], on_abandoned: Callable[[], None]) -> _T:
    """Await users' own code, without waiting for it for long once that is cancelled.

    What waits in a thread, such as for a person at a terminal, cannot be cancelled, and a session that closes must not
    wait for it. In trio, whose tasks cannot outlive their parents, it does.

    Args:
        function: Runs in a task of its own.
        on_abandoned: Called where it goes on all the same; how it ends is nobody's business then.
    """
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return await function()
    task = asyncio.ensure_future(function())
    try:
        await asyncio.wait([task])
    except BaseException:
        task.cancel()
        with anyio.CancelScope(shield=True), anyio.move_on_after(_ABANDON_SECONDS):
            await asyncio.wait([task])
        if not task.done():
            on_abandoned()
        task.add_done_callback(_forget)
        _abandoned.add(task)
        raise
    return task.result()


_abandoned: set[asyncio.Future[Any]] = set()
"""The loop does not keep them alive."""


def _forget(task: asyncio.Future[Any]) -> None:
    _abandoned.discard(task)
    if not task.cancelled():
        task.exception()  # or asyncio would report it


class DeadlineScope:
    """Enters a cancel scope that ends at a deadline.

    Args:
        scopes: Those that have been entered and not been left.
        at: The deadline.
    """

    __slots__: tuple[str, ...] = ("_scope", "_scopes")

    def __init__(self, scopes: list[anyio.CancelScope], at: float) -> None:
        self._scopes = scopes
        self._scope = anyio.CancelScope(deadline=at)

    def __enter__(self) -> anyio.CancelScope:
        self._scope.__enter__()
        self._scopes.append(self._scope)
        return self._scope

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._scopes.remove(self._scope)
        return self._scope.__exit__(exc_type, exc, traceback)


class Deadline:
    """The time by which a request must be done, regardless of its number of steps.

    Every step gets the same object, so no step can start its own timeout. A step waits inside `scope()`:
    extending the deadline then also moves the end of waits that have begun.

    Args:
        seconds: How long the request may take in all, for errors; `None`: without end.
        at: The time in the event loop's clock.
    """

    __slots__: tuple[str, ...] = ("_scopes", "at", "on_progress", "seconds")

    def __init__(self, seconds: float | None, at: float) -> None:
        self.seconds: float | None = seconds
        self.at: float = at
        self.on_progress: ProgressReset | None = None
        """Extends it whenever the server reports progress, if the call allows that."""
        self._scopes: list[anyio.CancelScope] = []

    def __repr__(self) -> str:
        return f"<Deadline seconds={self.seconds} at={self.at:g}>"

    @classmethod
    def after(cls, seconds: float | None) -> Deadline:
        """That many seconds from now."""
        return cls(seconds, math.inf if seconds is None else anyio.current_time() + seconds)

    @classmethod
    def of(cls, bound: Bound, setting: float | None) -> Deadline:
        """The deadline for a timeout; the server's setting if omitted.

        Raises:
            ConfigError: It is not a number of seconds; nothing was sent.
        """
        if isinstance(bound, Deadline):
            return bound
        return cls.after(setting if bound is None else seconds_of(bound, "call_timeout"))

    def not_before(self, seconds: float) -> Deadline:
        """A new deadline at the same time, or that many seconds from now if that is later."""
        return Deadline(self.seconds, max(self.at, anyio.current_time() + seconds))

    def extend(self, at: float) -> None:
        """Move the deadline to a later time, also for the waits that have begun; an earlier time changes nothing."""
        before, self.at = self.at, max(self.at, at)
        if self.seconds is not None:
            self.seconds = None if self.at == math.inf else self.seconds + self.at - before
        for scope in self._scopes:
            if scope.deadline == before:  # one that ends earlier has a bound of its own
                scope.deadline = self.at

    def scope(self) -> DeadlineScope:
        """A cancel scope that ends at the deadline, wherever that is moved to."""
        return DeadlineScope(self._scopes, self.at)

    @property
    def seconds_left(self) -> float:
        """Until it has passed; 0 from then on."""
        return max(self.at - anyio.current_time(), 0.0)

    @property
    def left(self) -> float | None:
        """The same for what takes a `call_timeout`; `None` if it never passes."""
        return None if self.seconds is None else self.seconds_left

    @property
    def has_passed(self) -> bool:
        """Whether no time is left."""
        return anyio.current_time() >= self.at


class ProgressReset:
    """Starts the time of a call again whenever the server reports progress, up to a maximum in all.

    Args:
        deadline: Of the call, before the call begins.
        total_seconds: How long the call may take in all. A longer `call_timeout` counts all the same.

    Source: MCP 2025-11-25, basic/lifecycle "Timeouts".
    """

    __slots__: tuple[str, ...] = ("_deadline", "_latest", "_seconds", "has_reset", "total_seconds")

    def __init__(self, deadline: Deadline, total_seconds: float) -> None:
        self.total_seconds: float = max(total_seconds, deadline.seconds or 0.0)
        self.has_reset: bool = False
        self._deadline = deadline
        self._seconds = deadline.seconds
        self._latest = anyio.current_time() + self.total_seconds

    def reset(self) -> None:
        """The server reported progress."""
        if self._seconds is not None:
            self.has_reset = True
            self._deadline.extend(min(anyio.current_time() + self._seconds, self._latest))

    @property
    def seconds(self) -> float | None:
        """How long the call may take without progress."""
        return self._seconds

    @property
    def is_at_total(self) -> bool:
        """Whether no further progress can move the deadline."""
        return self.has_reset and self._deadline.at >= self._latest


Bound = float | Deadline | None
"""Seconds for this request, or the deadline of the request that it is part of; `None`: the server's setting."""


class IdleClock:
    """Expires unless it is set again in time.

    Every lease sets it twice, so the event loop's timer is only changed if it would expire too late.
    """

    def __init__(self) -> None:
        self._expires_at = math.inf
        self._timer: anyio.CancelScope | None = None

    def set(self, seconds: float | None) -> None:
        """Expire in this many seconds; `None`: never."""
        self._expires_at = math.inf if seconds is None else anyio.current_time() + seconds
        if self._timer is not None and self._expires_at < self._timer.deadline:
            self._timer.deadline = self._expires_at

    async def run(self, on_expiry: Callable[[], None]) -> None:
        """Call a function at every expiry, until cancelled."""
        try:
            while True:
                with anyio.CancelScope(deadline=self._expires_at) as self._timer:
                    await anyio.sleep_forever()
                if anyio.current_time() >= self._expires_at:
                    self._expires_at = math.inf
                    on_expiry()
        finally:
            self._timer = None
