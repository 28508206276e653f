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

import contextlib
import json
import logging
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from inspect import signature
from types import TracebackType
from typing import Any

import anyio
import httpx2
from anyio.abc import TaskGroup
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification
from pydantic import ValidationError

from ..config.oauth import OAuthConfig
from ..config.servers import HttpConfig, SseConfig
from ..errors import (
    AuthenticationError,
    JackfieldError,
    ServerUnavailableError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
)
from .report import UNREADABLE_CODE, CallRecord, ConnectionReport, EventIds, current_call, failed_answer
from .streams import BoundedBody, EventStream

logger: logging.Logger = logging.getLogger("jackfield")

_SESSION_HEADER = "mcp-session-id"
_LAST_EVENT_HEADER = "last-event-id"
_QUOTED_BODY_BYTES = 4096
_ANSWER_TYPES = ("application/json", "text/event-stream")
# The length of an event is bounded below the SDK, where a call can be told why it failed; the SDK bounds it since 2.3.
_NO_BOUND_OF_THE_SDK: dict[str, Any] = (
    {"max_sse_event_size": None} if "max_sse_event_size" in signature(streamable_http_client).parameters else {}
)


@asynccontextmanager
async def http_transport(config: HttpConfig, report: ConnectionReport) -> AsyncGenerator[tuple[_WatchedReader, Any]]:
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
        yield _WatchedReader(reader, report, tasks), _RecordingWriter(writer, tasks)
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def sse_transport(config: SseConfig, report: ConnectionReport) -> AsyncGenerator[tuple[_WatchedReader, Any]]:
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
        yield _WatchedReader(reader, report, tasks), _RecordingWriter(writer, tasks)
        tasks.cancel_scope.cancel()


# The SDK's limit for one event over SSE, which cannot be set, less what our own answer needs.
_SSE_EVENT_BYTES = 1024 * 1024 - 4096


