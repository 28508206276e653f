"""Bodies of HTTP answers for the SDK: limited in size, readable, and ending cleanly when they break.

The SDK answers in place of the server if a body cannot be read, which would look like the server's own
text. So each message is inspected here, and if a call gets no answer, its record says why.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from types import AsyncGeneratorType, TracebackType
from typing import Any, cast

import anyio
import httpx2
from mcp.shared.message import SessionMessage
from mcp.types import INTERNAL_ERROR, ErrorData, JSONRPCError, JSONRPCResponse, RequestId

from ..errors import JackfieldError, RequestError, ServerUnavailableError
from ..http_content import decoded
from ..plain import as_table, parsed_json
from .bad_answers import limit_exceeded, too_long, unreadable, unreadable_answer
from .framing import EventFramer, OversizeEventError, event_data, event_id
from .report import CallRecord, ConnectionReport, EventIds
from .sdk import batched, is_result_of, read_message

_BOM = b"\xef\xbb\xbf"
_RETRY_FIELD = re.compile(rb"(^|[\r\n])retry(?::[ ]?([^\r\n]*))?(?=[\r\n])")
_MAX_RETRY_DIGITS = 9
# A connection that lasted so long was worth opening, even if nothing was said on it.
_STEADY_SECONDS = 5.0

Resume = Callable[[str | None, Exception | None, int], Awaitable["httpx2.Response | JackfieldError | None"]]
"""Opens a stream again: after which event, why its connection ended, and how many in a row brought nothing. `None`, or
an error for the request that it answers, where it cannot be opened again."""


class Post:
    """One posted JSON-RPC request, until no one waits for its answer; or the standing stream.

    Args:
        request_id: Its JSON-RPC id.
    """

    def __init__(self, request_id: RequestId | None = None) -> None:
        self.request_id = request_id
        self.is_given_up: bool = False
        self.retry_seconds: float | None = None
        """How long the server asks to wait before its stream is opened again."""
        self.scope: anyio.CancelScope | None = None
        """Of what is waited for now."""

    def give_up(self) -> None:
        """No one waits for the answer: end its pending operations."""
        self.is_given_up = True
        if self.scope is not None:
            self.scope.cancel()

    def waiting(self) -> _Waiting:
        """Wait for something inside; left early when the request is given up."""
        return _Waiting(self)

    @property
    def given_up_answer(self) -> SessionMessage:
        """Ends the SDK's waiting; not visible to anyone else."""
        error = ErrorData(code=INTERNAL_ERROR, message="given up")
        return SessionMessage(JSONRPCError(jsonrpc="2.0", id=self.request_id, error=error))


class _Waiting:
    """A block that is left early when a post is given up."""

    __slots__: tuple[str, ...] = ("_post", "_scope")

    def __init__(self, post: Post) -> None:
        self._post = post
        self._scope = anyio.CancelScope()

    def __enter__(self) -> None:
        self._scope.__enter__()
        self._post.scope = self._scope
        if self._post.is_given_up:
            self._scope.cancel()

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._post.scope = None
        return self._scope.__exit__(exc_type, exc, traceback)


