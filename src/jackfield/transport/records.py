"""Delivery status of each request on a connection, by JSON-RPC id.

A task that makes a call puts a record into `current_call`. The transport's writer binds it to the id of the message
that it stands for; everything else that is sent in the same context (a listing, a cancellation, a token request) has a
record of its own, or none. What the transport finds out later is noted for that id only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

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

from ..errors import JackfieldError
from ..masking import mask
from .relayed import RelayedRequest
from .sdk import cancelled_id

_REMEMBERED_IDS = 1024


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

    seen_ids: EventIds = field(default_factory=EventIds)
    """Of the stream that brings its answer, if it is one."""

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


class Requests:
    """The requests of one connection that wait for their answers.

    Args:
        stderr_bytes: How much a child has written to stderr.
    """

    def __init__(self, stderr_bytes: Callable[[], int] = lambda: 0) -> None:
        self._stderr_bytes = stderr_bytes
        self._stderr_bytes_at_answer = 0
        self._waiting: dict[RequestId, CallRecord] = {}
        self._ended: OrderedDict[RequestId, None] = OrderedDict()
        self.last: CallRecord | None = None
        """The one that was sent last."""

    def begin(self, message: JSONRPCMessage) -> CallRecord | None:
        """The record for a message that is about to be written; `None` where it is not a request."""
        self._end(cancelled_id(message))
        if not isinstance(message, JSONRPCRequest):
            return None
        record = current_call.get()
        record = None if record is None else record.latest
        if record is None or _named(message.method) != _named(record.method):
            record = CallRecord(message.method)
        elif record.request_id is not None:
            record = record.following() if record.is_answered else CallRecord(message.method)
        record.request_id = message.id
        if not record.is_continuation:
            record.stderr_bytes = self._stderr_bytes()
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
        self._stderr_bytes_at_answer = self._stderr_bytes()
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
            what += f", for request {str(request_id)[:40]!r}, which was not made"
        else:
            what += ", that names no request"
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