def _http_client(config: HttpConfig | SseConfig, report: ConnectionReport) -> httpx2.AsyncClient:
    verify: Any = config.verify if isinstance(config.verify, bool) else str(config.verify)
    # A session's calls are bounded by `max_concurrency`, not by how many connections happen to be pooled.
    limits = httpx2.Limits(max_connections=None, max_keepalive_connections=20)
    inner: httpx2.AsyncBaseTransport = httpx2.AsyncHTTPTransport(verify=verify, limits=limits)
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
        if record is not None and request.method == "POST":
            request.headers.update(record.headers)
        if request.method == "DELETE":
            return await self._delete(request)
        if request.method == "POST":
            await request.aread()  # One that follows a redirect carries its body as a stream only.
        if request.method == "POST" and (self._is_sse or not _is_request(request)):
            # It is only acknowledged, at once; what hangs would hold up all that is sent after it.
            _bound_reading(request, self._config.timeout)
        response, failure = await self._attempt(request)
        if request.method == "GET" and not self._is_sse:
            return await self._opened_stream(request, response, failure, record)
        self._report.note_failure(failure)
        if failure is None:
            if record is not None and request.method == "POST":
                record.sent = True
            return self._bounded(request, response, record)
        if request.method != "POST":
            return response
        if record is not None:
            record.failure = failure
            record.sent = failure.sent
        if self._is_sse:
            # The SDK's writer would end at a failed POST and let every later call wait for its timeout.
            if record is not None:
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
            failure = _connection_failure(self._config, error)
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                failure.sent = False
            return httpx2.Response(503, request=request), failure
        except JackfieldError as failure:
            # There was no token to send it with.
            return httpx2.Response(503, request=request), failure
        if session_id := response.headers.get(_SESSION_HEADER):
            self._report.http_session_id = session_id
        return response, await self._answer_failure(request, response)

    async def _opened_stream(
        self,
        request: httpx2.Request,
        response: httpx2.Response,
        failure: JackfieldError | None,
        record: CallRecord | None,
    ) -> httpx2.Response:
        """Hold a GET until there is a stream. With a record it goes on with that call's answer, else it is
        the session's standing stream of what the server says unasked."""
        settings = self._config.session
        attempt = 1
        while failure is not None and failure.retryable and isinstance(failure, ServerUnavailableError):
            attempt += 1
            if record is not None and attempt > max(settings.retry_attempts, 1):
                record.failure = failure
                break
            await response.aclose()
            await anyio.sleep(settings.wait_before(attempt, failure.retry_after))
            response, failure = await self._attempt(request)
        if failure is None:
            if record is not None:
                record.failure = None
            else:
                self._standing_streams += 1
            if record is not None or self._standing_streams > 1:
                self._report.on_renewed(_LAST_EVENT_HEADER in request.headers)
            return self._bounded(request, response, record)
        if failure.state_lost and (record is not None or self._standing_streams):
            # Before a first stream a 404 rather means that this server offers none.
            self._report.mark_lost(failure)
        return response

    def _bounded(
        self, request: httpx2.Request, response: httpx2.Response, record: CallRecord | None
    ) -> httpx2.Response:
        """The response with its body held to `max_message_bytes`."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        limit = self._config.session.max_message_bytes
        if kind == "text/event-stream":
            if self._is_sse:
                limit = min(limit, _SSE_EVENT_BYTES)
            seen = self._seen_ids if record is None else (EventIds() if record.seen_ids is None else record.seen_ids)
            if record is not None:
                record.seen_ids = seen
            stream: httpx2.AsyncByteStream = EventStream(response, self._report, limit, record, seen)
        elif request.method == "POST" and kind == "application/json":
            stream = BoundedBody(response, self._report, limit, request.content)
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
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if status < 400:
            wants_answer = request.method == "GET" or not self._is_sse
            if status == 200 and request.method != "DELETE" and wants_answer and kind not in _ANSWER_TYPES:
                return _not_mcp(self._config, kind)
            return None
        body = ""
        if (
            kind != "text/event-stream"
            and int(response.headers.get("content-length", _QUOTED_BODY_BYTES)) <= _QUOTED_BODY_BYTES
        ):
            with anyio.move_on_after(self._config.timeout):
                body = (await response.aread()).decode("utf-8", "replace")
        if _is_rpc_error(body) and not _concerns_session(request, status, body):
            return None
        return _status_failure(self._config, request, response, body)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _is_request(request: httpx2.Request) -> bool:
    """Whether a POST is one that is answered: a JSON-RPC request, not a notification or a response."""
    try:
        message = json.loads(request.content)
    except ValueError:
        return False
    return isinstance(message, dict) and "id" in message and "method" in message


def _bound_reading(request: httpx2.Request, seconds: float) -> None:
    request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": seconds}


def _details(config: HttpConfig | SseConfig, **more: Any) -> dict[str, Any]:
    return {"server_name": config.server_name, **more}


def _connection_failure(config: HttpConfig | SseConfig, error: httpx2.TransportError) -> JackfieldError:
    """What a failed connection means and what to look at."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout):
        problem, hint = (
            f"no connection within {config.timeout:g} s",
            "Check host and port, or raise the config's timeout.",
        )
    elif isinstance(error, httpx2.ReadTimeout):
        problem, hint = "the connection fell silent", "Raise sse_read_timeout if the server may be silent for so long."
    elif re.search(r"certificate|ssl|tls", reason, re.IGNORECASE):
        problem, hint = (
            f"TLS failed ({reason})",
            "Check the URL's scheme; give `verify` the file of your own authority.",
        )
    elif re.search(r"name or service|resolution|getaddrinfo|nodename", reason, re.IGNORECASE):
        problem, hint = "its host name is unknown", "Check the URL for a typing mistake."
    elif isinstance(error, httpx2.ConnectError):
        problem, hint = f"connection failed ({reason})", "Check that the server runs, and its host and port."
    else:
        problem, hint = f"the connection broke ({reason})", "Try again; look at the server's log if it happens again."
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} cannot be reached: {problem}.",
        **_details(config, retryable=True, hint=hint),
    )


def _not_mcp(config: HttpConfig | SseConfig, kind: str) -> JackfieldError:
    what = "a web page" if kind == "text/html" else f"{kind or 'something without a content type'}"
    return ServerUnavailableError(
        f"{config.address} answered with {what}, not with MCP.",
        **_details(config, sent=True, hint="Check the path of the URL: it often ends in /mcp, or in /sse for SSE."),
    )


def _is_rpc_error(body: str) -> bool:
    """Whether a failed request was answered in the protocol's own terms, which then say more than the status.

    Source: MCP 2026-07-28, basic/transports "Streamable HTTP": errors have an HTTP status as well.
    """
    try:
        parsed = json.loads(body)
    except ValueError:
        return False
    return isinstance(parsed, dict) and "jsonrpc" in parsed and "error" in parsed


def _concerns_session(request: httpx2.Request, status: int, body: str) -> bool:
    """Whether the failure is of the session or of who may use it, rather than of this one request."""
    if status in (401, 403):
        return True
    return _names_session(request) and (status == 404 or (status == 400 and "session" in body.lower()))


def _names_session(request: httpx2.Request) -> bool:
    """Whether the request belongs to a session: by its header, or over SSE by the address it got from the server."""
    return _SESSION_HEADER in request.headers or "session" in str(request.url.query)


