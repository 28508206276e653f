"""`Instance`: the running requests, the shared stores, and the messages from other instances."""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.models import InitializationOptions
from mcp.server.runner import ServerRunner
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, InitializeRequestParams

from ..plain import as_table
from .admission import Admission
from .asking import ServerRequests
from .background import Background
from .backplane_messages import (
    Answered,
    Buried,
    Cancelled,
    Detached,
    Ended,
    Message,
    Progressed,
    Published,
    Said,
    ShareWanted,
    decoded,
    encoded,
)
from .context import SessionOutbound
from .disconnects import Disconnects
from .errors import ServingLimitError
from .exchange import Exchange
from .limits import ServingLimits
from .log_reading import LogReader
from .memory import InMemoryBackplane
from .outages import held
from .records import Principal, SessionRecord
from .shares import Sharing
from .stores import CountsCalls, SessionStore, SharesBounds
from .streams import STANDALONE, StreamManager
from .wire import notification

_MAX_CLIENTS = 256
_LONGEST_KEPT = 4096
"""The number of clients, and of characters of what one said, that are kept ready."""


@dataclass(frozen=True)
class NotificationHandler:
    """The handler of a client's notification, while it runs."""

    session_id: str
    scope: anyio.CancelScope


class Instance:
    """One instance of a served server, for as long as it runs.

    Args:
        server: Handles the requests.
        lifespan_state: The state from the server's lifespan.
        init_options: The server's description for clients.
        sessions: Stores the metadata of sessions.
        streams: Stores their streams.
        background: Owns tasks without an HTTP request.
        limits: Limits on what clients can make it store.
        session_ttl: Seconds for which an unused session is kept.
        disconnects: Notices which sessions have ended, if anybody wants to know.
    """

    def __init__(
        self,
        server: Server[Any],
        lifespan_state: object,
        init_options: InitializationOptions,
        sessions: SessionStore,
        streams: StreamManager,
        background: Background,
        limits: ServingLimits,
        session_ttl: float,
        disconnects: Disconnects | None = None,
    ) -> None:
        self.name: str = uuid4().hex[:16]
        self.server: Server[Any] = server
        self.sessions: SessionStore = sessions
        self.streams: StreamManager = streams
        self.background: Background = background
        self.limits: ServingLimits = limits
        self.sharing: Sharing | None = None
        """Bounds that hold over all instances, where they have a store that does that."""
        if isinstance(sessions, SharesBounds):
            self.sharing = Sharing(sessions, self.name, background, self.tell_all)
        counts_calls = sessions if isinstance(sessions, CountsCalls) else None
        self.admission: Admission = Admission(limits, counts_calls, self.sharing)
        self.session_ttl: float = session_ttl
        self.disconnects: Disconnects | None = disconnects
        self.is_draining: bool = False
        self.asked: ServerRequests = ServerRequests(self.name)
        self.exchanges: dict[tuple[str, str], Exchange] = {}
        """The requests that run here, by session and stream."""
        self.readers: dict[str, LogReader] = {}
        """The streams that clients opened by GET here, by the name of their reader."""
        self._clients: dict[str, tuple[Mapping[str, Any], InitializeRequestParams]] = {}
        self._listens: Counter[Principal | None] = Counter()
        """The streams that clients opened by `subscriptions/listen` here."""
        self.notified: set[NotificationHandler] = set()
        self.listeners: list[Callable[[Published], None]] = []
        """Hear what servers publish on any instance."""
        self.hearers: list[Callable[[Said], None]] = []
        """Hear what the application says to this instance from others."""
        self.on_buried: list[Callable[[str], None]] = []
        """Hear which instances are dead; each may be told of several times."""
        self.late_detaches: dict[str, str] = {}
        """Readers that ended while the store could not be reached, and their sessions."""
        self._lifespan_state = lifespan_state
        self._streams_named = itertools.count()
        self._init_options = init_options

    def new_stream(self) -> str:
        """A name for the stream of a request that no other had."""
        return f"{self.name}{next(self._streams_named):016x}"

    # Its clients

    async def notify(self, session_id: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to a session, whichever instance it reads from.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.streams.append(session_id, STANDALONE, [notification(method, params)])

    async def is_read(self, session_id: str) -> bool:
        """Whether a client reads the session's standalone stream, on any instance.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return await self.streams.reader(session_id) is not None

    async def end_session(self, session_id: str) -> bool:
        """End a session: its requests are cancelled, its streams closed and removed; whether there was one.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        calls = await self.sessions.delete(session_id)
        await self.tell_all(Ended(session_id))
        await self.streams.delete(session_id, [call.stream for call in calls or ()])
        return calls is not None

    def runner(self, record: SessionRecord) -> tuple[ServerRunner[Any], Connection]:
        """The SDK's objects for one message of a session, made from its record."""
        connection = Connection.for_loop(
            self._outbound(record), session_id=record.session_id, protocol_version_hint=record.protocol_version
        )
        connection.client_params = self._client_params(record)
        connection.initialized.set()
        return ServerRunner(self.server, connection, self._lifespan_state), connection

    def modern_runner(self, version: str, params: Mapping[str, Any]) -> tuple[ServerRunner[Any], Connection]:
        """The same for a request of a protocol version without sessions, which says itself who its client is."""
        meta = as_table(params.get("_meta"))
        connection = Connection.from_envelope(
            version, meta.get(CLIENT_INFO_META_KEY), meta.get(CLIENT_CAPABILITIES_META_KEY)
        )
        return ServerRunner(self.server, connection, self._lifespan_state), connection

    def _client_params(self, record: SessionRecord) -> InitializeRequestParams:
        """What the client said at `initialize`; kept for the sessions that are in use."""
        read, params = self._clients.get(record.session_id, (None, None))
        if params is None or read is not record.initialize:
            params = InitializeRequestParams.model_validate(record.initialize, by_name=False)
            if len(self._clients) >= _MAX_CLIENTS:
                self._clients.clear()
            if len(str(record.initialize)) <= _LONGEST_KEPT:
                self._clients[record.session_id] = record.initialize, params
        return params

    def opening_runner(self, record: SessionRecord) -> tuple[ServerRunner[Any], Connection]:
        """The same for the `initialize` request, before there is a record."""
        connection = Connection.for_loop(self._outbound(record), session_id=record.session_id)
        runner = ServerRunner(self.server, connection, self._lifespan_state, init_options=self._init_options)
        return runner, connection

    def _outbound(self, record: SessionRecord) -> SessionOutbound:
        async def put(message: str) -> None:
            await held(partial(self.streams.append, record.session_id, STANDALONE, [message]))

        return SessionOutbound(record, put, self.asked)

    # What runs here

    @property
    def is_idle(self) -> bool:
        """Whether no request runs, no stream is read and no answer is awaited here."""
        return not (self.exchanges or self.readers or self.notified or self.asked.session_ids or self._listens)

    @property
    def open_streams(self) -> int:
        """How many streams clients opened here, by GET or `subscriptions/listen`."""
        return len(self.readers) + self._listens.total()

    def session_ids(self) -> set[str]:
        """The sessions that are in use here."""
        return {
            *(session_id for session_id, _ in self.exchanges),
            *(reader.session_id for reader in self.readers.values()),
            *(handler.session_id for handler in self.notified),
            *self.asked.session_ids,
        }

    def _check_streams(self) -> None:
        """Refuse a stream beyond the limit.

        Raises:
            ServingLimitError: The limit is reached.
        """
        if self.open_streams >= self.limits.streams:
            text = "No stream was opened: this instance has too many open"
            raise ServingLimitError(text, bound="streams", maximum=self.limits.streams)

    @contextlib.contextmanager
    def using(self, session_id: str, *, is_stream: bool = False) -> Generator[None]:
        """Have a connection of a session's client, so that it counts as there."""
        if (disconnects := self.disconnects) is None:
            yield
            return
        disconnects.began(session_id, is_stream=is_stream)
        try:
            yield
        finally:
            disconnects.ended(session_id)

    @contextlib.contextmanager
    def reading(self, reader: LogReader) -> Generator[str]:
        """Have a stream that a client opened by GET; yields the name of its reader.

        Raises:
            ServingLimitError: Too many streams are open here.
        """
        self._check_streams()
        name = f"{self.name}:{uuid4().hex[:16]}"
        self.readers[name] = reader
        try:
            yield name
        finally:
            del self.readers[name]

    @contextlib.contextmanager
    def listen(self, principal: Principal | None) -> Generator[None]:
        """Have a stream that a client opened by `subscriptions/listen`.

        Raises:
            ServingLimitError: Too many streams are open here, or too many of this user.
        """
        if principal is not None and self._listens[principal] >= (most := self.limits.listens_per_user):
            text = "No stream was opened: this user has too many open on this instance"
            raise ServingLimitError(text, bound="listens_per_user", maximum=most)
        self._check_streams()
        self._listens[principal] += 1
        try:
            yield
        finally:
            self._listens[principal] -= 1
            self._listens += Counter()  # drops those that have none

    @contextlib.contextmanager
    def notification_handler(self, session_id: str) -> Generator[None]:
        """Run the handler of a client's notification, at most until its session ends."""
        handler = NotificationHandler(session_id, anyio.CancelScope())
        self.notified.add(handler)
        try:
            with handler.scope:
                yield
        finally:
            self.notified.remove(handler)

    def forget_session(self, session_id: str) -> None:
        """The session has ended: close its streams and pending questions. Its requests continue."""
        for reader in list(self.readers.values()):
            if reader.session_id == session_id:
                reader.end()
        for handler in list(self.notified):
            if handler.session_id == session_id:
                handler.scope.cancel()
        self.asked.session_ended(session_id)
        if self.disconnects is not None:
            self.disconnects.over(session_id)

    @property
    def has_others(self) -> bool:
        """Whether a client that comes back may reach another instance. Where all is in this process, and this is the
        only one, it has the answer, or nobody does."""
        backplane = self.sessions.backplane
        return not isinstance(backplane, InMemoryBackplane) or backplane.is_shared

    def drain(self) -> None:
        """Begin to stop: end the streams, so that clients come back to another instance, if there is one; requests run
        on."""
        self.is_draining = True
        for reader in list(self.readers.values()):
            reader.end()
        if self.has_others:
            for exchange in list(self.exchanges.values()):
                exchange.move()

    def stop_requests(self) -> None:
        """End all requests; their clients get an error."""
        for exchange in list(self.exchanges.values()):
            exchange.stop()
        for handler in list(self.notified):
            handler.scope.cancel()

    # The other instances

    async def tell(self, instance: str, message: Message) -> None:
        """Tell an instance, or this one."""
        if instance == self.name:
            self.take(message)
        else:
            await self.sessions.backplane.tell(instance, encoded(message))

    async def tell_all(self, message: Message) -> None:
        """Tell every instance, this one included.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.sessions.backplane.tell_all(encoded(message))

    async def say(self, instance: str, said: Said) -> bool:
        """Tell an instance something of the application; returns whether it was received, as far as that is known.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return await self.sessions.backplane.tell(instance, encoded(said))

    async def detach(self, session_id: str, reader: str) -> None:
        """End a reader of a standalone stream, wherever it is."""
        await self.tell(reader.partition(":")[0], Detached(session_id, reader))

    def told(self, text: str) -> None:
        """Take a message of an instance, as the backplane has it."""
        if (message := decoded(text)) is not None:
            self.take(message)

    def take(self, message: Message) -> None:
        """Do what another instance, or this one, asks for."""
        match message:
            case Answered():
                self.asked.answered(message)
            case Progressed():
                self.asked.progressed(message)
            case Cancelled():
                if (exchange := self.exchanges.get((message.session_id, message.stream))) is not None:
                    exchange.cancel()
            case Detached():
                if (reader := self.readers.get(message.reader)) is not None:
                    reader.end()
            case Ended():
                for (session_id, _), exchange in list(self.exchanges.items()):
                    if session_id == message.session_id:
                        exchange.session_ended()
                self.forget_session(message.session_id)
            case Published():
                for listener in self.listeners:
                    listener(message)
            case Buried():
                for hear in self.on_buried:
                    hear(message.instance)
            case ShareWanted():
                if self.sharing is not None:
                    self.sharing.heard(message)
            case Said():
                for hearer in self.hearers:
                    hearer(message)
