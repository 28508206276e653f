"""`SessionLoop`: the event loop that sessions live on, and access to it from any thread or loop.

A session's calls are made on the loop that opened it. Frameworks call tools from there, from threads, and from
other loops in other threads; some block the very loop that would have to answer, so every wait is limited, and
one that is provably in vain ends immediately.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, TypeVar

from ..errors import JackfieldError, SessionTerminatedError
from ..loops import EventLoop
from .deadlock import is_waited_for_by

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

logger: logging.Logger = logging.getLogger("jackfield")

_T = TypeVar("_T")

REACH_TIMEOUT = 10.0
"""Seconds for a loop to begin a call. A busy loop does; a blocked one never would."""

_BUSY_SECONDS = 0.1  # between looks at what keeps a loop that has not begun a call yet
_LOOK_SECONDS = 1.0  # between looks whether the loop of a call under way still runs


# An event loop does not keep its tasks alive.
_tasks: set[asyncio.Task[None]] = set()


class SessionLoopError(JackfieldError, RuntimeError):
    """The event loop of a tool's session cannot be reached from here."""


class BlockedLoopError(SessionLoopError):
    """The event loop of a tool's session is blocked by the very code that waits for the tool; nothing was sent."""


_INSTEAD = "Use the async methods (ainvoke, a_run, ...), or another thread: await asyncio.to_thread(agent.invoke, ...)."


