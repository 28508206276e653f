"""Event streams that outlive their connections: messages of the server, and answers to calls.

The SDK reopens a stream itself, but gives up after two attempts, and each time that it resumes an answer it
recurses one level deeper. So it gets one body per stream here, which never breaks: when a connection ends, the
body continues with the next one, after the last received event (`Last-Event-ID`). This relies only on the SDK reading a
body to its end, and opening the standing stream with a GET through the given HTTP client.

Source: MCP 2025-11-25, basic/transports "Resumability and Redelivery"; WHATWG HTML, "Server-sent events".
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
import httpx2

from ..config.servers import HttpConfig, SseConfig
from ..config.settings import backoff
from ..errors import JackfieldError, ServerUnavailableError, SessionConflictError
from ..http_content import beginning
from ..plain import as_table, parsed_json
from .http_bodies import Post, cut_off
from .http_failures import media_type, names_session
from .report import CallRecord, ConnectionReport, EventIds

EVENTS = "text/event-stream"
LAST_EVENT_HEADER = "last-event-id"
RESUME_SECONDS = 10.0
"""For so long the rest of a call's answer is asked for, and an answer to the server sent again: an instance that is
started again takes some seconds."""
OPENING_SECONDS = 0.5
"""A call waits at most this long for the standing stream: some servers answer the GET with their first message."""

# Before a stream is opened again, where the server does not say how long, and however long it says.
_RETRY_SECONDS = 1.0
_MAX_RETRY_SECONDS = 300.0
# The same after a connection that brought nothing, doubled for each further one, up to `_RETRY_SECONDS`: a server that
# asks for no pause and ends every stream at once would otherwise be asked without end.
_FRUITLESS_SECONDS = 0.05
# How often a server is asked for a stream that it refuses for now: seldom.
_SLOW_SECONDS = 5.0
# While a server works on one of these, it may ask the client something.
_ASKING_METHODS = ("tools/call", "prompts/get", "resources/read")
_ASKED_FOR = ("elicitation", "roots", "sampling")

Ask = Callable[[httpx2.Request], Awaitable[tuple[httpx2.Response, JackfieldError | None]]]
"""Sends a request; returns the answer and its problem, if any."""

Step = Literal["again", "slowly", "from now on", "lost", "over"]
"""What to do about a standing stream that could not be opened."""


def next_step(
    failure: JackfieldError | None, status: int, *, has_stood: bool = True, is_resuming: bool = False
) -> Step:
    """What to do after a failed attempt to open the standing stream. Pure.

    Args:
        failure: The failure; `None` for an answer that is not a stream.
        status: The answer's status.
        has_stood: It was open before. If not, most refusals mean that the server offers none.
        is_resuming: The server was asked to resume after an event.
    """
    if failure is None or status in (405, 501):
        return "over"
    if failure.state_lost and (has_stood or names_session(failure.server_output or "")):
        return "lost"
    if isinstance(failure, SessionConflictError):
        return "slowly"
    if failure.retryable and isinstance(failure, ServerUnavailableError):
        return "again"
    if status == 400 and is_resuming:
        return "from now on"
    return "slowly" if has_stood else "over"


def is_temporary(failure: JackfieldError) -> bool:
    """Whether the same request may well be answered later."""
    return failure.retryable and isinstance(failure, ServerUnavailableError | SessionConflictError)


def pause_before(retry_seconds: float | None, fruitless: int) -> float:
    """Seconds to wait before a stream is opened again, with jitter, never less than the server asks for.

    Args:
        retry_seconds: What the server asked for (`retry:`).
        fruitless: How many connections in a row brought nothing.
    """
    asked = _RETRY_SECONDS if retry_seconds is None else min(retry_seconds, _MAX_RETRY_SECONDS)
    least = backoff(_FRUITLESS_SECONDS, _RETRY_SECONDS, fruitless - 1) if fruitless else 0.0
    return max(asked, least) * random.uniform(1.0, 1.25)  # noqa: S311 - no secret


class StandingStream:
    """The stream of a server's own messages, kept open as long as the session.

    Args:
        config: The server.
        report: Notified when the session turns out to be lost, and when the stream is reopened.
    """

    def __init__(self, config: HttpConfig | SseConfig, report: ConnectionReport) -> None:
        self._config = config
        self._report = report
        self.post: Post = Post()
        self.seen_ids: EventIds = EventIds()
        self.is_over: bool = False
        """The server offers none, or the session is lost."""
        self._has_stood = False
        self._is_told = False
        self._can_be_asked = False
        self._opening: anyio.Event | None = None
        """Set when the server has answered the first GET."""
        self._ask: Ask | None = None
        self._request: httpx2.Request | None = None

    def introduced(self, handshake: httpx2.Request) -> None:
        """Note whether the client tells the server at the handshake that it answers requests."""
        params = as_table(as_table(parsed_json(handshake.content)).get("params"))
        self._can_be_asked = not as_table(params.get("capabilities")).keys().isdisjoint(_ASKED_FOR)

    async def ready_for(self, method: str) -> None:
        """Wait while the stream is being opened if the server may ask something during a request, for it may do so on
        this stream only: a question before the stream is open would be lost, and the request wait for its timeout."""
        if self._can_be_asked and self._opening is not None and method in _ASKING_METHODS:
            with anyio.move_on_after(OPENING_SECONDS):
                await self._opening.wait()
            self._can_be_asked = False  # what a call waited for, no further one waits for

    async def open(self, request: httpx2.Request, first_ask: Ask, ask: Ask) -> httpx2.Response:
        """Open it for the first time; returns the server's answer.

        Args:
            request: The SDK's.
            first_ask: For this request.
            ask: For those that follow.
        """
        self._ask, self._opening = ask, self._opening or anyio.Event()
        response = await self._opened(request, first_ask, None)
        self._request = response.request
        return response

    async def resume(
        self, last_event_id: str | None, broken: Exception | None, fruitless: int
    ) -> httpx2.Response | JackfieldError | None:
        """Reopen it after its connection ended; `None` if the server no longer offers it."""
        assert self._ask is not None
        assert self._request is not None
        await anyio.sleep(pause_before(self.post.retry_seconds, fruitless))
        response = await self._opened(self._request, self._ask, last_event_id)
        if not self.is_over:
            return response
        await beginning(response, 0, 0)
        return None

    async def _opened(self, request: httpx2.Request, ask: Ask, last_event_id: str | None) -> httpx2.Response:
        attempt = 1
        while True:
            if last_event_id is not None or self._has_stood:
                request = stream_request(request, last_event_id)
            response, failure = await ask(request)
            if failure is None and response.has_redirect_location:
                return response
            if self._opening is not None:
                self._opening.set()
            if failure is None and response.status_code == 200 and media_type(response) == EVENTS:
                if self._has_stood:
                    self._report.on_renewed(last_event_id is not None)
                else:
                    self._report.on_listening()
                self._has_stood, self._is_told = True, False
                return response
            step = next_step(
                failure,
                response.status_code,
                has_stood=self._has_stood,
                is_resuming=last_event_id is not None,
            )
            if step == "lost":
                self._report.mark_lost(failure)
            if step in ("lost", "over"):
                # An answer that an `httpx2.Auth` can do something about is sent again, with the same request.
                self.is_over = step == "lost" or response.status_code != 401
                return response
            assert failure is not None
            if step == "from now on":
                self._report.log.debug("Messages sent in the meantime are lost: %s", failure.message)
                last_event_id = None
                self.seen_ids.forget()
                continue
            attempt += 1
            await anyio.sleep(self._pause(attempt, failure, is_slow=step == "slowly"))

    def _pause(self, attempt: int, failure: JackfieldError, *, is_slow: bool) -> float:
        settings = self._config.session
        least = min(failure.retry_after or 0.0, _MAX_RETRY_SECONDS)
        if is_slow:
            if not self._is_told:
                self._is_told = True
                self._report.log.debug("No stream for the server's own messages for now: %s", failure.message)
            least = max(least, min(_SLOW_SECONDS, settings.max_retry_delay))
        return settings.wait_before(attempt, least)


class AnswerStream:
    """The stream with the answer to one request.

    Args:
        config: The server.
        report: Notified when the session turns out to be lost, and when the stream is reopened.
        request: The POST that it answers.
        post: The same as a JSON-RPC request.
        record: Its delivery status.
        ask: Sends the requests that resume it.
    """

    def __init__(
        self,
        config: HttpConfig | SseConfig,
        report: ConnectionReport,
        request: httpx2.Request,
        post: Post,
        record: CallRecord,
        ask: Ask,
    ) -> None:
        self._config = config
        self._report = report
        self._request = request
        self._post = post
        self._record = record
        self._ask = ask

    async def resume(
        self, last_event_id: str | None, broken: Exception | None, fruitless: int
    ) -> httpx2.Response | JackfieldError | None:
        """Resume it after its connection ended; returns the request's error if that fails."""
        if last_event_id is None or self._record.is_over:
            return cut_off(self._report, broken)
        settings = self._config.session
        until = anyio.current_time() + (RESUME_SECONDS if settings.retry_attempts else 0.0)
        await anyio.sleep(pause_before(self._post.retry_seconds, fruitless))
        attempt = 1
        while True:
            response, failure = await self._ask(stream_request(self._request, last_event_id))
            if failure is None:
                if response.status_code == 200 and media_type(response) == EVENTS:
                    self._report.on_renewed(True)
                    return response
                await beginning(response, 0, 0)
                return cut_off(self._report, broken)
            if failure.state_lost:
                self._report.mark_lost(failure)
                return not_resumed(self._config, failure)
            attempt += 1
            wait = settings.wait_before(attempt, min(failure.retry_after or 0.0, _MAX_RETRY_SECONDS))
            if not is_temporary(failure) or anyio.current_time() + wait > until:
                return not_resumed(self._config, failure)
            await anyio.sleep(wait)


def stream_request(request: httpx2.Request, last_event_id: str | None) -> httpx2.Request:
    """A GET for the stream of an earlier request, as that was sent."""
    left_out = (b"accept", b"content-length", b"content-type", b"transfer-encoding", LAST_EVENT_HEADER.encode())
    headers = [(name, value) for name, value in request.headers.raw if name.lower() not in left_out]
    headers.append((b"Accept", EVENTS.encode()))
    if last_event_id is not None:
        headers.append((LAST_EVENT_HEADER.encode(), last_event_id.encode()))
    timeout = {"timeout": request.extensions["timeout"]} if "timeout" in request.extensions else {}
    return httpx2.Request("GET", request.url, headers=headers, extensions=timeout)


def not_resumed(config: HttpConfig | SseConfig, failure: JackfieldError) -> JackfieldError:
    """The error of a request whose answer was cut off and could not be asked for again."""
    message = (
        f"The stream from server {config.server_name!r} broke before the answer came, and the rest of it could not be "
        f"had ({failure.message.rstrip('.')})."
    )
    return failure.told(message=message, sent=True)
