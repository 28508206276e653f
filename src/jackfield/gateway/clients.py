"""The programs that use a gateway. Each has sessions of its own with the servers, which end with it."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, cast

from anyio.abc import TaskGroup
from mcp.shared.message import ServerMessageMetadata

from ..config.servers import BaseServerConfig
from ..errors import SessionExpiredError
from ..pool.lease import open_by
from ..pool.session_manager import SessionManager
from ..pool.users import SessionUser
from ..routing.tool_router import ToolRouter
from ..serving.inbound import SESSION_HEADER, principal_of
from .eras import is_modern
from .messages import Context, RawResult, server_notification, server_request

if TYPE_CHECKING:
    from ..serving import Principal
    from ..session.callbacks import SessionCallbacks
    from ..session.deadlines import Deadline
    from ..session.session import Session

KEEP = "new"
"""What a client without a session gives to have one kept."""

_STDIO = "stdio"


class Client:
    """One program: a connection, a session over HTTP, or a single request where there are no sessions.

    Args:
        key: Of its sessions with servers.
        principal: Whose token it has, if tokens are checked.
    """

    def __init__(self, key: str, principal: Principal | None) -> None:
        self.key = key
        self.principal = principal
        self.user: SessionUser = SessionUser()
        self.capabilities: Mapping[str, Any] = {}
        """What it can do, as it said so last."""
        self._capabilities: object = None
        self.info: Mapping[str, Any] = {}
        """Its name and version."""
        self.protocol_version: str = ""
        self.context: Context | None = None
        """Of its last request: what belongs to no request goes out by it."""
        self.under_way: dict[str, list[Context]] = {}
        """Its requests that servers are working on, by server."""
        self.router: ToolRouter | None = None
        """Finds tools for it, once it asked for some."""
        self.in_use = 0
        """Requests of it under way, where it has no session."""

    def seen(self, context: Context) -> None:
        """It sent a message."""
        self.context = context
        self.protocol_version = context.protocol_version
        capabilities, about = context.session.client_capabilities, context.session.client_params
        if capabilities is not None and capabilities is not self._capabilities:
            self._capabilities = capabilities
            self.capabilities = capabilities.model_dump(by_alias=True, mode="json", exclude_unset=True)
            if about is not None:
                self.info = about.client_info.model_dump(by_alias=True, mode="json", exclude_unset=True)

    @contextmanager
    def requesting(self, server_name: str, context: Context) -> Generator[None]:
        """A request of it is with a server."""
        self.under_way.setdefault(server_name, []).append(context)
        try:
            yield
        finally:
            contexts = self.under_way[server_name]
            contexts.remove(context)
            if not contexts:
                del self.under_way[server_name]

    def related(self, server_name: str) -> Context | None:
        """The request of it that a server's message most probably is about."""
        contexts = self.under_way.get(server_name)
        return contexts[-1] if contexts else None

    async def ask(
        self, method: str, params: Mapping[str, Any] | None, related: Context | None = None
    ) -> dict[str, Any]:
        """Send it a request, and wait for the result. Limit the time from outside.

        Args:
            method: Of the request.
            params: Of the request.
            related: The request of the client that this one is about, on whose stream it goes.

        Raises:
            MCPError: It answered with an error, or cannot be asked.
        """
        session = self._session(related)
        metadata = None if related is None else ServerMessageMetadata(related_request_id=related.request_id)
        request, result_type = server_request(method, params), cast("Any", RawResult)
        return await session.send_request(request, result_type, metadata=metadata)

    async def notify(self, method: str, params: Mapping[str, Any] | None, related: Context | None = None) -> None:
        """Send it a notification; as `ask`. Nothing happens where there is no way to it."""
        if related is not None or self.context is not None:
            related_id = None if related is None else related.request_id
            await self._session(related).send_notification(server_notification(method, params), related_id)

    def _session(self, related: Context | None) -> Any:
        context = related or self.context
        assert context is not None, "nothing came from this client yet"
        return context.session