def _status_failure(
    config: HttpConfig | SseConfig, request: httpx2.Request, response: httpx2.Response, body: str
) -> JackfieldError:
    """What an HTTP status means for a session."""
    from ..auth.bearer import missing_scope
    from ..auth.store import sign_in_hint

    status = response.status_code
    has_session = _names_session(request)
    output = None if "<html" in body.lower() else body or None
    say = f"Server {config.server_name!r} at {config.address} answered HTTP {status}"
    if status == 401:
        hint = "Set headers={'Authorization': 'Bearer ...'} or auth= in its config."
        if config.oauth is not None:
            hint = sign_in_hint(config.server_name, "to sign in, or set headers={'Authorization': ...} in its config")
        return AuthenticationError(
            f"{say}: it wants credentials, or does not accept those it got.",
            **_details(config, sent=False, hint=hint),
        )
    if status == 403:
        hint = "Check the token's scopes, or the server's allowed hosts and origins."
        if config.oauth is not None and (scope := missing_scope(response)) is not None:
            again = sign_in_hint(config.server_name, "again")
            hint = f"It wants another scope ({scope}): add that to auth.scopes in its config. {again}"
        return AuthenticationError(
            f"{say}: these credentials may not do that.", **_details(config, sent=False, hint=hint)
        )
    if status == 404 and has_session:
        return SessionExpiredError(
            f"Server {config.server_name!r} no longer knows this session (HTTP 404).",
            **_details(config, sent=False, state_lost=True, retryable=True, hint="Open the session again."),
        )
    if status == 400 and has_session and "session" in body.lower():
        return SessionInvalidError(
            f"Server {config.server_name!r} does not accept this session id (HTTP 400).",
            **_details(
                config,
                sent=False,
                state_lost=True,
                retryable=True,
                server_output=output,
                hint="Open the session again.",
            ),
        )
    if status == 409:
        return SessionConflictError(
            f"{say}: another connection holds this session.",
            **_details(config, sent=False, retryable=True, hint="Close the other connection, or use another key."),
        )
    if status in (404, 405, 406, 410):
        other = "an SseConfig (transport sse)" if isinstance(config, HttpConfig) else "an HttpConfig (transport http)"
        return ServerUnavailableError(
            f"{say}: no MCP server is at this path.",
            **_details(config, sent=False, hint=f"Check the path of the URL (often /mcp or /sse), or use {other}."),
        )
    if status == 429 or status >= 500:
        wait = _retry_after(response)
        hint = f"Try again in {wait:g} s." if wait is not None else "Try again; look at the server's log."
        # A gateway's 5xx says nothing of how far the server behind it got.
        sent = False if status in (429, 503) else None
        return ServerUnavailableError(
            f"{say}.",
            **_details(config, sent=sent, retryable=True, server_output=output, hint=hint, retry_after=wait),
        )
    return ServerUnavailableError(f"{say}.", **_details(config, sent=None, server_output=output))


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, which a server may also give as a date.

    Source: RFC 9110, section 10.2.3.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(when.tzinfo)).total_seconds())


class _WatchedReader:
    """The SDK's read stream; tells the report when it ends."""

    def __init__(self, inner: Any, report: ConnectionReport, tasks: TaskGroup) -> None:
        self._inner = inner
        self._report = report
        self._tasks = tasks
        self._closed = False

    @property
    def last_context(self) -> Any:
        """The context of the task that put the last message in; the SDK's receive loop looks for it."""
        return self._inner.last_context

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._inner.receive()
            except anyio.EndOfStream:
                self._report.mark_lost()
                raise
            if isinstance(item, ValidationError):
                item = self._answer_for(item)
            if not isinstance(item, SessionMessage) or not isinstance(item.message, JSONRPCNotification):
                return item
            if self._report.admits_notification():
                return item

    @staticmethod
    def _answer_for(error: ValidationError) -> SessionMessage | Exception:
        """Tells whoever waits for an answer that cannot be read; the SDK would let them wait."""
        text = error.errors()[0].get("input")
        data = text.encode() if isinstance(text, str) else b""
        return failed_answer(data, UNREADABLE_CODE, "the answer is no valid message") or error

    async def aclose(self) -> None:
        # The SDK would log a traceback for each message that still comes while the connection is being closed.
        if not self._closed:
            self._closed = True
            self._tasks.start_soon(self._pass_over)

    async def _pass_over(self) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                await self._inner.receive()

    def __aiter__(self) -> _WatchedReader:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def __aenter__(self) -> _WatchedReader:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()


class _RecordingWriter:
    """The SDK's write stream; marks a call whose message is on its way as perhaps sent."""

    def __init__(self, inner: Any, tasks: TaskGroup) -> None:
        self._inner = inner
        self._tasks = tasks

    async def send(self, item: SessionMessage, /) -> None:
        if getattr(item.message, "method", None) == "notifications/cancelled":
            # Whoever is out of time must not wait for a hanging server to take note of it.
            self._tasks.start_soon(self._send_later, item)
            return
        record = current_call.get()
        if record is not None and getattr(item.message, "method", None) == record.method:
            record.sent = None
        await self._inner.send(item)

    async def _send_later(self, item: SessionMessage) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def __aenter__(self) -> _RecordingWriter:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