class EventStream(httpx2.AsyncByteStream):
    """Server-sent events, each whole, each once, from as many connections as it takes.

    Args:
        response: Its body is the first.
        report: Records events that cannot be delivered.
        limit_bytes: The largest accepted event.
        record: The request that the stream answers; `None` where it brings the answers of all.
        seen: The ids that came before.
        post: What it answers, or the standing stream.
        resume: How it continues; it ends with its connection if omitted.
        on_event: Sees each event of the older transport; those that it refuses are left out.
        on_answered: Called when the SDK has the answer to the request, and reads no further.
    """

    def __init__(
        self,
        response: httpx2.Response,
        report: ConnectionReport,
        limit_bytes: int,
        record: CallRecord | None,
        seen: EventIds,
        post: Post,
        resume: Resume | None = None,
        on_event: Callable[[bytes], bool] | None = None,
        on_answered: Callable[[EventStream], None] | None = None,
    ) -> None:
        self._response = response
        self._report = report
        self._limit = limit_bytes
        self._record = record
        self._seen = seen
        self._post = post
        self._resume = resume
        self._on_event = on_event
        self._on_answered = on_answered
        self._has_answer = False
        self._bytes_to_end: int | None = None
        """How much may follow the answer, once nobody reads the stream for its events."""
        self._events_left: AsyncGeneratorType[bytes, None] | None = None
        self._last_event_id: str | None = None
        self._has_brought = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        # Not the generator itself: who gets one and reads no further leaves it to the garbage collector.
        self._events_left = cast("AsyncGeneratorType[bytes, None]", self._from_connections())
        return _Iterator(self._events_left)

    async def _from_connections(self) -> AsyncGenerator[bytes]:
        fruitless = 0
        while True:
            broken: Exception | None = None
            self._has_brought, opened_at = False, time.monotonic()
            try:
                async with aclosing(self._from_connection()) as events:
                    async for event in events:
                        yield event
            except Exception as error:
                # Whatever is wrong with it, it is the end of this connection alone.
                broken = error
            if self._bytes_to_end is not None:
                return
            # A caller that has its answer closes the stream: this is not reached.
            fruitless = 0 if self._has_brought or time.monotonic() - opened_at >= _STEADY_SECONDS else fruitless + 1
            following = await self._following(broken, fruitless)
            if not isinstance(following, httpx2.Response):
                break
            self._response = following
        if self._post.is_given_up:
            yield _as_events(self._post.given_up_answer)[0]
        elif self._record is not None and following is not None:
            yield _as_events(self._report.requests.fail(self._record, following))[0]

    async def _from_connection(self) -> AsyncGenerator[bytes]:
        framer, is_first = EventFramer(self._limit), True
        try:
            async with aclosing(decoded(self._response)) as chunks:
                while (data := await self._next(chunks)) is not None:
                    if self._bytes_to_end is not None:
                        self._bytes_to_end -= len(data)
                        if self._bytes_to_end < 0:
                            return
                        continue
                    if is_first:
                        data, is_first = data.removeprefix(_BOM), False
                    for event in self._events(framer, data):
                        yield event
        finally:
            await self._response.aclose()

    async def _following(self, broken: Exception | None, fruitless: int) -> httpx2.Response | JackfieldError | None:
        if self._resume is None or self._post.is_given_up:
            return None
        with self._post.waiting():
            return await self._resume(self._last_event_id, broken, fruitless)
        return None

    async def _next(self, chunks: AsyncGenerator[bytes]) -> bytes | None:
        with self._post.waiting():
            return await anext(chunks, None)
        return None

    def _events(self, framer: EventFramer, data: bytes) -> list[bytes]:
        events: list[bytes] = []
        while True:
            try:
                events += framer.feed(data)
            except OversizeEventError as oversize:
                events += oversize.before
                events += _as_events(too_long(self._report, oversize.message, record=self._record))
                data = b""
            else:
                break
        return [readable for event in events if self._is_new(event) for readable in self._readable(event)]

    def _is_new(self, event: bytes) -> bool:
        if (name := event_id(event)) is None:
            return True
        if self._resume is not None and name.isprintable() and name == name.strip():
            self._last_event_id = name
        return self._seen.is_new(name)

    def _readable(self, event: bytes) -> list[bytes]:
        """The event if its message can be read; otherwise its replacement, if any."""
        if self._on_event is not None and not self._on_event(event):
            return []
        if self._on_event is None and (event.startswith(b"retry") or b"\nretry" in event or b"\rretry" in event):
            event = _RETRY_FIELD.sub(self._take_retry, event)
        data = event_data(event)
        if not data:
            return [event]
        self._has_brought = True
        if (message := read_message(data)) is None:
            if messages := batched(data):
                name = event_id(event)
                before = b"" if name is None else f"id: {name}\n".encode()
                events = [b"%bdata: %b\n\n" % (before, one) for one in messages]
                return [readable for one in events for readable in self._readable(one)]
            return _as_events(unreadable(self._report, data, self._record))
        if self._record is not None and isinstance(message.message, JSONRPCResponse | JSONRPCError):
            self._has_answer = True
        if message.is_as_written:
            return [event]
        name = event_id(event)
        return [*([] if name is None else [f"id: {name}\n".encode()]), *_as_events(SessionMessage(message.message))]

    def _take_retry(self, field: re.Match[bytes]) -> bytes:
        value = field[2] or b""
        if value.isdigit() and len(value) <= _MAX_RETRY_DIGITS:
            self._post.retry_seconds = int(value) / 1000
        return field[1] + b":"

    async def aclose(self) -> None:
        if self._has_answer and self._on_answered is not None and not self._post.is_given_up:
            self._on_answered(self)
        else:
            await self.close()

    async def end(self, limit_bytes: int, seconds: float) -> None:
        """Read what follows the answer, which is nothing but the end, so that the connection can be used again.

        Args:
            limit_bytes: Read no more than that.
            seconds: Wait no longer for it.
        """
        assert self._events_left is not None
        self._bytes_to_end = limit_bytes
        try:
            with anyio.move_on_after(seconds):
                async for _ in self._events_left:
                    pass
        finally:
            with anyio.CancelScope(shield=True):
                await self.close()

    async def close(self) -> None:
        """Read no further; a connection whose body has not ended is closed."""
        await self._response.aclose()
        if self._events_left is not None and not self._events_left.ag_running:
            await self._events_left.aclose()