class SessionLoop(EventLoop):
    """An event loop, with access to it from any other thread or loop."""

    def begin(self, function: Callable[[], Awaitable[None]]) -> concurrent.futures.Future[None]:
        """Begin to run a function there, from any thread and without waiting, also from a finalizer.

        Returns:
            Done when the function is, whatever came of it; at once where the loop has ended.
        """
        ended = concurrent.futures.Future[None]()

        async def run() -> None:
            try:
                await function()
            except Exception:
                logger.exception("[MCP] Closing failed in part")
            finally:
                ended.set_result(None)

        def start() -> None:
            task = self._loop.create_task(run())
            _tasks.add(task)
            task.add_done_callback(_tasks.discard)

        try:
            if os.getpid() != self._process_id:
                raise RuntimeError
            self._loop.call_soon_threadsafe(start)
        except RuntimeError:
            ended.set_result(None)
        return ended

    def _call(self, function: Callable[[], Awaitable[Any]]) -> _Call:
        if os.getpid() != self._process_id:
            raise SessionLoopError(
                f"This tool's session was opened by process {self._process_id}, and this one is a fork of it; nothing "
                "was sent. Make the tools in the process that uses them."
            )
        return _Call(function, self._loop, self._thread_id)

    async def run(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from any event loop. Cancelling this cancels that.

        Raises:
            SessionLoopError: That loop has ended, or is blocked.
        """
        if asyncio.get_running_loop() is self._loop:
            return await function()
        call = self._call(function)
        try:
            begun, done = asyncio.wrap_future(call.begun), asyncio.wrap_future(call.done)
            while call.may_begin():
                await asyncio.wait([begun, done], timeout=_BUSY_SECONDS, return_when=asyncio.FIRST_COMPLETED)
            while call.goes_on():
                await asyncio.wait([done], timeout=_LOOK_SECONDS)
        except BaseException:
            call.give_up()
            raise
        return call.done.result()

    def run_blocking(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from a thread that may block.

        Raises:
            SessionLoopError: This thread runs that very loop, or that loop has ended or is blocked.
        """
        try:
            here: object = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise BlockedLoopError(
                "This tool's session lives on the event loop that runs here, and blocking it would wait for ever. "
                f"Nothing was sent. {_INSTEAD}"
            )
        call = self._call(function)
        try:
            either = [call.begun, call.done]
            while call.may_begin():
                concurrent.futures.wait(either, _BUSY_SECONDS, concurrent.futures.FIRST_COMPLETED)
            while call.goes_on():
                concurrent.futures.wait([call.done], _LOOK_SECONDS)
        except BaseException:
            call.give_up()
            raise
        return call.done.result()


def run_on_own_loop(function: Callable[[], Awaitable[_T]]) -> _T:
    """Run a function on an event loop of its own and wait for it, in another thread where a loop runs in this one."""

    async def run() -> _T:
        return await function()

    if asyncio._get_running_loop() is None:
        return asyncio.run(run())
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(copy_context().run, asyncio.run, run()).result()


def wait_blocking(future: concurrent.futures.Future[_T], thread_id: int) -> _T:
    """Wait for a future that a thread, or the event loop in it, works on.

    Raises:
        BlockedLoopError: That thread waits for this one, or is this one.
    """
    while not future.done():
        if thread_id == threading.get_ident() or is_waited_for_by(thread_id):
            raise BlockedLoopError(f"This call would wait for the event loop that it blocks. {_INSTEAD}")
        concurrent.futures.wait([future], _BUSY_SECONDS)
    return future.result()


async def wait_uncancelled(future: concurrent.futures.Future[_T]) -> _T:
    """Wait for a future to its end, also where this is cancelled meanwhile."""
    waiting, cancelled = asyncio.wrap_future(future), False
    while not waiting.done():
        try:
            await asyncio.shield(waiting)
        except asyncio.CancelledError:
            cancelled = True
    if cancelled:
        raise asyncio.CancelledError
    return waiting.result()


def session_loop_here() -> SessionLoop:
    """The event loop that runs here, for calls from elsewhere.

    Raises:
        SessionLoopError: No asyncio event loop is running here.
    """
    session_loop = SessionLoop.here()
    if session_loop is None:
        raise SessionLoopError(
            "No asyncio event loop is running here. Make the tools in the async code that opened their session."
        )
    return session_loop


class _Call:
    """A call on another thread's event loop: begun there, or given up before it was."""

    def __init__(self, function: Callable[[], Awaitable[Any]], loop: asyncio.AbstractEventLoop, thread_id: int) -> None:
        if not loop.is_running():
            raise SessionLoopError(
                "The event loop of this tool's session has ended; nothing was sent. Make the tools again."
            )
        self._loop = loop
        self._thread_id = thread_id
        self._give_up_at = time.monotonic() + REACH_TIMEOUT
        self._looked = False
        self.begun: concurrent.futures.Future[None] = concurrent.futures.Future()

        async def call() -> Any:
            if not self.begun.set_running_or_notify_cancel():
                return None
            self.begun.set_result(None)
            return await function()

        self.done: concurrent.futures.Future[Any] = asyncio.run_coroutine_threadsafe(call(), loop)

    def may_begin(self) -> bool:
        """Whether to wait until it begins.

        Raises:
            BlockedLoopError: The loop waits for the code that makes the call, or did not get to it in time.
        """
        if self.begun.done() or self.done.done():
            return False
        is_blocked = self._looked and is_waited_for_by(self._thread_id)
        self._looked = True
        if not is_blocked and time.monotonic() < self._give_up_at:
            return True
        if not self.begun.cancel():
            return False
        by = "the synchronous run that waits for this tool" if is_blocked else "something"
        raise BlockedLoopError(
            f"The event loop of this tool's session could not make the call, because {by} blocks it. Nothing was sent. "
            f"{_INSTEAD}"
        )

    def goes_on(self) -> bool:
        if self.done.cancelled() or not (self.done.done() or self._loop.is_running()):
            raise SessionLoopError(
                "The event loop of this tool's session ended during the call, which may have taken effect."
            )
        return not self.done.done()

    def give_up(self) -> None:
        self.begun.cancel()
        self.done.cancel()


def reporting_here(report: Callable[..., Awaitable[None]]) -> ProgressFnT:
    """A listener of progress that is called on the loop that runs here, wherever the progress is reported."""
    here = session_loop_here()

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        await here.run(lambda: report(progress, total, message))

    return on_progress


def forked(process_id: int, server_name: str | None = None) -> SessionTerminatedError:
    """This process is a fork of the one that opened a session."""
    what = "The sessions of this manager were" if server_name is None else f"This session of {server_name!r} was"
    return SessionTerminatedError(
        f"{what} opened by process {process_id}, of which this process, {os.getpid()}, is a fork: it cannot use them.",
        server_name=server_name,
        sent=False,
        hint="Make a manager and open sessions in the process that uses them.",
    )
