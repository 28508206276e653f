"""The programs that use a gateway. Each has sessions of its own with the servers, which end with it."""

from __future__ import annotations

import re
import secrets
import uuid
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any

from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.types import INVALID_REQUEST, LOG_LEVEL_META_KEY

from ..catalog.entry import KINDS, Kind
from ..catalog.overlay import OverlaidCatalog, OwnListings
from ..catalog.store import Catalog, Offers
from ..config.servers import BaseServerConfig, HttpConfig, StdioConfig
from ..errors import SessionExpiredError, UnknownServerError
from ..loops import Deadline
from ..plain import as_table
from ..pool.lease import open_by
from ..pool.session_manager import SessionManager
from ..routing.tool_router import ToolRouter
from ..serving.inbound import SESSION_HEADER
from ..session.callbacks import SessionCallbacks
from ..session.session import caller_of
from .asking import BackChannel, SharedChannel
from .client import Client
from .eras import is_modern
from .forwarding import ElsewhereError
from .messages import Context
from .scopes import Reach, TokensInUse, reach_of
from .subscriptions import Hold
from .upstream import Upstream
from .user_configs import UserConfig

if TYPE_CHECKING:
    from ..session.session import Session
    from .child_memory import ChildMemory
    from .other_instances import OtherInstances
    from .relayed_call import RelayedCall

KEEP = "new"
"""What a client without a session gives to have one kept."""

_STDIO = "stdio"
_SHARED_KEY = "gateway"

_KEPT_ELSEWHERE = re.compile("[0-9a-f]{16}([0-9a-f]{16})")
"""A handle, where there are several instances: it ends with the name of the one that keeps the state."""

_REMEMBERED = 100
"""So many sessions that have ended are remembered, in case a request of them is still on its way."""