class _Iterator:
    """Gives what a generator does, and leaves closing it to its owner."""

    def __init__(self, inner: AsyncGenerator[bytes]) -> None:
        self._inner = inner

    def __aiter__(self) -> _Iterator:
        return self

    def __anext__(self) -> Awaitable[bytes]:
        return self._inner.__anext__()


async def whole_body(
    response: httpx2.Response, report: ConnectionReport, limit_bytes: int, record: CallRecord | None
) -> bytes:
    """A body in one piece. As an answer it is one to the request that it came with, whatever id it gives.

    Args:
        response: Whose body it is.
        report: Learns of an answer that cannot be delivered.
        limit_bytes: The longest to let through.
        record: The request; `None` where it is none of MCP.
    """
    body = bytearray()
    failure: JackfieldError | None = None
    try:
        async with aclosing(decoded(response)) as chunks:
            async for data in chunks:
                body += data
                if len(body) > limit_bytes:
                    failure = limit_exceeded(report, None)
                    break
    except Exception as error:
        failure = cut_off(report, error)
    if record is None:
        return b"" if failure is not None else bytes(body)
    if failure is not None:
        if record.scope is None:
            report.note_failure(failure)
        return _as_json(report.requests.fail(record, failure))
    return _answer(bytes(body), report, record)


def _answer(body: bytes, report: ConnectionReport, record: CallRecord) -> bytes:
    assert record.request_id is not None
    if is_result_of(record.request_id, body):
        return body
    body = next((one for one in batched(body) if is_result_of(record.request_id, one)), body)
    read = read_message(body)
    if read is None or not isinstance(read.message, JSONRPCResponse | JSONRPCError):
        body = _with_id(body, record)
        read = read_message(body)
    if read is None or not isinstance(message := read.message, JSONRPCResponse | JSONRPCError):
        return _as_json(unreadable_answer(report, body, record))
    if message.id == record.request_id and read.is_as_written:
        return body
    message.id = record.request_id
    return _as_json(SessionMessage(message))


def _with_id(body: bytes, record: CallRecord) -> bytes:
    """A result without an id, or with the id `null`, as the answer to the request that it came with."""
    message = as_table(parsed_json(body))
    if "result" not in message or "method" in message or message.get("id") is not None:
        return body
    return json.dumps({**message, "id": record.request_id}).encode()


def cut_off(report: ConnectionReport, error: Exception | None) -> JackfieldError:
    """The error of a request whose answer began and could not be read to its end."""
    name = report.config.server_name
    details: dict[str, Any] = {"server_name": name, "sent": True}
    if error is not None and not isinstance(error, httpx2.TransportError):
        reason = str(error) or type(error).__name__
        return RequestError(
            f"The answer of server {name!r} cannot be read ({reason}); the call may have taken effect.",
            hint="The server executed the request; report this to its author.",
            **details,
        )
    how = f"broke ({error})" if error is not None and str(error) else "ended"
    return ServerUnavailableError(
        f"The stream from server {name!r} {how} before the answer came; the call may have taken effect.",
        retryable=True,
        hint="Look at the server's log; make the call again if that does no harm.",
        **details,
    )


def as_answer(post: Post, request: httpx2.Request) -> httpx2.Response:
    """The response to a request that was given up."""
    content = _as_json(post.given_up_answer)
    return httpx2.Response(200, headers={"content-type": "application/json"}, content=content, request=request)


def _as_json(message: SessionMessage) -> bytes:
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _as_events(message: SessionMessage | None) -> list[bytes]:
    return [] if message is None else [b"event: message\ndata: " + _as_json(message) + b"\n\n"]
