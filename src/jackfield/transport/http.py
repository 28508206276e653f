"""Streamable HTTP and SSE: the SDK's transports over an HTTP client that tells what went wrong.

The SDK turns any HTTP failure into one and the same message, and a refused connection into the end of
the whole transport. The client here notes status, content type and connection errors for the error
text, marks the call they belong to, and hands the SDK an ordinary failed response, so that one failed
request costs only that request. A broken stream of events ends cleanly here, whereupon the SDK opens it
again with `Last-Event-ID`; where that fails it would give up after two attempts, so it is held here
until the server can be reached again or says no.

Source: MCP 2025-11-25, basic/transports "Streamable HTTP"; 2026-07-28, the same; 2024-11-05 "HTTP with SSE".
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from inspect import signature
from typing import Any

import anyio
import httpx2
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client

from ..config.oauth import OAuthConfig
from ..config.servers import HttpConfig, SseConfig
from ..config.tls import tls_context
from ..errors import JackfieldError, ServerUnavailableError
from .http_bodies import BoundedBody, EventStream
from .http_failures import (
    SESSION_HEADER,
    answer_as_error,
    answers_request,
    connection_failure,
    is_followed,
    media_type,
    not_mcp,
    status_failure,
)
from .http_messages import RecordingWriter, WatchedReader
from .records import CallRecord, EventIds, current_call
from .report import ConnectionReport, bad_answer
from .scanning import MessageScanner

logger: logging.Logger = logging.getLogger("jackfield")

_LAST_EVENT_HEADER = "last-event-id"
_QUOTED_BODY_BYTES = 4096
_ANSWER_TYPES = ("application/json", "text/event-stream")
# The length of an event is bounded below the SDK, where a call can be told why it failed; the SDK bounds it since 2.3.
_NO_BOUND_OF_THE_SDK: dict[str, Any] = (
    {"max_sse_event_size": None} if "max_sse_event_size" in signature(streamable_http_client).parameters else {}
)


@asynccontextmanager
async def http_transport(config: HttpConfig, report: ConnectionReport) -> AsyncGenerator[tuple[WatchedReader, Any]]:
    """Connect over Streamable HTTP; on exit the server is told by DELETE."""
    async with (
        _http_client(config, report) as client,
        streamable_http_client(
            config.url,
            http_client=client,
            terminate_on_close=config.terminate_on_close,
            **_NO_BOUND_OF_THE_SDK,
        ) as (reader, writer),
        anyio.create_task_group() as tasks,
    ):
        yield WatchedReader(reader, report, tasks), RecordingWriter(writer, report, tasks)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def sse_transport(config: SseConfig, report: ConnectionReport) -> AsyncGenerator[tuple[WatchedReader, Any]]:
    """Connect over SSE."""

    def client_factory(
        headers: dict[str, str] | None = None, timeout: httpx2.Timeout | None = None, auth: httpx2.Auth | None = None
    ) -> httpx2.AsyncClient:
        return _http_client(config, report)

    def session_created(session_id: str) -> None:
        report.http_session_id = session_id

    async with (
        sse_client(
            config.url,
            timeout=config.timeout,
            sse_read_timeout=config.sse_read_timeout,
            httpx_client_factory=client_factory,
            on_session_created=session_created,
        ) as (reader, writer),
        anyio.create_task_group() as tasks,
    ):
        yield WatchedReader(reader, report, tasks), RecordingWriter(writer, report, tasks)
        tasks.cancel_scope.cancel()


# The SDK's limit for one event over SSE, which cannot be set, less what our own answer needs.
_SSE_EVENT_BYTES = 1024 * 1024 - 4096


def _http_client(config: HttpConfig | SseConfig, report: ConnectionReport) -> httpx2.AsyncClient:
    # A session's calls are bounded by `max_concurrency`, not by how many connections happen to be pooled.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
    inner: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(verify=tls_context(config), limits=limits)
    if config.oauth is not None:
        # Sessions over stdio need none of it.
        from ..auth.bearer import BearerTransport

        inner = BearerTransport(config, inner)
    return httpx2.AsyncClient(
        headers=config.header_values(),
        auth=None if isinstance(config.auth, str | OAuthConfig) else config.auth,
        timeout=httpx2.Timeout(config.timeout, read=config.sse_read_timeout),
        transport=_ReportingTransport(config, report, inner),
    )


class _ReportingTransport(httpx2.AsyncBaseTransport):
    def __init__(
        self, config: HttpConfig | SseConfig, report: ConnectionReport, inner: httpx2.AsyncBaseTransport
    ) -> None:
        self._config = config
        self._report = report
        self._inner = inner
        self._is_sse = isinstance(config, SseConfig)
        self._standing_streams = 0
        self._seen_ids = EventIds()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        record = current_call.get()
        if request.method == "DELETE":
            return await self._delete(request)
        if request.method == "GET" and not self._is_sse:
            response, failure = await self._attempt(request)
            return await self._opened_stream(request, response, failure, record)
        if request.method == "POST":
            await request.aread()  # One that follows a redirect carries its body as a stream only.
            message = MessageScanner(request.content)
            if record is not None and (message.request_id != record.request_id or "method" not in message.members):
                record = None  # Something else that is sent in the same context, such as a request for a token.
            if record is not None:
                request.headers.update(record.headers)
            if self._is_sse or record is None:
                # It is only acknowledged, at once; what hangs would hold up all that is sent after it.
                _bound_reading(request, self._config.timeout)
        response, failure = await self._attempt(request)
        self._report.note_failure(failure)
        if record is not None:
            failure = failure or self._without_answer(request, record.method, response)
            record.became(failure.sent if failure else True, failure)
        if failure is None:
            return self._bounded(request, response, record)
        if request.method == "POST" and self._is_sse:
            # The SDK's writer would end at a failed POST and let every later call wait for its timeout.
            if record is not None and record.scope is not None:
                record.scope.cancel()
            else:
                self._report.give_up_opening()
            await response.aclose()
            return httpx2.Response(202, request=request)
        return response

    async def _delete(self, request: httpx2.Request) -> httpx2.Response:
        """Tell the server that the session is over. It being gone already is no fault worth a warning."""
        if self._report.loss is None:
            _bound_reading(request, self._config.session.close_timeout)
            response, failure = await self._attempt(request)
            if failure is None:
                return response
            logger.debug("[MCP][%s] DELETE of the session failed: %s", self._config.server_name, failure.message)
            await response.aclose()
        return httpx2.Response(204, request=request)

    async def _attempt(self, request: httpx2.Request) -> tuple[httpx2.Response, JackfieldError | None]:
        try:
            response = await self._inner.handle_async_request(request)
        except httpx2.TransportError as error:
            failure = connection_failure(self._config, error)
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                failure.sent = False
            return httpx2.Response(503, request=request), failure
        except JackfieldError as failure:
            # There was no token to send it with.
            return httpx2.Response(503, request=request), failure
        if session_id := response.headers.get(SESSION_HEADER):
            self._report.http_session_id = session_id
        return response, await self._answer_failure(request, response)

    async def _opened_stream(
        self,
        request: httpx2.Request,
        response: httpx2.Response,
        failure: JackfieldError | None,
        record: CallRecord | None,
    ) -> httpx2.Response:
        """Hold a GET until there is a stream. With a caller's record it goes on with that call's answer, else it is
        a standing stream of what the server says unasked."""
        settings = self._config.session
        is_call = record is not None and record.scope is not None
        attempt = 1
        while failure is not None and failure.retryable and isinstance(failure, ServerUnavailableError):
            attempt += 1
            if record is not None and is_call and attempt > max(settings.retry_attempts, 1):
                record.became(record.sent, failure)
                break
            await response.aclose()
            await anyio.sleep(settings.wait_before(attempt, failure.retry_after))
            response, failure = await self._attempt(request)
        if failure is None:
            if record is not None:
                record.became(record.sent)
            if not is_call:
                self._standing_streams += 1
            if is_call or self._standing_streams > 1:
                self._report.on_renewed(_LAST_EVENT_HEADER in request.headers)
            return self._bounded(request, response, record)
        if failure.state_lost and (is_call or self._standing_streams):
            # Before a first stream a 404 rather means that this server offers none.
            self._report.mark_lost(failure)
        return response

    def _bounded(
        self, request: httpx2.Request, response: httpx2.Response, record: CallRecord | None
    ) -> httpx2.Response:
        """The response with its body held to `max_message_bytes`."""
        kind = media_type(response)
        limit = self._config.session.max_message_bytes
        if kind == "text/event-stream":
            if self._is_sse:
                limit = min(limit, _SSE_EVENT_BYTES)
            seen = self._seen_ids if record is None else record.seen_ids
            stream: httpx2.AsyncByteStream = EventStream(response, self._report, limit, record, seen)
        elif record is not None and kind == "application/json" and not self._is_sse:
            stream = BoundedBody(response, self._report, limit, record)
        else:
            return response
        kept = [
            (name, value)
            for name, value in response.headers.multi_items()
            if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
        ]
        return httpx2.Response(
            response.status_code, headers=kept, stream=stream, request=request, extensions=response.extensions
        )

    async def _answer_failure(self, request: httpx2.Request, response: httpx2.Response) -> JackfieldError | None:
        status = response.status_code
        kind = media_type(response)
        if status < 400:
            wants_answer = request.method == "GET" or not self._is_sse
            if status == 200 and request.method != "DELETE" and wants_answer and kind not in _ANSWER_TYPES:
                return not_mcp(self._config, kind)
            return None
        body = ""
        if (
            kind != "text/event-stream"
            and int(response.headers.get("content-length", _QUOTED_BODY_BYTES)) <= _QUOTED_BODY_BYTES
        ):
            with anyio.move_on_after(self._config.timeout):
                body = (await response.aread()).decode("utf-8", "replace")
        if request.method == "POST" and answers_request(self._config, request, status, body):
            if self._is_sse:
                # Answers come on the standing stream; this one would not reach its request.
                return answer_as_error(self._config, request, body)
            response.headers["content-type"] = "application/json"  # The SDK does not look into what claims another.
            return None
        return status_failure(self._config, request, response, body)

    def _without_answer(self, request: httpx2.Request, method: str, response: httpx2.Response) -> JackfieldError | None:
        """The failure of a request whose response brings no answer, though its status is no error's.

        The SDK would answer in the server's place.
        """
        status = response.status_code
        if status >= 400 or (status not in (202, 204) and status < 300 and media_type(response) in _ANSWER_TYPES):
            return None
        if is_followed(request, response):
            return None
        if status >= 300:
            return status_failure(self._config, request, response, "")
        return None if self._is_sse else bad_answer(self._config, method, f"HTTP {status} without a message")

    async def aclose(self) -> None:
        await self._inner.aclose()


def _bound_reading(request: httpx2.Request, seconds: float) -> None:
    request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": seconds}