class Clients:
    """All programs that use a gateway now.

    Args:
        manager: Opens and closes the sessions.
        configs: The servers.
        tasks: Closes sessions while others go on.
        offers: Says which tools of a server a client may find and call.
        within: The servers within a reach, with the credentials of its user.
        on_ended: Called with each client that is gone.
        memory: Bounds the memory of child processes.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        tasks: TaskGroup,
        offers: Offers,
        within: Callable[[Reach], Sequence[BaseServerConfig]],
        on_ended: Callable[[Client], None] = lambda client: None,
        memory: ChildMemory | None = None,
    ) -> None:
        self._manager = manager
        self._configs = configs
        self._tasks = tasks
        self._offers = offers
        self._within = within
        self._started_with: dict[tuple[str, str], Mapping[str, str]] = {}
        """The credentials that processes of users were started with, by server and key."""
        self._on_ended = on_ended
        self._memory = memory
        self._user_of: dict[str, str] = {}
        """The users of clients, by the keys of their sessions."""
        self._clients: dict[str, Client] = {}
        self._kept: dict[str, Client] = {}
        self._tokens = TokensInUse()
        self._single: set[Client] = set()
        """Of requests under way that belong to no session."""
        self._ended: deque[str] = deque(maxlen=_REMEMBERED)
        self.on_lost_subscriptions: Callable[[Client], Coroutine[Any, Any, None]] | None = None
        """Subscribes again for a client where the instance is gone that did so."""
        self.on_unheard: Callable[[Client, BaseServerConfig, Mapping[str, Any]], Coroutine[Any, Any, None]] | None = (
            None
        )
        """Takes an update of a resource that this instance has not subscribed to."""
        self.on_listed: Callable[[Client, Kind], None] = lambda client, kind: None
        """Called when a server lists something else than before in a client's session, for that client alone."""
        self.others: OtherInstances | None = None
        """The other instances, if there are any."""

    def __iter__(self) -> Iterator[Client]:
        return iter(list(self._clients.values()))

    def all(self) -> list[Client]:
        """All of them, also those that keep sessions by a handle, or are there for a single request."""
        return [*self._clients.values(), *self._kept.values(), *self._single]

    def client(
        self, context: Context, handle: str | None = None
    ) -> AbstractAsyncContextManager[tuple[Client, str | None]]:
        """The client that a message comes from, while it is handled; gives the handle that keeps its state, too.

        Args:
            context: Of the message.
            handle: For a request that belongs to no session: `new` to keep the sessions it opens, or a handle to use
                those that were kept. They end with the request if omitted.

        Raises:
            SessionExpiredError: Nothing is kept by this handle (any more).
        """
        if not is_sessionless(context):
            return _WithSession(self.of_session(context), self._close_sessions)
        return self._without_session(context, handle)

    def of_session(self, context: Context) -> Client:
        """The client of a connection, or of a session over HTTP."""
        request = context.request
        session_id = _STDIO if request is None else request.headers[SESSION_HEADER]
        client = self._clients.get(session_id)
        if client is None:
            if session_id in self._ended:
                # Its last request was on its way here.
                raise MCPError(INVALID_REQUEST, "The session was closed.")
            client = self._clients[session_id] = self._new(context)
            client.session_id = None if request is None else session_id
            if self.others is not None:
                self.subscribe_again(client)
        self._seen(client, context)
        self._leave_out_of_reach(client, reach_of(context))
        return client

    def _seen(self, client: Client, context: Context) -> None:
        self._tokens.note(context)
        client.seen(context)

    def _leave_out_of_reach(self, client: Client, reach: Reach) -> None:
        """End what a client has with servers that its token does not let it use any more."""
        if reach == client.reach:
            return
        client.reach = reach
        for uri, (subject, updated) in list(client.updated.items()):
            if not reach.includes(subject.config.server_name):
                del client.updated[uri]
                client.subscriptions.remove(subject, updated)
                if self.others is not None:
                    self._tasks.start_soon(self.others.across.drop, client, uri)
        for config in self._configs:
            if not reach.includes(config.server_name) and self._has_session(client, config):
                self._tasks.start_soon(self._manager.close_session, config.server_name, client.key)

    def start(self, function: Callable[[Context, str], Coroutine[Any, Any, None]], context: Context, text: str) -> None:
        """Do something for a client that its request does not wait for."""
        self._tasks.start_soon(function, context, text)

    def subscribe_again(self, client: Client) -> None:
        """Subscribe to what an instance heard of for a client that is gone, if there is such."""
        if self.on_lost_subscriptions is not None:
            self._tasks.start_soon(self.on_lost_subscriptions, client)

    def unheard(self, client: Client, config: BaseServerConfig, params: Mapping[str, Any]) -> None:
        """A server told of a resource that this instance has not subscribed to for the client; another one may have,
        where all use one session."""
        if self.on_unheard is not None and self.others is not None and isinstance(config, HttpConfig):
            self._tasks.start_soon(self.on_unheard, client, config, params)

    def served(self, server_name: str) -> BaseServerConfig | None:
        """A server, as it is configured for all; `None` if it is not served."""
        return next((config for config in self._configs if config.server_name == server_name), None)

    def known(self, session_id: str) -> Client | None:
        """The client of a session over HTTP, if this instance has heard of it."""
        return self._clients.get(session_id)

    @asynccontextmanager
    async def _without_session(self, context: Context, handle: str | None) -> AsyncGenerator[tuple[Client, str | None]]:
        if handle is None:
            client = self._new(context)
            client.has_session = False
            self._seen(client, context)
            self._single.add(client)
            try:
                yield client, None
            finally:
                self._single.discard(client)
                self._close(client)
            return
        if handle == KEEP:
            self._prune()
            handle = secrets.token_hex(8) + ("" if self.others is None else self.others.name)
            client = self._kept[handle] = self._new(context)
        else:
            client = self._kept_by(handle, context)
        self._seen(client, context)
        client.in_use += 1
        try:
            yield client, handle
        finally:
            client.in_use -= 1

    def _kept_by(self, handle: str, context: Context) -> Client:
        client = self._kept.get(handle)
        if client is None or client.principal != reach_of(context).principal or not self._has_sessions(client):
            gone = SessionExpiredError(
                "This session does not exist, or was closed.",
                sent=False,
                state_lost=True,
                hint=f'Give session="{KEEP}" to start another.',
            )
            instance = None if self.others is None else _KEPT_ELSEWHERE.fullmatch(handle)
            if self.others is not None and instance is not None and instance[1] != self.others.name:
                raise ElsewhereError(instance[1], None, gone)
            raise gone
        return client

    def end(self, session_id: str) -> None:
        """A client is gone: close its sessions."""
        self._ended.append(session_id)
        client, ended = self._clients.pop(session_id, None), list[str]()
        if client is not None:
            ended = [one.server_name for one in self._configs if self._has_session(client, one)]
            self._close(client)
        if self.others is not None:
            self.others.ended(session_id, ended)

    def lose(self, session_id: str, server_name: str) -> None:
        """Another instance owns a client's session with a server now: close the one that is here."""
        if (client := self.known(session_id)) is not None:
            self._tasks.start_soon(self._manager.close_session, server_name, client.key)

    # Its sessions with servers

    def upstream(
        self, client: Client, config: BaseServerConfig, deadline: Deadline
    ) -> AbstractAsyncContextManager[Session]:
        """The client's session with a server, opened if necessary, for one request.

        Raises:
            SignInNeededError: The client's user has to sign in first; nothing was sent.
            JackfieldError: It was not open in time, or cannot be opened; nothing was sent.
        """
        return Upstream(partial(self._open, client, config, deadline), config)

    async def _until_restarted(self, config: BaseServerConfig, key: str, deadline: Deadline) -> None:
        if self._memory is not None:
            await self._memory.room(config.server_name, key, deadline)

    async def _open(
        self, client: Client, config: BaseServerConfig, deadline: Deadline
    ) -> tuple[AbstractAsyncContextManager[Session], Session]:
        """A session, and what it is left by.

        Raises:
            SessionExpiredError: The client's session has ended; nothing was sent.
        """
        try:
            opened, session = await self._open_now(client, config, deadline)
        finally:
            # The client may have gone while this waited for room or a credential. A cancelled opening counts, too: it
            # may have been given its room just before.
            if client.is_gone:
                self._close_sessions(client)
        if client.is_gone:
            await opened.__aexit__(None, None, None)
            _require_session(client, config)
        return opened, session

    async def _open_now(
        self, client: Client, config: BaseServerConfig, deadline: Deadline
    ) -> tuple[AbstractAsyncContextManager[Session], Session]:
        if isinstance(config, UserConfig):
            await self._check_credential(client, config)
        if self._can_share(client, config):
            # Clients without sessions need none of their own where the server has none either.
            await self._until_restarted(config, _shared_key(client), deadline)
            lease = self._manager.open_session(config, key=_shared_key(client), callbacks=_SHARED)
            opened = open_by(lease, deadline, config.server_name)
            session = await opened.__aenter__()
            if is_modern(session.protocol_version):
                return opened, session
            await opened.__aexit__(None, None, None)
        await self._until_restarted(config, client.key, deadline)
        _require_session(client, config)
        callbacks = self._callbacks(client, config)
        lease = self._manager.open_session(config, key=client.key, callbacks=callbacks)
        lease.user = client.user
        opened = open_by(lease, deadline, config.server_name)
        session = await opened.__aenter__()
        if self.others is not None and self.others.take_loss(client, config):
            caller_of(session).note_loss()
        return opened, session

    def _callbacks(self, client: Client, config: BaseServerConfig) -> SessionCallbacks:
        shared = None if self.others is None else self.others.shared_session(client, config)
        unheard = partial(self.unheard, client, config)
        # Another instance, which may have to answer next, would not know what is listed here for this client alone.
        own_kinds: Sequence[Kind] = KINDS if self.others is None else ("resources",)
        channel = BackChannel(client, config, shared, unheard, partial(self._listed, client), own_kinds)
        return SessionCallbacks(relayed_client=channel)

    def _listed(self, client: Client, kind: Kind) -> None:
        self.on_listed(client, kind)

    async def require_here(self, call: RelayedCall) -> None:
        """Have this instance be the one whose session with the server a call uses.

        Raises:
            ElsewhereError: It is with another one, where the server lives in one place.
            StoreUnavailableError: That cannot be found out.
        """
        if self.others is not None:
            await self.others.require_here(call.context, call.client, call.target.config)

    async def _check_credential(self, client: Client, config: UserConfig) -> None:
        """See that there is a credential before anything is opened, and that a process has the present one.

        A process that has an older one is restarted once the client has no call there, which is told with the next
        result: what the process knew is gone.

        Raises:
            AuthenticationError: There is none, or it cannot be found out.
        """
        values, server_name = await config.account.require(), config.account.server_name
        if not isinstance(config, StdioConfig):
            return
        for key in (client.key, _shared_key(client)):
            place = server_name, key
            is_open = self._manager.inside.find(server_name, key) is not None
            if not is_open or server_name not in client.under_way:
                if is_open and self._started_with.get(place, values) != values:
                    because = "was restarted by the gateway: its user now has a different credential"
                    if not self._manager.inside.restart_if_quiet(server_name, key, because):
                        continue
                self._started_with[place] = values

    def _can_share(self, client: Client, config: BaseServerConfig) -> bool:
        """Whether a request goes by a connection that serves others of the same principal, too: one to a server of
        2026-07-28, be it a process or at a URL. Any other server may know its client by the connection.

        Source: MCP 2026-07-28, basic: a server infers nothing from earlier requests of the same connection or process.
        """
        if client.has_session or client.context is None:
            return False
        entry = self._manager.catalog.entry(config)
        # Log messages do not say which request they are about.
        wants_log = LOG_LEVEL_META_KEY in as_table((client.context.params or {}).get("_meta"))
        return entry is not None and is_modern(entry.known_version) and not wants_log

    def router(self, client: Client, configs: Sequence[BaseServerConfig]) -> ToolRouter:
        """Reaches all tools of some servers by the client's sessions."""
        if client.router is None or client.router[0] is not configs:
            router = ToolRouter(
                self._manager,
                configs,
                mode="search",
                key=client.key,
                max_result_chars=_NO_LIMIT,
                callbacks=partial(self._callbacks, client),
                offers=self._offers,
                catalog=self.catalog(client),
            ).inside.used_by(client.user, client.key)
            client.router = configs, router
        return client.router[1]

    def _new(self, context: Context) -> Client:
        client = Client(f"client-{uuid.uuid4().hex[:8]}", reach_of(context), self._tasks, self._holding)
        if client.principal is not None:
            self._user_of[client.key] = client.principal.digest()
        return client

    def user_of(self, key: str | None) -> str | None:
        """Whose sessions with servers have this key; `None` if no token says so."""
        if key is None:
            return None
        return self._user_of.get(key) or key.partition(_SHARED_KEY + "-")[2] or None

    def _holding(self, client: Client) -> Hold:
        return lambda config: self.upstream(
            client, self._current(config), Deadline.of(None, config.session.call_timeout)
        )

    def _current(self, config: BaseServerConfig) -> BaseServerConfig:
        """The server as it is configured now.

        Raises:
            UnknownServerError: It is no longer served.
        """
        if (current := self.served(config.server_name)) is not None:
            return current
        raise UnknownServerError(
            f"Server {config.server_name!r} is no longer served.", server_name=config.server_name, sent=False
        )

    def open_to(self, client: Client) -> list[BaseServerConfig]:
        """The servers that it has sessions with."""
        return [config for config in self._within(client.reach) if self._has_session(client, config)]

    def catalog(self, client: Client) -> Catalog:
        """The catalog as a client sees it."""
        return OverlaidCatalog(self._manager.catalog, lambda: self.own_listings(client))

    def own_listings(self, client: Client) -> OwnListings:
        """What servers list in the sessions that a client has with them now, where that is not the same for all."""
        for server_name, (generation, _) in list(client.own_listings.items()):
            owner = self._manager.inside.find(server_name, client.key)
            if owner is None or owner.generation != generation:
                del client.own_listings[server_name]
        return {server_name: listings for server_name, (_, listings) in client.own_listings.items()}

    def _has_session(self, client: Client, config: BaseServerConfig) -> bool:
        return self._manager.inside.find(config.server_name, client.key) is not None

    def _has_sessions(self, client: Client) -> bool:
        return client.in_use > 0 or any(self._has_session(client, config) for config in self._configs)

    def _prune(self) -> None:
        for handle, client in list(self._kept.items()):
            if not self._has_sessions(client):
                self._close(self._kept.pop(handle))

    def _close(self, client: Client) -> None:
        self._user_of.pop(client.key, None)
        client.is_gone = True
        client.user.forget()
        client.subscriptions.close()
        self._on_ended(client)
        self._close_sessions(client)

    def _close_sessions(self, client: Client) -> None:
        """Close what a client that is gone has open, or is still opening."""
        for config in self._configs:
            self._started_with.pop((config.server_name, client.key), None)
            if self._has_session(client, config):
                self._tasks.start_soon(self._manager.close_session, config.server_name, client.key)


