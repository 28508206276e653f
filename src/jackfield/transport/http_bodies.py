"""Bodies of HTTP answers on their way to the SDK: bounded, readable, and ending cleanly when they break.

The SDK answers in the server's place where a body cannot be read, and nobody could tell that from the server's own
words. So each message is looked at here, and where a call will have no answer, its record says why.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx2
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCError, JSONRPCResponse, jsonrpc_message_adapter

from ..errors import ServerUnavailableError
from .framing import EventFramer, OversizeEventError, event_data, event_id
from .records import CallRecord, EventIds
from .report import ConnectionReport


class EventStream(httpx2.AsyncByteStream):
    """Server-sent events, each whole, each once.

    Args:
        response: Whose body it is.
        report: Learns of events that cannot be delivered.
        limit_bytes: The longest event to let through.
        record: The request that the stream answers; `None` where it brings the answers of all.
        seen: The ids that came before, on this stream or on one that it goes on with.
    """

    def __init__(
        self,
        response: httpx2.Response,
        report: ConnectionReport,
        limit_bytes: int,
        record: CallRecord | None,
        seen: EventIds,
    ) -> None:
        self._response = response
        self._report = report
        self._record = record
        self._seen = seen
        self._framer = EventFramer(limit_bytes)

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        broken: httpx2.TransportError | None = None
        try:
            async with aclosing(self._response.aiter_bytes()) as chunks:
                async for data in chunks:
                    for event in self._events(data):
                        yield event
        except httpx2.TransportError as error:
            broken = error
        # Whoever has its answer closes the stream and never comes here.
        if self._record is not None:
            self._record.became(self._record.sent, self._cut_off(broken))

    def _events(self, data: bytes) -> list[bytes]:
        events: list[bytes] = []
        while True:
            try:
                events += self._framer.feed(data)
            except OversizeEventError as oversize:
                events += oversize.before
                events += _as_events(self._report.too_long(oversize.message, record=self._record))
                data = b""
            else:
                break
        new = [event for event in events if (name := event_id(event)) is None or self._seen.is_new(name)]
        return [readable for event in new for readable in self._readable(event)]

    def _readable(self, event: bytes) -> list[bytes]:
        """The event, if its message can be read; else what is delivered in its place, if anything is."""
        data = event_data(event)
        if not data or _is_message(data.decode("utf-8", "replace")):
            return [event]
        return _as_events(self._report.unreadable(data, self._record))

    def _cut_off(self, error: httpx2.TransportError | None) -> ServerUnavailableError:
        name = self._report.config.server_name
        how = f"broke ({error})" if error is not None and str(error) else "ended"
        return ServerUnavailableError(
            f"The stream from server {name!r} {how} before the answer came; the call may have taken effect.",
            server_name=name,
            sent=True,
            retryable=True,
            hint="Look at the server's log; make the call again if that does no harm.",
        )

    async def aclose(self) -> None:
        await self._response.aclose()


class BoundedBody(httpx2.AsyncByteStream):
    """An answer in one piece. It answers the request that it came with, whatever id it gives.

    Args:
        response: Whose body it is.
        report: Learns of an answer that cannot be delivered.
        limit_bytes: The longest to let through.
        record: The request.
    """

    def __init__(
        self, response: httpx2.Response, report: ConnectionReport, limit_bytes: int, record: CallRecord
    ) -> None:
        self._response = response
        self._report = report
        self._limit = limit_bytes
        self._record = record

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        body = bytearray()
        async with aclosing(self._response.aiter_bytes()) as chunks:
            async for data in chunks:
                body += data
                if len(body) > self._limit:
                    error = self._report.limit_exceeded(None)
                    yield _as_json(self._report.requests.fail(self._record, error))
                    return
        yield self._answer(bytes(body))

    def _answer(self, body: bytes) -> bytes:
        try:
            message = jsonrpc_message_adapter.validate_json(body, by_name=False)
        except ValueError:
            message = None
        if not isinstance(message, JSONRPCResponse | JSONRPCError):
            return _as_json(self._report.unreadable_answer(body, self._record))
        if message.id == self._record.request_id:
            return body
        assert self._record.request_id is not None
        message.id = self._record.request_id
        return _as_json(SessionMessage(message))

    async def aclose(self) -> None:
        await self._response.aclose()


def _is_message(text: str) -> bool:
    try:
        jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValueError:
        return False
    return True


def _as_json(message: SessionMessage) -> bytes:
    return message.message.model_dump_json(by_alias=True, exclude_unset=True).encode()


def _as_events(message: SessionMessage | None) -> list[bytes]:
    return [] if message is None else [b"event: message\ndata: " + _as_json(message) + b"\n\n"]
