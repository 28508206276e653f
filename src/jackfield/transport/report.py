"""What is known of a connection, for errors, `SessionInfo` and recovery: the delivery status of each request, by its
JSON-RPC id, and facts other than its messages.

A task that makes a call puts a record into `current_call`. The transport's writer binds it to the id of the message
that it stands for; everything else that is sent in the same context (a listing, a cancellation, a token request) has a
record of its own, or none. What the transport finds out later is noted for that id only.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import anyio
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from ..config.servers import BaseServerConfig
from ..errors import AuthenticationError, JackfieldError, ServerLimitError
from ..logs import SessionLog
from ..masking import KNOWN, mask
from .relayed import RelayedRequest
from .sdk import cancelled_id
from .shared_session import KnownSession

if TYPE_CHECKING:
    from .direct import DirectRequests

_NOISE_LINES = 20
# The output of a process that exits ends a little before its exit code is known, and on a busy machine a lot before.
_EXIT_SECONDS = 1.0
_STDERR_SECONDS = 0.03
_NOISE_CHARS = 500
_REMEMBERED_IDS = 1024


MessageListener = Callable[[bool, JSONRPCMessage], None]
"""Called with whether a message was sent to the server or came from it, and the message as it is on the wire."""


class EventIds:
    """The last event ids of a stream, so that repeated events are used once."""

    def __init__(self) -> None:
        self._ids: OrderedDict[str, None] = OrderedDict()

    def is_new(self, event_id: str) -> bool:
        """Note an id; whether it was not there."""
        if event_id in self._ids:
            return False
        self._ids[event_id] = None
        if len(self._ids) > _REMEMBERED_IDS:
            self._ids.popitem(last=False)
        return True

    def forget(self) -> None:
        """The stream begins again, and may reuse its numbers."""
        self._ids.clear()


@dataclass(eq=False)
class CallRecord:
    """Delivery status of one request. Nothing changes in it once the request is over."""

    method: str
    generation: int = 0
    """Of the session it was sent in."""

    request_id: RequestId | None = None
    """The id of its message; `None` until that is written."""

    sent: bool | None = False
    """False until its first byte left, True once the last has, None between."""

    failure: JackfieldError | None = None
    """Why no answer will come, or could not be delivered."""

    is_answered: bool = False
    """Whether the server answered it, with a result or with an error of its own."""

    is_over: bool = False
    """It has its answer, or no one waits for it."""

    scope: anyio.CancelScope | None = None
    """The caller's, cancelled by a transport on whose wire a failed request would otherwise wait for its timeout."""

    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Headers sent with this request over HTTP."""

    stderr_bytes: int = 0
    """How much a child had written to stderr when the call was sent: what came later may say why it got no answer."""

    unclaimed: str | None = None
    """The last answer that came in the meantime and named no request."""

    next: CallRecord | None = None
    """The record of the same call's next request: one that was answered by a question is made again with the reply."""

    relayed: RelayedRequest | None = None
    """Set where the request only passes through."""

    page: Mapping[str, Any] | None = None
    """The answer as it is handed to the SDK, if it is a page of a listing."""

    is_continuation: bool = False
    """Whether the server has seen an earlier request of the same call, so that it counts as perhaps sent."""

    def became(self, sent: bool | None, failure: JackfieldError | None = None) -> None:
        """Note how far it got, and why it will get no further."""
        if self.is_over:
            return
        if sent is False and self.is_continuation:
            sent = None
            if failure is not None:
                failure = failure.told(sent=None)
        self.sent, self.failure = sent, failure

    @cached_property
    def seen_ids(self) -> EventIds:
        """Of the stream that brings its answer, if it is one."""
        return EventIds()

    @property
    def latest(self) -> CallRecord:
        """The record of the call's last request."""
        return self if self.next is None else self.next.latest

    def following(self) -> CallRecord:
        """A record for the call's next request."""
        self.next = CallRecord(
            self.method,
            self.generation,
            sent=None,
            scope=self.scope,
            headers=self.headers,
            relayed=self.relayed,
            is_continuation=True,
            stderr_bytes=self.stderr_bytes,
        )
        return self.next


current_call: ContextVar[CallRecord | None] = ContextVar("jackfield_current_call", default=None)
"""In a task that makes a call, its record; in a transport's task, that of the very message that the task is about."""


