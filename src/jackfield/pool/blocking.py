"""Sessions for code without an event loop: they live on one in another thread, and each call waits for its result.

`BlockingSession` is generated from `Session`; here is what its methods stand on.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import weakref
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from anyio.from_thread import BlockingPortal, BlockingPortalProvider

from ..errors import SessionTerminatedError
from ..session.session_loop import BlockedLoopError, forked
from .portal import held_there, run_there, run_there_reporting

if TYPE_CHECKING:
    from mcp.shared.dispatcher import ProgressFnT

    from ..session.session import Session

_T = TypeVar("_T")
_Progress = tuple[float, float | None, str | None]
_TwinT = TypeVar("_TwinT")

logger: logging.Logger = logging.getLogger("jackfield")

# For closing what is open as the interpreter exits. Servers have `close_timeout` (5 s) for it, and are killed then.
_EXIT_SECONDS = 15.0

ProgressListener = Callable[[float, float | None, str | None], Awaitable[None] | None]
"""Called with `(progress, total, message)` in the thread that waits for the call, so that it may block."""


class BlockingLoop:
    """The event loop in another thread on which blocking calls are made.

    Args:
        portal: Reaches it.
        thread_id: The thread that it runs in.
    """

    def __init__(self, portal: BlockingPortal, thread_id: int) -> None:
        self._portal = portal
        self._thread_id = thread_id
        self._process_id = os.getpid()
        self.is_left: bool = False
        """Whether the block that it was entered for has ended."""

    def call(self, function: Callable[[], Awaitable[_T]], server_name: str | None = None) -> _T:
        """Run a function there and wait for its result; an interrupt of the wait, such as Ctrl-C, cancels it there.

        Raises:
            BlockedLoopError: This is called on that very loop.
            SessionTerminatedError: Its block has been left, or this process is a fork.
        """
        self._check(server_name)

        async def call() -> _T:
            return await function()

        return run_there(self._portal, call)

    def call_reporting(
        self,
        function: Callable[[ProgressFnT], Awaitable[_T]],
        listener: ProgressListener,
        server_name: str | None = None,
    ) -> _T:
        """As `call`, with a listener for the progress; what the listener raises goes no further than the log."""
        self._check(server_name)

        async def call(report: Callable[[_Progress], None]) -> _T:
            async def on_progress(progress: float, total: float | None, message: str | None) -> None:
                report((progress, total, message))

            return await function(on_progress)

        def tell(progress: _Progress) -> None:
            try:
                answer = listener(*progress)
                if answer is not None:
                    self.call(lambda: answer, server_name)
            except Exception:
                logger.exception("[MCP] The progress callback failed")

        return run_there_reporting(self._portal, call, tell)

    @contextmanager
    def held(self, context: AbstractAsyncContextManager[_T], server_name: str | None = None) -> Generator[_T]:
        """Enter and leave a context manager there.

        Raises:
            BlockedLoopError: This is called on that very loop.
            SessionTerminatedError: Its block has been left, or this process is a fork.
        """
        self._check(server_name)
        with held_there(self._portal, context) as value:
            yield value

    def _check(self, server_name: str | None) -> None:
        if os.getpid() != self._process_id:
            # The thread that would make the call is not in this process.
            raise forked(self._process_id, server_name)
        if threading.get_ident() == self._thread_id:
            raise BlockedLoopError(
                "A blocking session was called on the event loop that serves it, which would wait forever. Nothing "
                "was sent. In an async callback, await the methods of `session.session` instead."
            )
        if self.is_left:
            raise SessionTerminatedError(
                "The `with` block of this session has exited; nothing was sent.",
                server_name=server_name,
                sent=False,
                hint="Use a session inside its `with` block.",
            )


class BlockingCalls:
    """How a blocking session makes its calls."""

    def __init__(self, session: Session, loop: BlockingLoop) -> None:
        self._session = session
        self._loop = loop

    def __repr__(self) -> str:
        return f"<Blocking{repr(self._session)[1:]}"

    @property
    def session(self) -> Session:
        """The session itself, for async callbacks that run on its event loop."""
        return self._session

    def _call(self, function: Callable[[], Awaitable[_T]]) -> _T:
        return self._loop.call(function, self._session.server_name)

    def _call_reporting(
        self, listener: ProgressListener | None, function: Callable[[ProgressFnT | None], Awaitable[_T]]
    ) -> _T:
        if listener is None:
            return self._call(lambda: function(None))
        return self._loop.call_reporting(function, listener, self._session.server_name)

    @contextmanager
    def _iterate(self, context: AbstractAsyncContextManager[AsyncIterator[_T]]) -> Generator[Iterator[_T]]:
        with self._loop.held(context, self._session.server_name) as values:
            yield self._each(values)

    def _each(self, values: AsyncIterator[_T]) -> Iterator[_T]:
        async def next_value() -> tuple[_T] | None:
            try:
                return (await anext(values),)
            except StopAsyncIteration:
                return None

        while (value := self._call(next_value)) is not None:
            yield value[0]


class BlockingContext(Generic[_T, _TwinT]):
    """An async context manager for `with`: it is entered and left on an event loop in another thread.

    Blocks that share their `portals` share one loop and its thread, which end with the last of them.

    Args:
        context: The async context manager.
        portals: Start the thread.
        twin: Makes what the block gets of what the context manager gives.
    """

    def __init__(
        self,
        context: AbstractAsyncContextManager[_T, Any],
        portals: BlockingPortalProvider,
        twin: Callable[[_T, BlockingLoop], _TwinT],
    ) -> None:
        self._context = context
        self._portals = portals
        self._twin = twin
        self._stack = ExitStack()
        self._portal: BlockingPortal | None = None
        self._process_id = 0
        self._is_entered = False

    if not TYPE_CHECKING:  # a type checker says itself that this is not what the block gets

        def __getattr__(self, name: str) -> object:
            if name.startswith("_"):
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)
            raise AttributeError(
                f"A blocking lease has no {name!r}; enter it to get the session: `with manager.open_session_sync(...) "
                "as session:`.",
                name=name,
                obj=self,
            )

    def __enter__(self) -> _TwinT:
        with ExitStack() as stack:
            portal = stack.enter_context(self._portals)
            # Before it is entered: Ctrl-C may come right after.
            stack.callback(portal.call, self._leave)
            value, thread_id = run_there(portal, self._enter)
            loop = BlockingLoop(portal, thread_id)
            stack.callback(setattr, loop, "is_left", True)
            self._process_id = os.getpid()
            self._stack = stack.pop_all()
        self._portal = portal
        _keep_in_forks()
        _leave_at_exit()
        _entered.add(self)
        return self._twin(value, loop)

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if os.getpid() == self._process_id:  # otherwise the thread and the session are the parent's
            self._stack.close()

    def leave_at_exit(self) -> None:
        """Leave it as the interpreter exits, if it was not left before."""
        if os.getpid() != self._process_id or self._portal is None:
            return
        try:
            self._portal.start_task_soon(self._leave).result(_EXIT_SECONDS)
        except Exception:
            # Its end would wait for the loop, without end.
            _keep_for_ever(self)
        else:
            self._stack.close()

    async def _enter(self) -> tuple[_T, int]:
        value = await self._context.__aenter__()
        self._is_entered = True
        return value, threading.get_ident()

    async def _leave(self) -> None:
        if self._is_entered:
            self._is_entered = False
            await self._context.__aexit__(None, None, None)


class BlockingWays:
    """How a manager is used by code without an event loop: all its blocks share one loop in another thread."""

    def __init__(self) -> None:
        self._portals = BlockingPortalProvider()
        self._process_id = os.getpid()

    def context(
        self, context: AbstractAsyncContextManager[_T, Any], twin: Callable[[_T, BlockingLoop], _TwinT]
    ) -> BlockingContext[_T, _TwinT]:
        """The async context manager for `with`; see `BlockingContext`."""
        return BlockingContext(context, self._portals_here(), twin)

    def run(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run a function on the loop; outside of all blocks on one that ends with it."""
        with self._portals_here() as portal:
            return run_there(portal, function)

    def _portals_here(self) -> BlockingPortalProvider:
        if self._process_id != os.getpid():
            # The thread of another process does not run in this one.
            self.__init__()
        return self._portals


_entered: WeakSet[BlockingContext[Any, Any]] = WeakSet()


@cache
def _keep_in_forks() -> None:
    """Let no fork drop a context, not even at its end: anyio's portal would wait for its thread, which it lacks."""
    if not hasattr(os, "register_at_fork"):
        return  # Windows has no forks.

    def keep() -> None:
        for context in _entered:
            _keep_for_ever(context)

    os.register_at_fork(after_in_child=keep)


@cache
def _leave_at_exit() -> None:
    """Leave at the interpreter's exit what nobody has left: later, anyio's portal would wait for a thread that stands
    still by then, for ever."""

    def leave() -> None:
        for context in list(_entered):
            context.leave_at_exit()

    # What is registered last is run first: before the finalizers that kill forgotten processes, which weakref registers
    # with the first of all finalizers. Otherwise the sessions would take them for lost and start them again.
    weakref.finalize(BlockingContext, lambda: None)
    atexit.register(leave)


def _keep_for_ever(context: BlockingContext[Any, Any]) -> None:
    import ctypes

    ctypes.pythonapi.Py_IncRef(ctypes.py_object(context))
