"""`SessionLease`, which `open_session()` returns: entered, it is a session. `SessionGroup` is for several at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, ClassVar, TypeVar

import anyio

from ..errors import JackfieldError, PoolTimeoutError, SessionTimeoutError, UnknownServerError, root_cause
from ..loops import current_task
from ..names import did_you_mean
from ..session.lifecycle import Cause
from ..session.owner import SessionOwner
from ..session.session_loop import wait_uncancelled
from ..session.user_code import ends_caller
from .closing import close_all
from .registry import Place, SessionRegistry, SessionUser, place_of

if TYPE_CHECKING:
    from ..loops import Deadline
    from ..session.hooks import CallHook
    from ..session.session import Session
    from .loop_thread import LoopUse


_ENTER_IT = "enter it to get the session: `async with manager.open_session(...) as session:`."

_SessionT = TypeVar("_SessionT")
_OtherT = TypeVar("_OtherT")


class open_by:  # noqa: N801 - it reads as a function, and a generator's context manager costs each call more
    """Enter a lease for one request, whose deadline opening the session counts for, and leave it.

    Args:
        lease: Not entered yet.
        deadline: Of the request.
        server_name: The server, for the error.

    Raises:
        PoolTimeoutError: There was no room in time; nothing was sent.
        SessionTimeoutError: The session was not open in time; nothing was sent.
        JackfieldError: As on entering the lease.
    """

    __slots__: tuple[str, ...] = ("_deadline", "_lease", "_server_name")

    def __init__(self, lease: SessionLease, deadline: Deadline, server_name: str) -> None:
        lease.deadline = deadline
        self._lease = lease
        self._deadline = deadline
        self._server_name = server_name

    async def __aenter__(self) -> Session:
        deadline = self._deadline
        try:
            return await self._lease.__aenter__()
        except SessionTimeoutError as error:
            if not deadline.has_passed:
                raise
            if isinstance(error, PoolTimeoutError):
                raise error.told(hint="Close sessions earlier, or raise call_timeout or max_sessions.") from None
            raise error.told(
                message=f"Server {self._server_name!r} was not open within {deadline.seconds:.3g} s; the call was not "
                "made.",
                hint="Raise call_timeout, or open the session before the call.",
            ) from None

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._lease.__aexit__(None, None, None)


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
        self.place: Place | None = None
        """Where its user finds the session again, once the lease was entered."""
        self.holder: object = None
        """The holder, if it is not the entering task; used for deadlock detection."""
        self.user: SessionUser | None = None
        """Who comes back to the session after this lease, if anybody does."""
        self.deadline: Deadline | None = None
        """Of the request that it is entered for, where that comes before the end of `acquire_timeout`."""

    if not TYPE_CHECKING:  # a type checker says itself that a lease is not a session

        def __getattr__(self, name: str) -> object:
            from ..session.session import Session

            if hasattr(Session, name) and not name.startswith("_"):
                raise AttributeError(f"A lease has no {name!r}: {_ENTER_IT}", name=name, obj=self)
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}", name=name, obj=self)

        def __await__(self) -> object:
            raise TypeError(f"A lease cannot be awaited: {_ENTER_IT}")

        def __enter__(self) -> object:
            raise TypeError(f"A lease needs `async with`: {_ENTER_IT} In blocking code: open_session_sync().")

        def __exit__(self, *exc: object) -> None: ...

    def known_holder(self) -> object:
        """Who enters it."""
        self.holder = self.holder or current_task()
        return self.holder

    async def __aenter__(self) -> Session:
        if self._held is not None:
            raise RuntimeError("This lease is in use; call open_session() once for each `async with`.")
        registry, owner = await self._acquire(self)
        from ..session.session import Session, caller_of

        move = None if self._acquire_apart is None else self._move
        session = (self.session_type or Session)(owner, self._hooks, move)
        self._held = registry, owner, session
        if self.user is not None:
            self.user.enter(caller_of(session))
            if self.session_type is None:  # a class of its own makes the calls in its own way
                self.place = Place(registry, place_of(owner), self.user, self._hooks)
        return session

    async def _move(self) -> Session:
        """Reopen the session on a separate loop; the one on the lease's loop is closed when that loop is free."""
        from ..session.session import Session

        assert self._acquire_apart
        assert self._held
        _, here, _ = self._held
        self._apart, _, owner = await self._acquire_apart()
        if here.session_loop is not None:
            here.session_loop.begin(lambda: close_all([here], Cause.RELEASED))
        return Session(owner)

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._held is not None:
            from ..session.session import caller_of

            (registry, owner, session), self._held = self._held, None
            await registry.end_lease(owner, self.holder, self.user, caller_of(session))
        if self._apart is not None:
            use, self._apart = self._apart, None
            await wait_uncancelled(use.leave())


