"""Runs something on an event loop in another thread, and waits for it here. Light: it needs anyio only over there."""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from anyio import CancelScope, Event
    from anyio.from_thread import BlockingPortal

_T = TypeVar("_T")
_ReportT = TypeVar("_ReportT")

# For telling a server that a call is cancelled, or for ending one that was being started.
_CANCEL_SECONDS = 10.0


def run_there(portal: BlockingPortal, function: Callable[..., Awaitable[_T]], *args: Any) -> _T:
    """Run a function on the portal's event loop and wait for its result.

    An interruption (Ctrl-C, or an exception from a signal handler) cancels it there and waits until that is
    done, for a limited time.
    """
    job = _Job(function, args)
    with job.cancelled_where_this_fails(portal):
        return portal.start_task_soon(job.run).result()


def run_there_reporting(
    portal: BlockingPortal,
    function: Callable[[Callable[[_ReportT], None]], Awaitable[_T]],
    listener: Callable[[_ReportT], object],
) -> _T:
    """As `run_there`, where what the function reports meanwhile goes to a listener, here and in its order.

    Args:
        portal: Of the event loop.
        function: Is given what it reports by.
        listener: What it raises ends the waiting.
    """
    reports: queue.SimpleQueue[tuple[_ReportT] | None] = queue.SimpleQueue()

    def report_here(report: _ReportT) -> None:
        reports.put((report,))

    job = _Job(function, (report_here,))
    with job.cancelled_where_this_fails(portal):
        ended = portal.start_task_soon(job.run)
        ended.add_done_callback(lambda _: reports.put(None))
        while (report := reports.get()) is not None:
            listener(report[0])
        return ended.result()


@contextlib.contextmanager
def held_there(portal: BlockingPortal, context: AbstractAsyncContextManager[_T]) -> Generator[_T]:
    """Enter a context manager on the portal's event loop, and leave it there in the same task."""
    entered: concurrent.futures.Future[tuple[_T, Event]] = concurrent.futures.Future()

    async def hold() -> None:
        from anyio import Event

        async with context as value:
            leaving = Event()
            entered.set_result((value, leaving))
            await leaving.wait()

    job = _Job(hold, ())
    with job.cancelled_where_this_fails(portal):
        ended = portal.start_task_soon(job.run)
        either: list[concurrent.futures.Future[Any]] = [entered, ended]
        concurrent.futures.wait(either, return_when=concurrent.futures.FIRST_COMPLETED)
        if not entered.done():
            ended.result()
        value, leaving = entered.result()
    try:
        yield value
    finally:
        with job.cancelled_where_this_fails(portal):
            portal.start_task_soon(leaving.set)
            ended.result()


class _Job(Generic[_T]):
    """Something that runs on the event loop, and can be cancelled from outside, also before it began."""

    def __init__(self, function: Callable[..., Awaitable[_T]], args: tuple[Any, ...]) -> None:
        self._function = function
        self._args = args
        self._scope: CancelScope | None = None
        self._is_cancelled = False
        self.ended = threading.Event()

    async def run(self) -> _T:
        """Run it."""
        from anyio import CancelScope, get_cancelled_exc_class

        try:
            with CancelScope() as self._scope:
                if not self._is_cancelled:
                    return await self._function(*self._args)
            raise get_cancelled_exc_class()
        finally:
            self.ended.set()

    @contextlib.contextmanager
    def cancelled_where_this_fails(self, portal: BlockingPortal) -> Generator[None]:
        """Cancel it where the block raises, and wait for its end."""
        try:
            yield
        except BaseException:
            if not self.ended.is_set():
                # Wherever it came up in the block, the job may be running; or the portal is closed.
                with contextlib.suppress(RuntimeError):
                    portal.start_task_soon(self.cancel)
                    self.ended.wait(_CANCEL_SECONDS)
            raise

    def cancel(self) -> None:
        """Cancel it; on the event loop."""
        self._is_cancelled = True
        if self._scope is None:
            self.ended.set()
        else:
            self._scope.cancel()
