"""`ManagerInside`: what Jackfield's own layers need of a manager, beyond what programs use."""

# It is a part of the manager.
# pyright: reportPrivateUsage=false
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..events import ServerSkipped
from ..logs import SessionLog
from ..session.owner import SessionOwner
from .catalog_observer import CatalogObserver
from .closing import evict
from .loop_thread import LoopThread
from .registry import SessionRegistry, SessionUser
from .waiting_line import Bounds, SessionSlot

if TYPE_CHECKING:
    from ..transport.report import MessageListener
    from .session_manager import SessionManager


class ManagerInside:
    """What Jackfield's own layers need of a manager: its sessions as the pool has them, and who will return to them.

    Args:
        manager: The manager.
    """

    __slots__ = ("_manager",)

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager

    @property
    def observer(self) -> CatalogObserver:
        """Keeps the catalog up to date."""
        return self._manager._observer

    @property
    def loop_thread(self) -> LoopThread:
        """For sessions that must not live on the caller's event loop, such as those of LangChain's agents."""
        return self._manager._loop_thread

    def bound(self, bounds: Bounds) -> None:
        """Set further bounds on sessions."""
        self._manager._bounds = bounds

    def listen_by(self, listener_of: Callable[[SessionOwner], MessageListener]) -> None:
        """Set what makes the listener to each message of a session, for a recording."""
        self._manager._listener_of = listener_of

    def observe(self, kind: str) -> None:
        """Let `jackfield top` see the sessions from the first one on, as those of a `program` or a `gateway`."""
        self._manager._observe(kind)

    def resolve_all(self, servers: Sequence[str | BaseServerConfig] | None) -> list[BaseServerConfig]:
        """The configurations meant by names or configurations; all of the config for `None`."""
        return self._manager._resolve_all(servers)

    # Its sessions

    def find(self, server_name: str, key: str) -> SessionSlot | None:
        """The owner of a named session that is open or opening."""
        return self._manager._find(server_name, key)

    def slots(self) -> list[SessionSlot]:
        """All sessions that are not wholly closed, as the pool has them."""
        return [slot for registry in self._manager._registries() for slot in registry.slots()]

    def slot(self, session_id: str) -> tuple[SessionRegistry, SessionSlot] | None:
        """A session by its id, and where it is; named or private."""
        found = ((registry, slot) for registry in self._manager._registries() for slot in registry.slots())
        return next((one for one in found if one[1].session_id == session_id), None)

    async def evict(self, among: Sequence[SessionSlot]) -> bool:
        """Close the one of some sessions that is unused for the longest time; whether one of them is unused. What it
        knew is lost, which its next user is told."""
        return self._manager._live_registry is not None and await evict(among)

    def restart_if_quiet(self, server_name: str, key: str, because: str) -> bool:
        """Reopen a named session if no request of it runs; returns whether it did, or there is no such session.

        Args:
            server_name: The server.
            key: The session's key.
            because: Why, for the error that its next user gets to see: "was restarted, since ...".
        """
        owner = self._manager._find(server_name, key)
        if owner is None:
            return True
        if owner.in_flight:
            return False
        owner.renew(because)
        return True

    def server_skipped(self, server_name: str, key: str, error: JackfieldError) -> None:
        """A toolkit or a workbench of this key goes without a server's tools: say so in the log and as an event."""
        SessionLog(server_name).warning("Its tools are omitted: %s", error.message)
        self._manager._events.emit(ServerSkipped(server_name=server_name, key=key, error=error))

    # Workbenches and others that return to their sessions

    def expect(self, user: SessionUser, servers: Sequence[BaseServerConfig], key: str) -> None:
        """`user` will return to these sessions; others do not close them until it leaves."""
        self._manager._expect(user, servers, key)

    def keep_for(self, user: SessionUser) -> None:
        """Keep named sessions between uses for `user`, even if the manager is not entered, until it leaves.

        Raises:
            JackfieldError: The manager is in use on another event loop.
        """
        self._manager._keep_for(user)

    async def leave(self, user: SessionUser) -> None:
        """`user` will not return to its sessions: close those that no one else uses.

        Raises:
            JackfieldError: The manager is in use on another event loop.
        """
        places = user.places.difference(*(other.places for other in self._manager._users if other is not user))
        user.forget()
        registry = self._manager._registry
        if registry is not None and not registry.is_abandoned and not registry.is_of_parent:
            await self._manager._registry_here().close_unneeded(user, places)

    async def end_user(self, user: SessionUser) -> None:
        """`user` is done: as `leave`; sessions kept for the last user are closed, unless the manager is entered.

        Raises:
            JackfieldError: The manager is in use on another event loop.
        """
        await self.leave(user)
        is_last = set(self._manager._keepers) == {user} and self._manager._state == "fresh"
        self._manager._keepers.discard(user)
        if is_last and self._manager._registry is not None and not self._manager._registry.is_of_parent:
            self._manager._registry.keeps_idle = False
            await self._manager.close_idle()
            self._manager._events.close()