class Clients:
    """All programs that use a gateway now.

    Args:
        manager: Opens and closes the sessions.
        configs: The servers.
        tasks: Closes sessions while others go on.
        callbacks: Makes the callbacks of a client's session with a server.
        on_ended: Called with each client that is gone.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        tasks: TaskGroup,
        callbacks: Callable[[Client, BaseServerConfig], SessionCallbacks],
        on_ended: Callable[[Client], None] = lambda client: None,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._tasks = tasks
        self._callbacks = callbacks
        self._on_ended = on_ended
        self._clients: dict[str, Client] = {}
        self._kept: dict[str, Client] = {}

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    @asynccontextmanager
    async def client(self, context: Context, handle: str | None = None) -> AsyncGenerator[tuple[Client, str | None]]:
        """The client that a message comes from, while it is handled; gives the handle that keeps its state, too.

        Args:
            context: Of the message.
            handle: For a request that belongs to no session: `new` to keep the sessions it opens, or a handle to use
                those that were kept. They end with the request if omitted.

        Raises:
            SessionExpiredError: Nothing is kept by this handle (any more).
        """
        if not is_sessionless(context):
            yield self.of_session(context), None
            return
        async with self._without_session(context, handle) as found:
            yield found

    def of_session(self, context: Context) -> Client:
        """The client of a connection, or of a session over HTTP."""
        request = context.request
        session_id = _STDIO if request is None else request.headers[SESSION_HEADER]
        client = self._clients.get(session_id)
        if client is None:
            client = self._clients[session_id] = self._new(context)
        client.seen(context)
        return client

    @asynccontextmanager
    async def _without_session(self, context: Context, handle: str | None) -> AsyncGenerator[tuple[Client, str | None]]:
        if handle is None:
            client = self._new(context)
            client.seen(context)
            try:
                yield client, None
            finally:
                self._close(client)
            return
        if handle == KEEP:
            self._prune()
            handle = secrets.token_hex(8)
            client = self._kept[handle] = self._new(context)
        else:
            client = self._kept_by(handle, context)
        client.seen(context)
        client.in_use += 1
        try:
            yield client, handle
        finally:
            client.in_use -= 1

    def _kept_by(self, handle: str, context: Context) -> Client:
        client = self._kept.get(handle)
        if client is None or client.principal != _principal(context) or not self._has_sessions(client):
            raise SessionExpiredError(
                "This session does not exist or no longer exists.",
                sent=False,
                state_lost=True,
                hint=f'Give session="{KEEP}" to begin another.',
            )
        return client

    def end(self, session_id: str) -> None:
        """A client is gone: close its sessions."""
        client = self._clients.pop(session_id, None)
        if client is not None:
            self._close(client)

    # Its sessions with servers

    @asynccontextmanager
    async def upstream(self, client: Client, config: BaseServerConfig, deadline: Deadline) -> AsyncGenerator[Session]:
        """The client's session with a server, opened if necessary, for one request.

        Raises:
            JackfieldError: It was not open in time, or cannot be opened; nothing was sent.
        """
        lease = self._manager.open_session(config, key=client.key, callbacks=self._callbacks(client, config))
        lease.user = client.user
        async with open_by(lease, deadline, config.server_name) as session:
            yield session

    def router(self, client: Client) -> ToolRouter:
        """Reaches all tools by the client's sessions."""
        if client.router is None:
            client.router = ToolRouter(
                self._manager,
                self._configs,
                mode="search",
                key=client.key,
                max_result_chars=_NO_LIMIT,
                callbacks=lambda config: self._callbacks(client, config),
            ).used_by(client.user, client.key)
        return client.router

    def _new(self, context: Context) -> Client:
        return Client(f"client-{uuid.uuid4().hex[:8]}", _principal(context))

    def _sessions(self, client: Client) -> list[str]:
        """The servers it has sessions with."""
        names = [config.server_name for config in self._configs]
        return [name for name in names if self._manager.find(name, client.key) is not None]

    def _has_sessions(self, client: Client) -> bool:
        return client.in_use > 0 or bool(self._sessions(client))

    def _prune(self) -> None:
        self._kept = {handle: client for handle, client in self._kept.items() if self._has_sessions(client)}

    def _close(self, client: Client) -> None:
        client.user.forget()
        self._on_ended(client)
        for name in self._sessions(client):
            self._tasks.start_soon(self._manager.close_session, name, client.key)


def is_sessionless(context: Context) -> bool:
    """Whether a message belongs to no session: over HTTP, the protocol of 2026-07-28 has none."""
    return context.request is not None and is_modern(context.protocol_version)


def _principal(context: Context) -> Principal | None:
    return None if context.request is None else principal_of(context.request.scope)


# A host program is told everything; what its model is shown, it decides.
_NO_LIMIT = 1 << 62
