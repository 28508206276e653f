"""Bodies of HTTP answers on their way to the SDK: bounded, and ending cleanly when they break."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing

import httpx2

from ..errors import ServerUnavailableError
from .framing import EventFramer, OversizeEventError, event_id
from .report import LIMIT_CODE, CallRecord, ConnectionReport, EventIds


class EventStream(httpx2.AsyncByteStream):
    """Server-sent events, each whole, each once.

    Args:
        response: Whose body it is.
        report: Learns of events beyond the limit.
        limit_bytes: The longest event to let through.
        record: The call that waits for it, if one does.
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
            self._record.failure = self._cut_off(broken)

    def _events(self, data: bytes) -> list[bytes]:
        events: list[bytes] = []
        while True:
            try:
                events += self._framer.feed(data)
            except OversizeEventError as oversize:
                events += oversize.before
                if (answer := self._report.too_long(oversize.start)) is not None:
                    text = answer.message.model_dump_json(by_alias=True, exclude_unset=True)
                    events.append(f"event: message\ndata: {text}\n\n".encode())
                data = b""
            else:
                break
        return [event for event in events if (name := event_id(event)) is None or self._seen.is_new(name)]

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
    """An answer in one piece; in the place of one beyond the limit stands an error.

    Args:
        response: Whose body it is.
        report: Learns of an answer beyond the limit.
        limit_bytes: The longest to let through.
        request_body: The request, whose id the error has.
    """

    def __init__(
        self, response: httpx2.Response, report: ConnectionReport, limit_bytes: int, request_body: bytes
    ) -> None:
        self._response = response
        self._report = report
        self._limit = limit_bytes
        self._request_body = request_body

    async def __aiter__(self) -> AsyncGenerator[bytes]:
        body = bytearray()
        async with aclosing(self._response.aiter_bytes()) as chunks:
            async for data in chunks:
                body += data
                if len(body) > self._limit:
                    yield self._too_long()
                    return
        yield bytes(body)

    def _too_long(self) -> bytes:
        error = self._report.reach_limit("max_message_bytes", f"sent a message of more than {self._limit:,} bytes")
        asked = json.loads(self._request_body).get("id")
        answer = {"jsonrpc": "2.0", "id": asked, "error": {"code": LIMIT_CODE, "message": error.message}}
        return json.dumps(answer).encode()

    async def aclose(self) -> None:
        await self._response.aclose()
