"""`ReportingTransport`: the requests of a connection over HTTP, and what became of each.

Status, content type and connection errors are noted for the error text and for the call that they belong to. The SDK
gets an ordinary failed response, so that one failed request costs only that request.

Source: MCP 2025-11-25, basic/transports "Streamable HTTP"; 2026-07-28, the same; 2024-11-05 "HTTP with SSE".
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from weakref import WeakValueDictionary

import anyio
import httpx2
from anyio.abc import TaskGroup

from ..config.servers import HttpConfig, SseConfig
from ..errors import JackfieldError, SessionExpiredError
from ..http_content import beginning, content_headers
from ..masking import keep_secret
from ..plain import as_table, parsed_json, readable_json
from .bad_answers import bad_answer
from .framing import event_data
from .http_bodies import EventStream, Post, Resume, as_answer, cut_off, whole_body
from .http_client import WholeResponse, connections, no_answer, sent_again
from .http_failures import (
    SESSION_HEADER,
    answer_as_error,
    answers_request,
    connection_failure,
    foreign_endpoint,
    is_answer,
    is_followed,
    media_type,
    not_mcp,
    sent_on_to,
    status_failure,
)
from .http_streams import EVENTS, RESUME_SECONDS, AnswerStream, StandingStream, is_temporary
from .report import CallRecord, ConnectionReport, current_call
from .scanning import MessageScanner
from .sdk import SSE_EVENT_BYTES

_SESSION_HEADER = SESSION_HEADER.encode()
_ANSWER_TYPES = ("application/json", EVENTS)
_CANCELLED = "notifications/cancelled"
# A JSON-RPC error may stand in it, which is the answer.
_ERROR_BODY_BYTES = 64 * 1024
_QUOTE_SECONDS = 2.0
# As long as a caller may go on after what it sent was acknowledged, and as much as is read of what nobody reads.
_LET_GO_SECONDS = 0.05
_UNHEARD_BYTES = 64 * 1024
# The same for the end of an event stream after its answer, and in how many connections that is waited for.
_STREAM_END_SECONDS = 0.5
_MAX_ENDING_STREAMS = 16
# A server that does not even take a cancellation in that time has the connection of the call closed all the same.
_CANCELLATION_SECONDS = 2.0
_FAILURE = "jackfield_failure"
"""An extension of requests that are made here rather than by the SDK, and of their responses: what went wrong."""


class ReportingTransport(httpx2.AsyncBaseTransport):
    """The boundary to what a server writes: none of it raises an exception here, or affects other requests."""

    def __init__(self, config: HttpConfig | SseConfig, report: ConnectionReport, tasks: TaskGroup) -> None:
        self._config = config
        self._report = report
        self._tasks = tasks
        self._inner = connections(config)
        self._is_sse = isinstance(config, SseConfig)
        self._standing = StandingStream(config, report)
        self.client: httpx2.AsyncClient
        """The request that this transport belongs to."""
        self._posts: WeakValueDictionary[object, Post] = WeakValueDictionary()
        """The requests under way, by their JSON-RPC id."""
        self._odd_session_ids: dict[str, bytes] = {}
        self._has_endpoint = False
        self._ending_streams = 0
        self._authorization = b""
        self._process_id = os.getpid()

    def give_up(self, request_id: object) -> None:
        """No one waits for the answer to a request any longer: close its connection."""
        if (post := self._posts.get(request_id)) is not None:
            post.give_up()

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if os.getpid() != self._process_id:
            # A fork that ends must not end its parent's session, nor write into its connections.
            if request.method == "DELETE":
                return httpx2.Response(204, request=request)
            raise httpx2.ConnectError("this process is a fork of the one that connected", request=request)
        record = current_call.get()
        if self._odd_session_ids:
            self._write_session_id(request)
        if _FAILURE in request.extensions:
            response, response.extensions[_FAILURE] = await self._attempt(request)
            return response
        if request.method == "DELETE":
            return await self._delete(request)
        if request.method == "GET" and not self._is_sse and EVENTS in request.headers.get("accept", ""):
            return await self._opened_stream(request)
        if request.method != "POST":
            response, failure = await self._attempt(request)
            self._report.note_failure(failure)
            return response if failure is not None else await self._bounded(response, None, self._standing.post)
        await request.aread()  # One that follows a redirect carries its body as a stream only.
        if record is not None and record.method == "initialize":
            self._standing.introduced(request)
        if (taken_up := self._report.taken_up) is not None and (answer := taken_up.answer(request)) is not None:
            return self._taken_up(answer)
        message = MessageScanner.of(request.content)
        if "jsonrpc" not in message.members:
            # Something else that is sent in the same context, such as a request for a token.
            response, failure = await self._attempt(request)
            return response if failure is not None else await self._bounded(response, None, Post())
        if record is not None and (message.request_id != record.request_id or "method" not in message.members):
            record = None
        post = Post(message.request_id)
        if record is not None:
            self._posts[post.request_id] = post
            if record.headers:
                keep_secret(record, record.headers.items())
                request.headers.update(record.headers)
        if self._is_sse or record is None:
            # It is only acknowledged, at once; what hangs would hold up all that is sent after it.
            _bound_reading(request, self._config.timeout)
            return await self._acknowledged(request, record, post)
        with post.waiting():
            await self._standing.ready_for(record.method)
            response, failure = await self._attempt(request)
            self._report.note_failure(failure)
            if failure is None and response.status_code < 300 and not _may_have_answer(response):
                # The SDK would answer in the server's place.
                failure = bad_answer(self._config, record.method, f"HTTP {response.status_code} without a message")
            record.became(failure.sent if failure else True, failure)
            if failure is not None or response.has_redirect_location:
                return response
            answer = AnswerStream(self._config, self._report, request, post, record, self._asked)
            return await self._bounded(response, record, post, answer.resume)
        return as_answer(post, request)

    async def _acknowledged(self, request: httpx2.Request, record: CallRecord | None, post: Post) -> httpx2.Response:
        """Post a message without its own answer: over SSE anything, otherwise notifications and answers."""
        cancelled = _cancelled_id(request) if record is None else None
        response = httpx2.Response(202, request=request)
        try:
            with post.waiting(), anyio.move_on_after(None if cancelled is None else _CANCELLATION_SECONDS):
                answer, failure = await self._attempt(request)
                self._report.note_failure(failure)
                if record is not None:
                    record.became(failure.sent if failure else True, failure)
                if failure is None:
                    await self._let_go(answer)
                    response = self._with_body(answer)
                elif self._is_sse:
                    # The SDK's writer would end at a failed POST and let every later call wait for its timeout.
                    if record is not None and record.scope is not None:
                        record.scope.cancel()
                    else:
                        self._report.give_up_opening()
                elif is_answer(request) and is_temporary(failure):
                    self._tasks.start_soon(self._answer_again, request, failure)
        finally:
            if cancelled is not None:
                self.give_up(cancelled)
        return response

    async def _answer_again(self, request: httpx2.Request, failure: JackfieldError) -> None:
        """Send an answer to the server again, which takes one for each of its requests, and would wait for it."""
        settings, attempt = self._config.session, 1
        until = anyio.current_time() + (RESUME_SECONDS if settings.retry_attempts else 0.0)
        while is_temporary(failure):
            attempt += 1
            wait = settings.wait_before(attempt, failure.retry_after)
            if anyio.current_time() + wait > until:
                break
            await anyio.sleep(wait)
            response, failed = await self._asked(sent_again(request))
            if failed is None:
                await self._let_go(response)
                return
            failure = failed
        self._report.log.debug("An answer to the server could not be sent: %s", failure.message)

    async def _let_go(self, response: httpx2.Response) -> None:
        """Read the rest of a body that says nothing, so that its connection can be used again, without waiting for it.
        A server may look at a connection that is closed meanwhile as at a request that is given up."""
        read = anyio.Event()

        async def reading() -> None:
            await beginning(response, _UNHEARD_BYTES, self._config.timeout)
            read.set()

        if response.headers.get("content-length") == "0":
            await reading()
            return
        self._tasks.start_soon(reading)
        with anyio.move_on_after(_LET_GO_SECONDS):
            await read.wait()

    def _let_end(self, stream: EventStream) -> None:
        """Read the end of a stream that has brought its answer. The SDK would close its connection, which a server
        cannot keep open then, and each call would need another one."""
        has_room = self._ending_streams < _MAX_ENDING_STREAMS
        self._ending_streams += 1
        self._tasks.start_soon(self._read_end, stream, _STREAM_END_SECONDS if has_room else 0.0)

    async def _read_end(self, stream: EventStream, seconds: float) -> None:
        try:
            await stream.end(_UNHEARD_BYTES, seconds)
        finally:
            self._ending_streams -= 1

    def _taken_up(self, answer: httpx2.Response) -> httpx2.Response:
        """The handshake of a session that is open at the server already."""
        if session_id := answer.headers.get(SESSION_HEADER):
            self._report.http_session_id = session_id
        else:
            self._report.taken_up = None
        return answer

    async def _delete(self, request: httpx2.Request) -> httpx2.Response:
        """End the session at the server. If it no longer exists, that is not worth a warning."""
        if self._report.is_kept_at_server():
            # It is not this connection's to end.
            self._report.is_ended_at_server = True
        elif self._report.loss is None:
            _bound_reading(request, self._config.session.close_timeout)
            response, failure = await self._attempt(request)
            self._report.is_ended_at_server = failure is None or isinstance(failure, SessionExpiredError)
            self._report.refuses_ending = response.status_code == 405
            if failure is not None:
                self._report.log.debug("DELETE of the session failed: %s", failure.message)
            elif response.has_redirect_location:
                return response
            else:
                await self._let_go(response)
        return httpx2.Response(204, request=request)

    async def _attempt(self, request: httpx2.Request) -> tuple[httpx2.Response, JackfieldError | None]:
        """Send a request; the answer's body is unread if it may matter, and limited in length otherwise."""
        for name, value in request.headers.raw:
            if name.lower() == b"authorization" and value != self._authorization:
                self._authorization = value  # of an `httpx2.Auth` of the user's, or from the URL
                keep_secret(self, [("Authorization", request.headers["authorization"])])
        try:
            response = await self._inner.handle_async_request(request)
        except JackfieldError as failure:
            # There was no token to send it with.
            return no_answer(request), failure.without_cause()
        except Exception as error:
            failure = connection_failure(self._config, error)
            if isinstance(error, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout):
                failure = failure.told(sent=False)
            return no_answer(request), failure
        try:
            return await self._received(request, response)
        except Exception as error:
            # No answer should be able to raise; if one does, only this request fails.
            await beginning(response, 0, 0)
            return httpx2.Response(502, request=request), cut_off(self._report, error)

    async def _received(
        self, request: httpx2.Request, response: httpx2.Response
    ) -> tuple[httpx2.Response, JackfieldError | None]:
        response.request = request
        if session_id := response.headers.get(SESSION_HEADER):
            self._report.http_session_id = session_id
        if response.has_redirect_location:
            await self._let_go(response)
            if (location := sent_on_to(request, response)) is None:
                failure = status_failure(self._config, request, response, "")
                return httpx2.Response(502, request=request), failure
            return self._with_body(response, [(b"location", location)]), None
        return await self._judged(request, response)

    async def _asked(self, request: httpx2.Request) -> tuple[httpx2.Response, JackfieldError | None]:
        """Send a request of our own, which goes through the client for the sake of an `httpx2.Auth` that it has."""
        request.extensions[_FAILURE] = None
        while True:
            try:
                response = await self.client.send(request, stream=True, follow_redirects=False)
            except Exception as error:
                return no_answer(request), connection_failure(self._config, error)
            failure: JackfieldError | None = response.extensions[_FAILURE]
            if failure is not None or not response.has_redirect_location:
                return response, failure
            if response.next_request is None or not is_followed(request, response):
                return response, status_failure(self._config, request, response, "")
            request = response.next_request

    async def _opened_stream(self, request: httpx2.Request) -> httpx2.Response:
        """The standing stream, which the SDK requests once, and again if it ends because there is none any longer."""
        standing = self._standing
        if not standing.is_over:
            response = await standing.open(request, self._attempt, self._asked)
            if not standing.is_over:
                is_stream = media_type(response) == EVENTS
                return await self._bounded(response, None, standing.post, standing.resume) if is_stream else response
            await beginning(response, 0, 0)
        return httpx2.Response(405, request=request)

    async def _bounded(
        self, response: httpx2.Response, record: CallRecord | None, post: Post, resume: Resume | None = None
    ) -> httpx2.Response:
        """The response with its body held to `max_message_bytes`: whole, or as a stream of events."""
        limit = self._config.session.max_message_bytes
        if (kind := media_type(response)) != EVENTS:
            content = await whole_body(response, self._report, limit, record)
            return self._with_body(response, kind=kind, content=content)
        if self._is_sse:
            limit = min(limit, SSE_EVENT_BYTES)
        seen = self._standing.seen_ids if record is None else record.seen_ids
        on_event = self._admits if self._is_sse else None
        stream = EventStream(response, self._report, limit, record, seen, post, resume, on_event, self._let_end)
        return self._with_body(response, kind=kind, stream=stream)

    def _with_body(
        self,
        response: httpx2.Response,
        more_headers: Sequence[tuple[bytes, bytes]] = (),
        *,
        kind: str | None = None,
        stream: httpx2.AsyncByteStream | None = None,
        content: bytes = b"",
    ) -> httpx2.Response:
        """An answer for the SDK, with a body that is read already or is read within bounds."""
        replaced = {b"content-type", _SESSION_HEADER, *(name for name, _ in more_headers)}
        headers = [(name, value) for name, value in content_headers(response) if name.lower() not in replaced]
        kind = media_type(response) if kind is None else kind
        headers.append((b"content-type", kind.encode("ascii", "replace")))
        if (session_id := response.headers.get(SESSION_HEADER)) is not None:
            headers.append((_SESSION_HEADER, self._sendable(session_id, response)))
        headers += more_headers
        status, request = response.status_code, response.request
        if stream is None:
            return WholeResponse(status, body=content, headers=headers, request=request)
        return httpx2.Response(status, stream=stream, headers=headers, request=request)

    def _write_session_id(self, request: httpx2.Request) -> None:
        """Put the session id into a request as the server wrote it; see `_sendable`."""
        if (odd := self._odd_session_ids.get(request.headers.get(SESSION_HEADER, ""))) is not None:
            request.headers = httpx2.Headers(
                [(name, odd if name.lower() == _SESSION_HEADER else value) for name, value in request.headers.raw]
            )

    def _sendable(self, session_id: str, response: httpx2.Response) -> bytes:
        """A session id as the SDK can put it into a header; in its place goes out what the server wrote.

        Source: MCP 2025-11-25, basic/transports "Session Management": visible ASCII characters, to which not all keep.
        """
        if session_id.isascii() and session_id.isprintable():
            return session_id.encode()
        written = next(value for name, value in response.headers.raw if name.lower() == _SESSION_HEADER)
        self._odd_session_ids[written.hex()] = written
        return written.hex().encode()

    def _admits(self, event: bytes) -> bool:
        """Whether an event over SSE is passed on. The SDK would let the opening wait for its timeout if the address
        that a server gives is of another origin, and would end at a second one."""
        if not (endpoint := event_data(event, b"endpoint")):
            return True
        is_first, self._has_endpoint = not self._has_endpoint, True
        failure = foreign_endpoint(self._config, endpoint.decode("utf-8", "replace"))
        if is_first and failure is not None:
            self._report.note_failure(failure)
            self._report.give_up_opening()
        return is_first and failure is None

    async def _judged(
        self, request: httpx2.Request, response: httpx2.Response
    ) -> tuple[httpx2.Response, JackfieldError | None]:
        """The meaning of an answer for the session, and the answer; its body is read if it is only quoted."""
        status = response.status_code
        kind = media_type(response)
        if status < 300 or (status < 400 and request.method != "POST"):
            wants_answer = status == 200 and (
                request.method == "GET" or (request.method == "POST" and not self._is_sse)
            )
            if wants_answer and kind not in _ANSWER_TYPES:
                await beginning(response, 0, 0)
                return self._with_body(response), not_mcp(self._config, kind)
            return response, None
        seconds = min(self._config.timeout, _QUOTE_SECONDS)
        body = readable_json(await beginning(response, 0 if kind == EVENTS else _ERROR_BODY_BYTES, seconds))
        text = body.decode("utf-8", "replace")
        if request.method == "POST" and answers_request(self._config, request, status, text):
            if self._is_sse:
                # Answers come on the standing stream; this one would not reach its request.
                return self._with_body(response), answer_as_error(self._config, request, text)
            response.headers["content-type"] = "application/json"  # The SDK does not look into what claims another.
            return self._with_body(response, content=body), None
        return self._with_body(response, content=body), status_failure(self._config, request, response, text)

    async def aclose(self) -> None:
        await self._inner.aclose()


def _may_have_answer(response: httpx2.Response) -> bool:
    # Of one with status 200 the type was judged.
    return response.status_code == 200 or (
        response.status_code not in (202, 204) and media_type(response) in _ANSWER_TYPES
    )


def _cancelled_id(request: httpx2.Request) -> object:
    """The id of the request that a message cancels; `None` if it cancels none."""
    if _CANCELLED.encode() not in request.content:
        return None
    message = as_table(parsed_json(request.content))
    return as_table(message.get("params")).get("requestId") if message.get("method") == _CANCELLED else None


def _bound_reading(request: httpx2.Request, seconds: float) -> None:
    request.extensions["timeout"] = {**request.extensions.get("timeout", {}), "read": seconds}
