"""Typed events in the life of sessions and calls. No event contains a secret."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio

from .errors import ConfigError, JackfieldError
from .logs import SessionLog
from .loops import setter_from_anywhere


@dataclass(frozen=True, kw_only=True)
class Event:
    """The fields of all events."""

    server_name: str
    key: str | None = None
    """The session's key; `None` for a private session."""
    session_id: str | None = None
    """The session's id, the same in all its events and log lines, recoveries included; `None` where the event is of no
    session."""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class SessionOpening(Event):
    """A server is being started or connected."""


@dataclass(frozen=True, kw_only=True)
class SessionOpened(Event):
    """A session is open: the handshake is complete."""

    seconds: float
    protocol_version: str
    http_session_id: str | None = None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class SessionFailed(Event):
    """A session could not be opened."""

    seconds: float
    error: JackfieldError


@dataclass(frozen=True, kw_only=True)
class SessionLost(Event):
    """An open session ended unexpectedly."""

    error: JackfieldError
    generation: int = 1
    """How often the session had been opened."""


@dataclass(frozen=True, kw_only=True)
class SessionRecovered(Event):
    """A lost session was reopened; the state that the server kept for it is lost."""

    generation: int
    attempts: int
    """The number of attempts to open it."""
    seconds: float
    """Since it was lost."""
    protocol_version: str
    http_session_id: str | None = None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class RecoveryFailed(Event):
    """A lost session could not be reopened; the next call tries once more."""

    error: JackfieldError
    attempts: int


@dataclass(frozen=True, kw_only=True)
class StreamRenewed(Event):
    """A stream of messages broke and was reopened within the same session."""

    resumed: bool
    """Whether the server was asked to resume after the last event, so that no message is lost."""


@dataclass(frozen=True, kw_only=True)
class LimitReached(Event):
    """The server exceeded a limit, and the excess was dropped."""

    error: JackfieldError
    """A `ServerLimitError`; its `limit` is the name of the setting."""


@dataclass(frozen=True, kw_only=True)
class ListingProblem(Event):
    """A listing of the server is partly invalid; the valid entries are used."""

    method: str
    """The method, such as `tools/list`."""
    problems: Sequence[str]
    """Descriptions of the problems; each names the entry and the field."""


@dataclass(frozen=True, kw_only=True)
class ListingFailed(Event):
    """A server could not be listed; the entries of its last listing are still offered."""

    method: str
    """The method, such as `tools/list`."""
    error: JackfieldError


@dataclass(frozen=True, kw_only=True)
class ServerSkipped(Event):
    """A toolkit or workbench omits the tools of a server that could not be opened or listed."""

    error: JackfieldError


@dataclass(frozen=True, kw_only=True)
class ToolsChanged(Event):
    """The server reports that its tools changed."""


@dataclass(frozen=True, kw_only=True)
class CatalogChanged(Event):
    """A server's tools differ from those in the catalog."""

    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()
    """Their description or schema is not the one that was accepted. A changed tool can be an attack: look at it,
    then `manager.catalog.accept(config)`."""


@dataclass(frozen=True, kw_only=True)
class EventsDropped(Event):
    """A reader of `manager.events()` was too slow and missed events."""

    count: int


@dataclass(frozen=True, kw_only=True)
class SessionClosed(Event):
    """The session is fully closed."""

    reason: str
    """`released`, `idle`, `evicted`, `lost`, `manager` or `cancelled`."""
    generation: int = 1
    seconds_open: float


@dataclass(frozen=True, kw_only=True)
class SessionEvicted(Event):
    """An idle session is closed to make room for another; `SessionClosed` follows."""

    for_server: str
    for_key: str | None
    """The key of the session that is opened instead; `None` for a private one."""
    state_lost: bool
    """Whether what the server kept is gone by it. The first answer to the key's next user says so."""


@dataclass(frozen=True, kw_only=True)
class CallStarted(Event):
    """A tool is being called."""

    tool: str
    call_number: int
    """The number of the call in this session, from 1; the same in all events of a call."""