class OpenedSessions(Mapping[str, _SessionT]):
    """The sessions that opened, by server name; `errors` says which did not, and why."""

    def __init__(self) -> None:
        self._sessions: dict[str, _SessionT] = {}
        self.errors: dict[str, JackfieldError] = {}

    def __getitem__(self, server_name: str) -> _SessionT:
        """The session of that server.

        Raises:
            JackfieldError: Why it did not open.
            UnknownServerError: It was not asked for.
        """
        if server_name in self.errors:
            raise self.errors[server_name].told()
        try:
            return self._sessions[server_name]
        except KeyError:
            hint = did_you_mean(server_name, self._sessions, "server")
            raise UnknownServerError(
                f"{server_name!r} is not one of the servers opened here.", server_name=server_name, hint=hint
            ) from None

    def __contains__(self, server_name: object) -> bool:
        return server_name in self._sessions

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def __repr__(self) -> str:
        return f"<OpenedSessions {list(self._sessions)} failed={list(self.errors)}>"

    def add(self, server_name: str, session: _SessionT) -> None:
        """Add a session that was opened."""
        self._sessions[server_name] = session

    def mapped(self, function: Callable[[_SessionT], _OtherT]) -> OpenedSessions[_OtherT]:
        """The same, with what the function makes of each session."""
        mapped: OpenedSessions[_OtherT] = OpenedSessions()
        mapped._sessions = {name: function(session) for name, session in self._sessions.items()}
        mapped.errors = self.errors
        return mapped


class SessionGroup:
    """What `open_sessions()` returns: leases that are entered side by side and left together.

    Args:
        leases: By server name.
        before: Called on entering; what it raises is raised instead of opening anything.
    """

    def __init__(self, leases: Mapping[str, SessionLease], before: Callable[[], None]) -> None:
        self._leases = leases
        self._before = before
        self._is_entered = False

    def used_by(self, user: SessionUser | None) -> SessionGroup:
        """The same, for a recurring user of the sessions."""
        for lease in self._leases.values():
            lease.user = user
        return self

    async def __aenter__(self) -> OpenedSessions[Session]:
        if self._is_entered:
            raise RuntimeError("These sessions are in use; call open_sessions() once for each `async with`.")
        self._before()
        self._is_entered = True
        opened: OpenedSessions[Session] = OpenedSessions()
        holder = current_task()

        async def enter(server_name: str, lease: SessionLease) -> None:
            lease.holder = holder
            try:
                opened.add(server_name, await lease.__aenter__())
            except JackfieldError as error:
                opened.errors[server_name] = error

        try:
            async with anyio.create_task_group() as tasks:
                for server_name, lease in self._leases.items():
                    tasks.start_soon(enter, server_name, lease)
        except BaseException as error:
            await self._leave()
            raise (error if ends_caller(error) else root_cause(error)) from None
        return opened

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        self._is_entered = False
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for lease in self._leases.values():
                    tasks.start_soon(lease.__aexit__, None, None, None)
