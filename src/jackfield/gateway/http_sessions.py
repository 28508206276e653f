"""`HttpSessions`: how long the session of a client over HTTP lives.

A client may end its session itself (DELETE); many never do. So a session is also over when the client asked nothing
for long, and much sooner when its standing GET stream, which is open as long as the client lives, broke and did not
come back. Requests of 2026-07-28 belong to no session, and requests of other paths do nothing to one.

Source: MCP 2025-11-25, basic/transports "Session Management", "Listening for Messages from the Server".
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import anyio
import httpx2
from mcp.types.version import HANDSHAKE_PROTOCOL_VERSIONS
from starlette.datastructures import Headers

from .gateway import SESSION_HEADER

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

logger: logging.Logger = logging.getLogger("jackfield")

_VERSION_HEADER = "mcp-protocol-version"
_RESUME_HEADER = b"last-event-id"

_HANDOVER_SECONDS = 1.0
"""That a new stream waits for the end of the old one, which may be noticed only after a client reconnected."""

_END_SECONDS = 5.0
"""That the SDK may take to end a session."""


class _Session:
    """What is under way of one session."""

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.under_way = 0
        self.had_stream = False
        self.stream_ended: anyio.Event | None = None
        """Set when the stream that is open now ends."""
        self.timer: asyncio.TimerHandle | None = None
        """Of its end; runs while nothing is under way."""

    def stop_timer(self) -> None:
        """Let it live."""
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None


class HttpSessions:
    """An ASGI app around the SDK's one. Enter `running()`, and serve it.

    Args:
        app: The SDK's app; its own idle timeout is not needed.
        path: Of the MCP endpoint.
        on_ended: Called with the id of each session that is over.
        idle_timeout: Seconds after which a session is over of which nothing is under way.
        reconnect_timeout: The same for a session whose standing GET stream broke.
    """

    def __init__(
        self,
        app: ASGIApp,
        path: str,
        on_ended: Callable[[str], None],
        *,
        idle_timeout: float,
        reconnect_timeout: float,
    ) -> None:
        self._app = app
        self._path = path
        self._on_ended = on_ended
        self._idle_timeout = idle_timeout
        self._reconnect_timeout = min(reconnect_timeout, idle_timeout)
        self._sessions: dict[str, _Session] = {}
        self._due: asyncio.Queue[_Session] | None = None

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[None]:
        """End sessions as long as this is entered."""
        self._due = asyncio.Queue()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_those_due, self._due, tasks)
            try:
                yield
            finally:
                tasks.cancel_scope.cancel()
                self._due = None
                for session in self._sessions.values():
                    session.stop_timer()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and learn from it which session lives."""
        if scope["type"] != "http" or scope["path"] != self._path:
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if headers.get(_VERSION_HEADER, HANDSHAKE_PROTOCOL_VERSIONS[0]) not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._app(scope, receive, send)
            return
        session_id = headers.get(SESSION_HEADER)
        session = self._sessions.get(session_id) if session_id is not None else None
        method, is_over, stream_ended = scope["method"], False, anyio.Event()

        async def watched(message: Message) -> None:
            nonlocal session, is_over
            if message["type"] == "http.response.start":
                status: int = message["status"]
                if session is None and session_id is None and status < 300:
                    session = self._begun(Headers(raw=message["headers"]).get(SESSION_HEADER))
                elif session is not None and method == "GET" and status == 200:
                    session.had_stream, session.stream_ended = True, stream_ended
                is_over = status == 404 or (method == "DELETE" and status < 300)
            await send(message)

        if session is not None:
            self._started(session)
        try:
            if session is not None and method == "GET":
                scope = _without_resumption(scope)
                if session.stream_ended is not None:
                    with anyio.move_on_after(_HANDOVER_SECONDS):
                        await session.stream_ended.wait()
            await self._app(scope, receive, watched)
        finally:
            stream_ended.set()
            if session is not None:
                if session.stream_ended is stream_ended:
                    session.stream_ended = None
                self._finished(session)
                if is_over:
                    self._over(session)

    def _begun(self, session_id: str | None) -> _Session | None:
        """The session that an answer to a request without one begins."""
        if session_id is None:
            return None
        session = self._sessions[session_id] = _Session(session_id)
        self._started(session)
        return session

    def _started(self, session: _Session) -> None:
        session.under_way += 1
        session.stop_timer()

    def _finished(self, session: _Session) -> None:
        session.under_way -= 1
        if session.under_way or self._due is None or session.id not in self._sessions:
            return
        seconds = self._reconnect_timeout if session.had_stream else self._idle_timeout
        session.timer = asyncio.get_running_loop().call_later(seconds, self._due.put_nowait, session)

    async def _end_those_due(self, due: asyncio.Queue[_Session], tasks: TaskGroup) -> None:
        while True:
            tasks.start_soon(self._end, await due.get())

    async def _end(self, session: _Session) -> None:
        """End a session as its client would have done it."""
        if session.under_way:
            return  # Something came just now.
        why = "its stream did not come back" if session.had_stream else "nothing came from it"
        logger.info("[MCP][gateway] Client %s disconnected: %s", session.id[:8], why)
        goodbye = httpx2.Request("DELETE", f"http://127.0.0.1{self._path}", headers={SESSION_HEADER: session.id})
        with anyio.move_on_after(_END_SECONDS):
            await httpx2.ASGITransport(self._app, raise_app_exceptions=False).handle_async_request(goodbye)
        self._over(session)

    def _over(self, session: _Session) -> None:
        session.stop_timer()
        if self._sessions.pop(session.id, None) is not None:
            self._on_ended(session.id)


def _without_resumption(scope: Scope) -> Scope:
    """Nothing is kept for a stream that broke; one that is to be resumed is a new one, which the SDK does not know."""
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0] != _RESUME_HEADER]}