@dataclass(frozen=True, kw_only=True)
class CallRetried(Event):
    """A call is repeated: it was not executed, or the tool is marked as safe to repeat."""

    tool: str
    call_number: int
    error: JackfieldError
    """The error of the previous attempt."""


@dataclass(frozen=True, kw_only=True)
class CallFinished(Event):
    """A tool call ended."""

    tool: str
    call_number: int
    seconds: float
    error: JackfieldError | None = None
    """Why there is no result; also set where the tool itself reported an error."""


EventListener = Callable[[Event], None]

_BUFFERED_EVENTS = 10_000


class EventHub:
    """Where a manager's events come from: to its listeners, and to who iterates over them."""

    def __init__(self, listener: EventListener | None = None) -> None:
        if inspect.iscoroutinefunction(listener):
            raise ConfigError(
                "on_event is a coroutine function, which would not be awaited.",
                hint="Give a plain function, or read `manager.events()` in a task of your own.",
            )
        self._listeners = [] if listener is None else [listener]
        self._streams: set[EventStream] = set()
        self.is_heard: bool = listener is not None
        """Whether anybody gets what is emitted."""

    def add_listener(self, listener: EventListener) -> None:
        """Have one more listener get every event, for as long as the hub lives."""
        self._listeners.append(listener)
        self.is_heard = True

    def emit(self, event: Event) -> None:
        """Hand an event on; what listeners raise is logged and goes no further, but for what ends the program."""
        for listener in self._listeners:
            try:
                listener(event)
            except (Exception, asyncio.CancelledError):
                # A listener is a plain function: what it raises is not a cancellation of the task that it runs in.
                log = SessionLog(event.server_name, event.session_id or "")
                log.exception("The on_event listener raised on %s", type(event).__name__)
        is_of_call = isinstance(event, CallStarted | CallRetried | CallFinished)
        for stream in list(self._streams):
            if stream.has_calls or not is_of_call:
                stream.put(event)

    def stream(self, *, calls: bool = True) -> EventStream:
        """The events from now on.

        Args:
            calls: Also those of calls.
        """
        stream = EventStream(self._discard, has_calls=calls)
        self._streams.add(stream)
        self.is_heard = True
        return stream

    def _discard(self, stream: EventStream) -> None:
        self._streams.discard(stream)
        self.is_heard = bool(self._listeners or self._streams)

    def close(self) -> None:
        """End all streams, once what they hold is read."""
        for stream in list(self._streams):
            stream.end()


class EventStream:
    """Events as an async iterator. One that is not read holds 10,000 events; then the oldest are dropped."""

    def __init__(self, on_close: Callable[[EventStream], None], *, has_calls: bool = True) -> None:
        self.has_calls: bool = has_calls
        """Whether it gets events of calls."""
        self._on_close = on_close
        self._events: deque[Event] = deque()
        self._dropped = 0
        self._ended = False
        self._wake: Callable[[], object] | None = None

    def put(self, event: Event) -> None:
        """Add an event; may be called from any thread."""
        if len(self._events) >= _BUFFERED_EVENTS:
            self._events.popleft()
            self._dropped += 1
        self._events.append(event)
        self._notify()

    def end(self) -> None:
        """No further event will come."""
        self._ended = True
        self._on_close(self)
        self._notify()

    def _notify(self) -> None:
        if (wake := self._wake) is not None:
            wake()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        while True:
            if self._dropped:
                count, self._dropped = self._dropped, 0
                return EventsDropped(server_name="", count=count)
            if self._events:
                return self._events.popleft()
            if self._ended:
                raise StopAsyncIteration
            await self._something()

    async def _something(self) -> None:
        arrived = anyio.Event()
        # Sessions of blocking callers live in another thread.
        self._wake = setter_from_anywhere(arrived)
        try:
            # What came before the line above woke nobody.
            if not self._events and not self._ended:
                await arrived.wait()
        finally:
            self._wake = None

    async def aclose(self) -> None:
        """Stop listening."""
        self.end()