class OutputTail:
    """The last bytes a child wrote, bounded however much it writes."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self.total_bytes: int = 0

    def add(self, data: bytes) -> None:
        """Append, forgetting the oldest beyond the limit."""
        self.total_bytes += len(data)
        self._chunks.append(data[-self._limit :])
        self._held += len(self._chunks[-1])
        while self._held - len(self._chunks[0]) >= self._limit:
            self._held -= len(self._chunks.popleft())

    def text(self, since: int = 0) -> str:
        """The kept text, without secrets.

        Args:
            since: Skip this many bytes from the beginning.
        """
        kept = b"".join(self._chunks)[-self._limit :]
        kept = kept[max(since - (self.total_bytes - len(kept)), 0) :]
        text = kept.decode("utf-8", "replace")
        return mask(text, is_cut=True) if KNOWN.starts else text


class Requests:
    """The requests of one connection that wait for their answers.

    Args:
        stderr: What a child writes there.
    """

    def __init__(self, stderr: OutputTail) -> None:
        self._stderr = stderr
        self._stderr_bytes_at_answer = 0
        self._waiting: dict[RequestId, CallRecord] = {}
        self._ended: OrderedDict[RequestId, None] = OrderedDict()
        self.last: CallRecord | None = None
        """The one that was sent last."""

    def begin(self, message: JSONRPCMessage) -> CallRecord | None:
        """The record for a message that is about to be written; `None` where it is not a request."""
        if not isinstance(message, JSONRPCRequest):
            self._end(cancelled_id(message))
            return None
        record = current_call.get()
        record = None if record is None else record.latest
        if record is None or _named(message.method) != _named(record.method):
            record = CallRecord(message.method)
        elif record.request_id is not None:
            record = record.following() if record.is_answered else CallRecord(message.method)
        record.request_id = message.id
        if not record.is_continuation:
            record.stderr_bytes = self._stderr.total_bytes
        self._waiting[coerce_request_id(message.id)] = self.last = record
        return record

    def waiting(self, request_id: RequestId | None) -> CallRecord | None:
        """The request of that id, if it waits for its answer."""
        return None if request_id is None else self._waiting.get(coerce_request_id(request_id))

    @property
    def stderr_bytes(self) -> int:
        """How much a child had written to stderr when the first call was sent that has no answer yet.

        If there is none, when it last answered. Requests that no one waits for, such as one for notifications, may
        stand as long as the session: they do not count.
        """
        sent = [record.stderr_bytes for record in self._waiting.values() if record.scope is not None]
        return min(sent, default=self._stderr_bytes_at_answer)

    def arrived(self, message: JSONRPCMessage) -> None:
        """Note whose answer a message is, before it is delivered."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return
        self._stderr_bytes_at_answer = self._stderr.total_bytes
        record = self.waiting(message.id)
        if record is None:
            self.unclaimed(message.id, _described(message))
            return
        if isinstance(message, JSONRPCResponse) or record.failure is None:
            record.became(True)
            record.is_answered = True
        self._end(message.id)

    def fail(self, record: CallRecord, failure: JackfieldError, words: str | None = None) -> SessionMessage:
        """Give up a request whose answer cannot be delivered; returns what to deliver in its place.

        Args:
            record: Of the request.
            failure: Why.
            words: The same in short; the failure's message if omitted.
        """
        record.became(True, failure)
        assert record.request_id is not None
        self._end(record.request_id)
        # Known by the record: a server may send the same number.
        error = ErrorData(code=INTERNAL_ERROR, message=words or failure.message)
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=record.request_id, error=error))

    def unclaimed(self, request_id: RequestId | None, what: str) -> None:
        """Record an answer that belongs to no waiting request: a caller may be waiting for it."""
        if request_id is not None:
            if coerce_request_id(request_id) in self._ended:
                return
            what += f", for request {str(request_id)[:40]!r}, which was never sent"
        else:
            what += ", without a request id"
        for record in self._waiting.values():
            record.unclaimed = what

    def _end(self, request_id: object) -> None:
        if not isinstance(request_id, int | str):
            return
        request_id = coerce_request_id(request_id)
        record = self._waiting.pop(request_id, None)
        if record is not None:
            record.is_over = True
            self._ended[request_id] = None
            if len(self._ended) > _REMEMBERED_IDS:
                self._ended.popitem(last=False)


def _named(method: str) -> str:
    # Since 2026-07-28 a ping is made by this request.
    return "ping" if method == "server/discover" else method


def _described(message: JSONRPCResponse | JSONRPCError) -> str:
    if isinstance(message, JSONRPCError):
        return f"error {message.error.code} ({mask(message.error.message)[:200]})"
    return "a result"


