"""`BlockingManager`: the methods of a manager for code without an event loop; each waits for one that is async."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from ..config.servers import BaseServerConfig
from ..live import Live
from ..session.callbacks import SessionCallbacks
from ..session.hooks import CallHook
from .blocking import BlockingContext, BlockingWays
from .lease import OpenedSessions, SessionGroup, SessionLease

if TYPE_CHECKING:
    from ..session.session import Session
    from .blocking_session import BlockingSession


class BlockingManager(Live):
    """The part of `SessionManager` that blocks."""

    def __init__(self) -> None:
        self._blocking = BlockingWays()
        self._entered_blocking: BlockingContext[Any, None] | None = None

    async def __aenter__(self) -> Self:
        raise NotImplementedError

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        raise NotImplementedError

    def open_session(
        self,
        server: str | BaseServerConfig,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> SessionLease:
        """See `SessionManager`, as for the others that are not blocking."""
        raise NotImplementedError

    def open_sessions(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> SessionGroup:
        """Open several."""
        raise NotImplementedError

    async def close_idle(self) -> int:
        """Close all that are idle."""
        raise NotImplementedError

    async def close_session(self, server_name: str, key: str) -> bool:
        """Close one."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        entered = self._blocking.context(self, lambda _, __: None)
        entered.__enter__()
        self._entered_blocking = entered
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._entered_blocking is not None:
            entered, self._entered_blocking = self._entered_blocking, None
            entered.__exit__(exc_type, exc, traceback)

    def open_session_sync(
        self,
        server: str | BaseServerConfig,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> BlockingContext[Session, BlockingSession]:
        """As `open_session`, for `with` instead of `async with`: the methods of the session wait for their results.

        The session lives on an event loop in another thread, which all blocks of this manager share and which ends with
        the last of them. It can be used where an event loop runs, too, such as in a notebook; the call blocks it.
        """
        from .blocking_session import BlockingSession

        lease = self.open_session(server, key=key, callbacks=callbacks, hooks=hooks, acquire_timeout=acquire_timeout)
        return self._blocking.context(lease, BlockingSession)

    def open_sessions_sync(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> BlockingContext[OpenedSessions[Session], OpenedSessions[BlockingSession]]:
        """As `open_sessions`, for `with` instead of `async with`."""
        from .blocking_session import BlockingSession

        group = self.open_sessions(servers, key=key, callbacks=callbacks, hooks=hooks, acquire_timeout=acquire_timeout)
        return self._blocking.context(
            group, lambda opened, loop: opened.mapped(lambda session: BlockingSession(session, loop))
        )

    def close_idle_sync(self) -> int:
        """As `close_idle`; waits for it."""
        return self._blocking.run(self.close_idle)

    def close_session_sync(self, server_name: str, key: str) -> bool:
        """As `close_session`; waits for it."""
        return self._blocking.run(lambda: self.close_session(server_name, key))
