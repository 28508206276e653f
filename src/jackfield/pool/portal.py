"""Runs something on an event loop in another thread, and waits for it here. Light: it needs anyio only over there."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from anyio import CancelScope
    from anyio.from_thread import BlockingPortal

_T = TypeVar("_T")

# For telling a server that a call is cancelled, or for ending one that was being started.
_CANCEL_SECONDS = 10.0


def run_there(portal: BlockingPortal, function: Callable[..., Awaitable[_T]], *args: Any) -> _T:
    """Run a function on the portal's event loop and wait for its result.

    An interruption (Ctrl-C, or an exception from a signal handler) cancels it there and waits until that is
    done, for a limited time.
    """
    job = _Job(function, args)
    try:
        return portal.start_task_soon(job.run).result()
    except BaseException:
        if not job.ended.is_set():
            # Wherever it came up in the lines above, the job may be running; or the portal is closed.
            with contextlib.suppress(RuntimeError):
                portal.start_task_soon(job.cancel)
                job.ended.wait(_CANCEL_SECONDS)
        raise


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

    def cancel(self) -> None:
        """Cancel it; on the event loop."""
        self._is_cancelled = True
        if self._scope is None:
            self.ended.set()
        else:
            self._scope.cancel()
