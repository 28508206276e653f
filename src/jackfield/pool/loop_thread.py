"""`LoopThread`: an event loop in a separate thread, for sessions that outlive or must not share the caller's loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from contextvars import Context
from functools import cache, partial
from typing import Any, TypeVar

from ..session.session_loop import SessionLoop, session_loop_here, wait_uncancelled

_T = TypeVar("_T")

# At the interpreter's exit: for closing what is open. Servers have `close_timeout` (5 s) for it, and are killed then.
_EXIT_SECONDS = 15.0


class LoopThread:
    """An event loop in a daemon thread that exists while it is used.

    At the interpreter's exit, the loop ends and all sessions on it are closed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: _Running | None = None

    def enter(self) -> LoopUse:
        """Start the loop if it does not run, and use it."""
        with self._lock:
            running = self._running
            if running is None or running.process_id != os.getpid():
                running = self._running = _Running(self._left)
            running.users += 1
        return LoopUse(running)

    async def begin(self, function: Callable[[LoopUse], Awaitable[_T]]) -> _T:
        """Start a use of the loop with a function that runs there and receives the use; if it fails, the use ends.

        Tasks that it starts do not keep references from the caller's context alive.
        """
        use = self.enter()
        try:
            return await asyncio.create_task(use.session_loop.run(lambda: function(use)), context=Context())
        except BaseException:
            await wait_uncancelled(use.leave())
            raise

    @asynccontextmanager
    async def opened(self, lease: AbstractAsyncContextManager[_T]) -> AsyncGenerator[_T]:
        """Enter and leave a context manager there."""
        use = self.enter()
        use.close = partial(lease.__aexit__, None, None, None)
        try:
            # As in `begin`, but left by `close` from here on, also where entering is cancelled.
            yield await asyncio.create_task(use.session_loop.run(lease.__aenter__), context=Context())
        finally:
            await wait_uncancelled(use.leave())

    async def run(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run a function there. Cancelling this cancels that."""
        use = self.enter()
        try:
            return await use.session_loop.run(function)
        finally:
            await wait_uncancelled(use.leave())

    def run_blocking(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run a function there, from code that may block."""
        use = self.enter()
        try:
            return use.session_loop.run_blocking(function)
        finally:
            use.leave().result()

    def _left(self, running: _Running) -> None:
        with self._lock:
            running.users -= 1
            if running.users == 0:
                running.stop.set()
                if self._running is running:
                    self._running = None


class LoopUse:
    """One user's hold on a `LoopThread`."""

    def __init__(self, running: _Running) -> None:
        self._running = running
        self.close: Callable[[], Awaitable[object]] | None = None
        """Run on the loop when it is given back, also at the interpreter's exit."""
        running.uses.add(self)

    @property
    def session_loop(self) -> SessionLoop:
        """The loop."""
        return self._running.session_loop

    def leave(self) -> Future[None]:
        """Release it. Never blocks, so that a finalizer may call it.

        Returns:
            Done when `close` has run and, if this was the last use, the loop has ended with everything on it.
        """
        running, left = self._running, Future[None]()
        if self in running.uses:
            running.uses.discard(self)
            running.begin_leaving(self.close, left)
        else:
            left.set_result(None)
        return left


class _Running:
    """The thread and its loop, from start to end."""

    def __init__(self, left: Callable[[_Running], None]) -> None:
        self.process_id: int = os.getpid()
        self.users: int = 0
        self.uses: set[LoopUse] = set()
        self._left = left
        self._last: deque[Future[None]] = deque()
        self._has_ended = False
        started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event, SessionLoop]] = Future()
        self._thread = threading.Thread(target=self._run, args=(started,), name="jackfield-sessions", daemon=True)
        self._thread.start()
        loop, stop, session_loop = started.result()
        self.loop: asyncio.AbstractEventLoop = loop
        self.stop: asyncio.Event = stop
        self.session_loop: SessionLoop = session_loop
        _end_at_exit()
        _all.add(self)

    def _run(self, started: Future[Any]) -> None:
        async def serve() -> None:
            stop = asyncio.Event()
            started.set_result((asyncio.get_running_loop(), stop, session_loop_here()))
            await stop.wait()

        try:
            asyncio.run(serve())
        except BaseException as error:
            if started.done():
                raise
            started.set_exception(error)
        finally:
            _all.discard(self)
            self._has_ended = True
            self._tell_last()

    def _tell_last(self) -> None:
        with suppress(IndexError):  # another thread may do the same
            while True:
                self._last.popleft().set_result(None)

    def begin_leaving(self, close: Callable[[], Awaitable[object]] | None, left: Future[None]) -> None:
        """Run `close` on the loop, then count the user out."""

        async def leave() -> None:
            try:
                if close is not None:
                    await close()
            finally:
                self._left(self)

        def has_left(_: object) -> None:
            self._last.append(left)
            if not self.stop.is_set() or self._has_ended:
                self._tell_last()

        self.session_loop.begin(leave).add_done_callback(has_left)

    def end(self) -> None:
        """Close everything on the loop and wait for its end; called at the interpreter's exit."""
        if self.process_id == os.getpid():
            for use in list(self.uses):
                use.leave()
            self._thread.join(_EXIT_SECONDS)


_all: set[_Running] = set()


@cache
def _end_at_exit() -> None:
    def end() -> None:
        for running in list(_all):
            running.end()

    # What is registered last is run first: before the finalizers that kill forgotten processes, which weakref registers
    # with the first of all finalizers. Otherwise the sessions would take them for lost and start them again.
    weakref.finalize(LoopThread, lambda: None)
    atexit.register(end)