class _WithSession(AbstractAsyncContextManager[tuple[Client, None]]):
    """A client with a session, for one message. Not a generator: this is part of every call.

    Args:
        client: The client.
        close_sessions: Closes what was opened for it although its session ended meanwhile.
    """

    def __init__(self, client: Client, close_sessions: Callable[[Client], None]) -> None:
        self._client = client
        self._close_sessions = close_sessions

    async def __aenter__(self) -> tuple[Client, None]:
        return self._client, None

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._client.is_gone:
            self._close_sessions(self._client)


def _require_session(client: Client, config: BaseServerConfig) -> None:
    if client.is_gone:
        raise SessionExpiredError(
            "The session was closed; nothing was sent.", server_name=config.server_name, sent=False, state_lost=True
        )


def is_sessionless(context: Context) -> bool:
    """Whether a message belongs to no session: over HTTP, the protocol of 2026-07-28 has none."""
    return context.request is not None and is_modern(context.protocol_version)


def _shared_key(client: Client) -> str:
    """No two users share a connection: a server may know them by it."""
    return _SHARED_KEY if client.principal is None else f"{_SHARED_KEY}-{client.principal.digest()}"


_SHARED = SessionCallbacks(relayed_client=SharedChannel())

# A host program is told everything; what its model is shown, it decides.
_NO_LIMIT = 1 << 62
