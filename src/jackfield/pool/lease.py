"""`SessionLease`: what `open_session()` returns; entered, it is a session."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar

from ..errors import SessionTimeoutError
from ..session.detached import current_task
from ..session.home import wait_uncancelled
from ..session.lifecycle import Cause
from ..session.owner import SessionOwner

if TYPE_CHECKING:
    from ..session.deadlines import Deadline
    from ..session.hooks import CallHook
    from ..session.session import Session
    from .loop_thread import LoopUse
    from .registry import SessionRegistry
    from .users import SessionUser


@asynccontextmanager
async def open_by(lease: SessionLease, deadline: Deadline, server_name: str) -> AsyncGenerator[Session]:
    """Enter a lease for one request, whose deadline opening the session counts for, and leave it.

    Args:
        lease: Not entered yet.
        deadline: Of the request.
        server_name: The server, for the error.

    Raises:
        SessionTimeoutError: The session was not open in time; nothing was sent.
        JackfieldError: As on entering the lease.
    """
    session = None
    with deadline.scope():
        session = await lease.__aenter__()
    if session is None:
        raise SessionTimeoutError(
            f"Server {server_name!r} was not open within {deadline.seconds:.3g} s; the call was not made.",
            server_name=server_name,
            seconds=deadline.seconds,
            sent=False,
            retryable=True,
            hint="Raise call_timeout, or open the session before the call.",
        )
    try:
        yield session
    finally:
        await lease.__aexit__(None, None, None)


class SessionLease:
    """An async context manager that may be entered in one task and left in another.

    Entering opens the session, or shares it; leaving gives it back. Use each lease once.
    """

    session_type: ClassVar[type[Session] | None] = None
    """The session class, if it is not `Session` itself."""

    def __init__(
        self,
        acquire: Callable[[SessionLease], Awaitable[tuple[SessionRegistry, SessionOwner]]],
        hooks: Sequence[CallHook] = (),
        acquire_apart: Callable[[], Awaitable[tuple[LoopUse, SessionRegistry, SessionOwner]]] | None = None,
    ) -> None:
        self._acquire = acquire
        self._acquire_apart = acquire_apart
        self._apart: LoopUse | None = None
        self._hooks = hooks
        self._held: tuple[SessionRegistry, SessionOwner, Session] | None = None
        self.holder: object = None
        """The holder, if it is not the entering task; used for deadlock detection."""
        self.user: SessionUser | None = None
        """Who comes back to the session after this lease, if anybody does."""

    def known_holder(self) -> object:
        """Who enters it."""
        self.holder = self.holder or current_task()
        return self.holder

    async def __aenter__(self) -> Session:
        if self._held is not None:
            raise RuntimeError("This lease is in use; call open_session() once for each `async with`.")
        registry, owner = await self._acquire(self)
        from ..session.session import Session

        session = (self.session_type or Session)(owner, registry.became_idle, self._hooks)
        if self._acquire_apart is not None:
            session.move = self._move
        if self.user is not None:
            self.user.enter(session, owner)
        self._held = registry, owner, session
        return session

    async def _move(self) -> Session:
        """Reopen the session on a separate loop; the one on the lease's loop is closed when that loop is free."""
        from ..session.session import Session
        from .registry import close_all

        assert self._acquire_apart
        assert self._held
        _, here, _ = self._held
        self._apart, registry, owner = await self._acquire_apart()
        if here.home is not None:
            here.home.begin(lambda: close_all([here], Cause.RELEASED))
        return Session(owner, registry.became_idle)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held is not None:
            (registry, owner, session), self._held = self._held, None
            if self.user is not None and registry.keeps_idle:
                self.user.leave(session, owner)
            session.release()
            await registry.release(owner, self.holder, self.user)
        if self._apart is not None:
            use, self._apart = self._apart, None
            await wait_uncancelled(use.leave())
