"""The programs that use a gateway. Each has sessions of its own, which end with it."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio.abc import TaskGroup

from ..config.servers import BaseServerConfig
from ..errors import SessionExpiredError
from ..pool.session_manager import SessionManager
from ..routing.tool_router import ToolRouter

if TYPE_CHECKING:
    from mcp.server.session import ServerSession

KEEP = "new"
"""What a client without a session gives to have one kept."""


class Client:
    """One program, and whose sessions it uses.

    Args:
        router: Makes its calls; the router's key is that of its sessions.
    """

    def __init__(self, router: ToolRouter) -> None:
        self.router = router
        self.session: ServerSession | None = None
        """Of its last request; notifications go out by it."""
        self.in_use = 0
        """Requests of it under way, where it has no session."""

    @property
    def key(self) -> str:
        """Of its sessions with servers."""
        return self.router.key


class Clients:
    """All programs that use a gateway now.

    Args:
        manager: Opens and closes the sessions.
        configs: The servers.
        tasks: Closes sessions while others go on.
    """

    def __init__(self, manager: SessionManager, configs: Sequence[BaseServerConfig], tasks: TaskGroup) -> None:
        self._manager = manager
        self._configs = configs
        self._tasks = tasks
        self._clients: dict[str, Client] = {}
        self._kept: dict[str, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def of_session(self, session_id: str) -> Client:
        """The client of a connection, or of a session over HTTP."""
        client = self._clients.get(session_id)
        if client is None:
            client = self._clients[session_id] = self._new()
        return client

    @asynccontextmanager
    async def without_session(self, handle: str | None) -> AsyncGenerator[tuple[Client, str | None]]:
        """The client of a request that belongs to no session; gives the handle that keeps its state, too.

        Args:
            handle: `new` to keep the sessions it opens, a handle to use those that were kept, or nothing:
                then they end with the request.

        Raises:
            SessionExpiredError: Nothing is kept by this handle (any more).
        """
        if handle is None:
            client = self._new()
            try:
                yield client, None
            finally:
                self._close(client)
            return
        if handle == KEEP:
            self._prune()
            handle = secrets.token_hex(8)
            client = self._kept[handle] = self._new()
        elif handle in self._kept and self._has_sessions(self._kept[handle]):
            client = self._kept[handle]
        else:
            raise SessionExpiredError(
                "This session does not exist or no longer exists.",
                sent=False,
                state_lost=True,
                hint=f'Give session="{KEEP}" to begin another.',
            )
        client.in_use += 1
        try:
            yield client, handle
        finally:
            client.in_use -= 1

    def end(self, session_id: str) -> None:
        """A client is gone: close its sessions."""
        client = self._clients.pop(session_id, None)
        if client is not None:
            self._close(client)

    def _new(self) -> Client:
        return Client(
            ToolRouter(
                self._manager,
                self._configs,
                mode="search",
                key=f"client-{uuid.uuid4().hex[:8]}",
                max_result_chars=_NO_LIMIT,
            )
        )

    def _sessions(self, client: Client) -> list[str]:
        """The servers it has sessions with."""
        names = [config.server_name for config in self._configs]
        return [name for name in names if self._manager.find(name, client.key) is not None]

    def _has_sessions(self, client: Client) -> bool:
        return client.in_use > 0 or bool(self._sessions(client))

    def _prune(self) -> None:
        self._kept = {handle: client for handle, client in self._kept.items() if self._has_sessions(client)}

    def _close(self, client: Client) -> None:
        for name in self._sessions(client):
            self._tasks.start_soon(self._manager.close_session, name, client.key)


# A host program is told everything; what its model is shown, it decides.
_NO_LIMIT = 1 << 62