class ConnectionReport:
    """Filled by a transport, read by the session above it.

    Args:
        config: The server, for its limits and its name in errors.
        log: Of the session; one of no session if omitted.
        on_renewed: Called with `resumed` when a stream broke and was opened again.
        on_limit: Called when the server goes beyond a limit.
    """

    def __init__(
        self,
        config: BaseServerConfig,
        log: SessionLog | None = None,
        on_renewed: Callable[[bool], None] = lambda _: None,
        on_limit: Callable[[ServerLimitError], None] = lambda _: None,
    ) -> None:
        self.config = config
        self.log: SessionLog = log or SessionLog(config.server_name)
        self.on_renewed = on_renewed
        self.on_listening: Callable[[], None] = lambda: None
        """Called when the stream of the server's own messages is open for the first time."""
        self.on_limit = on_limit
        self.process_id: int | None = None
        self.exit_code: int | None = None
        self.exit_code_now: Callable[[], int | None] = lambda: self.exit_code
        """How a child has ended, if it has."""
        self.exited: anyio.Event = anyio.Event()
        """Set once a child has exited."""
        self.unread_bytes = 0
        """Number of sent bytes that a child had not read when it ended."""
        self.left_behind = 0
        """How many processes a server that had left still had running; they were ended."""
        self.stderr: OutputTail = OutputTail(config.session.max_stderr_bytes)
        self.requests: Requests = Requests(self.stderr)
        self.stderr_ended: anyio.Event = anyio.Event()
        """Set once a child wrote the last of it."""
        self.noise: deque[str] = deque(maxlen=_NOISE_LINES)
        """Lines on stdout that are not MCP messages."""
        self.capabilities: Mapping[str, Any] = {}
        """What the server declared at the handshake, as it came."""
        self.http_session_id: str | None = None
        self.taken_up: KnownSession | None = None
        """A session that is open at the server already, while the handshake is answered in the server's place."""
        self.is_kept_at_server: Callable[[], bool] = lambda: False
        """Whether others use the session, so that it is not ended with the connection."""
        self.is_ended_at_server: bool = False
        """Whether an HTTP server was told that the session is over."""
        self.refuses_ending: bool = False
        """Whether an HTTP server does not let its clients end sessions."""
        self.failure: JackfieldError | None = None
        """The last thing that went wrong on the wire."""
        self.first_failure: JackfieldError | None = None
        self.advice = ""
        """What may help if it cannot be opened."""
        self.lost: anyio.Event = anyio.Event()
        self.loss: JackfieldError | None = None
        """Why the session has ended, if a transport knows."""
        self.limit_reached: ServerLimitError | None = None
        self.give_up_opening: Callable[[], object] = lambda: None
        """Called by a transport on whose wire an opening that failed would otherwise wait for its timeout."""
        self.message_listener: MessageListener | None = None
        """Called with each message of the connection."""
        self.direct_requests: Callable[[], DirectRequests] | None = None
        """Gives what makes requests beneath the SDK."""
        self._notifications = 0
        self._second = 0

    def begin_again(self) -> None:
        """Forget a connection that is replaced by another one."""
        give_up_opening, message_listener = self.give_up_opening, self.message_listener
        is_kept_at_server = self.is_kept_at_server
        self.__init__(self.config, self.log, self.on_renewed, self.on_limit)
        self.give_up_opening, self.message_listener = give_up_opening, message_listener
        self.is_kept_at_server = is_kept_at_server

    def add_noise(self, line: bytes) -> None:
        """Store a shortened line that is not a message."""
        self.noise.append(mask(line[:_NOISE_CHARS].decode("utf-8", "replace"), is_cut=True))

    async def last_words(self) -> None:
        """Wait a moment for how a child whose output ended exited, and for what it wrote last: the best of reasons."""
        if self.process_id is None or self.lost.is_set():
            return
        with anyio.move_on_after(_EXIT_SECONDS):
            await self.exited.wait()
        with anyio.move_on_after(_STDERR_SECONDS):
            await self.stderr_ended.wait()

    def stderr_quote(self, since: int = 0) -> str | None:
        """The end of the server's stderr, with a note if more was written than is kept.

        Args:
            since: Where the part of it begins that may explain what is to be explained; see `CallRecord.stderr_bytes`.
        """
        text, written = self.stderr.text(since), self.stderr.total_bytes - since
        kept = self.config.session.max_stderr_bytes
        if written > kept:
            text = f"{text} | (the last part of {written:,} bytes; max_stderr_bytes={kept:,})"
        return text or None

    def mark_lost(self, why: JackfieldError | None = None) -> None:
        """No further message will come."""
        self.loss = self.loss or why
        self.lost.set()

    def admits_notification(self) -> bool:
        """Count a notification; whether it is within `max_notifications` a second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._notifications = second, 0
        self._notifications += 1
        limit = self.config.session.max_notifications
        if self._notifications == limit + 1:
            self.reach_limit("max_notifications", f"sends more than {limit} notifications a second")
        return self._notifications <= limit

    def note_failure(self, failure: JackfieldError | None) -> None:
        """Keep what went wrong last, and what went wrong first: trying for an older protocol hides that."""
        self.failure = failure
        if failure is not None and (failure.retryable or isinstance(failure, AuthenticationError)):
            self.first_failure = self.first_failure or failure

    def reach_limit(self, limit: str, what: str) -> ServerLimitError:
        """Note that the server went beyond a limit."""
        self.limit_reached = limit_error(self.config, limit, what)
        self.on_limit(self.limit_reached)
        return self.limit_reached


def limit_error(config: BaseServerConfig, limit: str, what: str) -> ServerLimitError:
    """The error for going beyond a limit of the configuration."""
    name = config.server_name
    return ServerLimitError(
        f"Server {name!r} {what}: beyond the limit {limit}={getattr(config.session, limit):,}.",
        limit=limit,
        server_name=name,
        sent=True,
        hint=f"If that is intended, raise {limit} in the session settings of its config.",
    )
