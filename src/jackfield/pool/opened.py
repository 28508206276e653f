"""Opens several servers concurrently."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import TYPE_CHECKING

import anyio

from ..errors import JackfieldError, UnknownServerError, did_you_mean
from ..session.detached import current_task

if TYPE_CHECKING:
    from ..session.session import Session
    from .lease import SessionLease
    from .users import SessionUser


class OpenedSessions(Mapping[str, "Session"]):
    """The sessions that opened, by server name; `errors` says which did not, and why."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self.errors: dict[str, JackfieldError] = {}

    def __getitem__(self, server_name: str) -> Session:
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
                f"{server_name!r} was not opened here.", server_name=server_name, hint=hint
            ) from None

    def __contains__(self, server_name: object) -> bool:
        return server_name in self._sessions

    def __iter__(self) -> Iterator[str]:
        return iter(self._sessions)

    def __len__(self) -> int:
        return len(self._sessions)

    def __repr__(self) -> str:
        return f"<OpenedSessions {list(self._sessions)} failed={list(self.errors)}>"

    def add(self, server_name: str, session: Session) -> None:
        """Add a session that was opened."""
        self._sessions[server_name] = session


class SessionGroup:
    """What `open_sessions()` returns: leases that are entered side by side and left together."""

    def __init__(self, leases: Mapping[str, SessionLease]) -> None:
        self._leases = leases

    def used_by(self, user: SessionUser | None) -> SessionGroup:
        """The same, for a recurring user of the sessions."""
        for lease in self._leases.values():
            lease.user = user
        return self

    async def __aenter__(self) -> OpenedSessions:
        opened = OpenedSessions()

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
        except BaseException:
            await self._leave()
            raise
        return opened

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._leave()

    async def _leave(self) -> None:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for lease in self._leases.values():
                    tasks.start_soon(lease.__aexit__, None, None, None)
