"""`SessionHost`: serves the sessions of a server that speaks MCP 2025-11-25 or older, from any instance.

There is no live session object. Each request is run by the SDK's `ServerRunner` with a connection created from the
session's record, and its messages go to logs. Requests of 2026-07-28, which has no sessions, go to the SDK as they
are.
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any

import anyio
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp_types import INVALID_REQUEST, JSONRPCRequest
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..errors import JackfieldError
from .author_options import check_seconds
from .background import Background
from .disconnects import Disconnects
from .errors import ServingLimitError
from .event_streams import EventStreams
from .housekeeping import Housekeeping
from .inbound import (
    SESSION_HEADER,
    Refused,
    check_accepts_stream,
    check_encoding,
    checked_id,
    header_of,
    is_sessionless,
    names_unknown_version,
    not_found,
    principal_of,
    read_message,
    refusal,
    version_refused,
    within_bounds,
)
from .instance import Instance
from .limits import ServingLimits
from .log_reading import StreamSettings
from .metrics import RESPONSE, ServingMetrics, note_of
from .modern import ModernRequests
from .published_changes import BusBridge
from .records import Principal
from .requests import Requests
from .sdk_seams import process_bus
from .stores import SessionStore
from .streams import StreamManager

logger: logging.Logger = logging.getLogger("jackfield")

_SESSION_HEADER = SESSION_HEADER.encode()
_FLUSH_SECONDS = 5.0
"""Maximum time for which a stopping instance waits until its clients have the answers to stopped requests."""


class SessionHost:
    """An ASGI application for one endpoint.

    Args:
        server: Handles the requests.
        sessions: Stores the metadata of sessions.
        streams: Stores their streams.
        session_ttl: Seconds for which an unused session is kept.
        reconnect_timeout: The same for a session whose standalone stream broke; as long as others if omitted.
        on_session_end: Called with the id of each session that was used here and has ended.
        limits: Limits on what clients can make it store.
        metrics: Counts and measures.
        stream_after: Seconds after which an unfinished request is answered with a stream, so that its client can
            resume. A faster one without other messages is answered with plain JSON.
        retry_seconds: Seconds that a client should wait before it reopens a stream.
        ping_seconds: How often a quiet stream gets a comment.
        drain_timeout: Seconds for running requests after the instance begins to stop.
        sessions_only: Refuse protocol versions without sessions.
    """

    def __init__(
        self,
        server: Server[Any],
        sessions: SessionStore,
        streams: StreamManager,
        *,
        session_ttl: float = 3600.0,
        reconnect_timeout: float | None = None,
        on_session_end: Callable[[str], None] | None = None,
        limits: ServingLimits | None = None,
        metrics: ServingMetrics | None = None,
        stream_after: float = 0.1,
        retry_seconds: float = 1.0,
        ping_seconds: float = 15.0,
        drain_timeout: float = 10.0,
        sessions_only: bool = False,
    ) -> None:
        check_seconds("session_ttl", session_ttl, may_be_0=False)
        check_seconds("drain_timeout", drain_timeout)
        if reconnect_timeout is not None:
            check_seconds("reconnect_timeout", reconnect_timeout)
        self.sessions: SessionStore = sessions
        self.streams: StreamManager = streams
        self.limits: ServingLimits = limits or ServingLimits()
        self.session_ttl: float = session_ttl
        self._server = server
        self._settings = StreamSettings(stream_after, round(retry_seconds * 1000), ping_seconds)
        self._drain_timeout = drain_timeout
        self._reconnect_timeout = reconnect_timeout
        self._on_session_end = on_session_end
        self._sessions_only = sessions_only
        self._running: _Running | None = None
        self.metrics: ServingMetrics = metrics or ServingMetrics()
        self.metrics.watch(
            streams=lambda: 0 if self._running is None else self._running.instance.open_streams,
            running=lambda: 0 if self._running is None else len(self._running.instance.exchanges),
        )

    # Its life

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Serve for a while: enters the server's lifespan, connects to the store, and ends all that runs at the end.

        Raises:
            StoreUnavailableError: The store cannot be reached.
            ConfigError: The store is set up in a way that would lose sessions, or lacks its tables.
        """
        if self._running is not None:
            raise RuntimeError("These sessions are running already: enter the lifespan of the application once.")
        bounds = {"log_events": self.limits.log_events, "log_bytes": self.limits.log_bytes}
        async with (
            self.sessions.open(ttl=self.session_ttl),
            self.streams.open(ttl=self.session_ttl, **bounds),
            self._server.lifespan(self._server) as state,
            Background().run() as background,
        ):
            bus = process_bus(self._server)
            changes = NotificationOptions(*[bus is not None] * 3)
            instance = Instance(
                self._server,
                state,
                self._server.create_initialization_options(changes),
                self.sessions,
                self.streams,
                background,
                self.limits,
                self.session_ttl,
                disconnects := self._disconnects(),
            )
            modern = ModernRequests(instance, state)
            housekeeping = Housekeeping(instance, self.metrics)
            running = _Running(instance, modern, housekeeping, self._settings, self._drain_timeout)
            async with (
                modern.run(),
                self.sessions.backplane.join(instance.name, instance.told, running.housekeeping.reconnected),
                contextlib.nullcontext() if instance.sharing is None else instance.sharing.kept(),
                anyio.create_task_group() as standing,
            ):
                standing.start_soon(running.housekeeping.keep_sessions)
                standing.start_soon(running.housekeeping.answer_for_dead)
                standing.start_soon(running.drain_when_told)
                if disconnects is not None:
                    standing.start_soon(disconnects.watch, instance.end_session, instance.is_read)
                if bus is not None:
                    standing.start_soon(BusBridge(bus, instance).run)
                self._running = running
                try:
                    yield
                finally:
                    with anyio.CancelScope(shield=True):
                        await running.stop()
                    self._running = None
                    standing.cancel_scope.cancel()

    def _disconnects(self) -> Disconnects | None:
        if self._reconnect_timeout is None and self._on_session_end is None:
            return None
        return Disconnects(self.sessions, self.session_ttl, self._reconnect_timeout, self._on_session_end)

    def drain(self) -> None:
        """Begin to stop: end the streams, so that clients reconnect to another instance.

        Running requests have `drain_timeout` to finish; then their clients get an error. New
        requests are answered as long as they arrive. Does nothing if it is not running or already draining.
        """
        if self._running is not None:
            # May be called from a callback of the event loop, which is not a task.
            self._running.is_to_drain.set()

    def stop_requests(self) -> None:
        """End all running requests now: their clients are told that they may have taken effect."""
        if self._running is not None:
            self._running.stop_requests()

    @property
    def is_draining(self) -> bool:
        """Whether it has begun to stop."""
        return self._running is not None and self._running.instance.is_draining

    @property
    def instance(self) -> Instance:
        """What runs here.

        Raises:
            RuntimeError: Nothing does.
        """
        return self._run_or_raise().instance

    def _run_or_raise(self) -> _Running:
        if self._running is None:
            raise RuntimeError(
                "These sessions are not running. Starlette and FastAPI do not start a mounted application: give them "
                "`lifespan=served.lifespan`."
            )
        return self._running

    # Its clients

    async def notify(self, session_id: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to a session, whichever instance it reads from.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.instance.notify(session_id, method, params)

    async def end_session(self, session_id: str) -> bool:
        """End a session: its requests are cancelled, its streams closed and removed; whether there was one.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return await self.instance.end_session(session_id)

    # Requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        running = self._run_or_raise()
        try:
            check_encoding(scope)
            if is_sessionless(scope):
                if not (self._sessions_only or names_unknown_version(scope)):
                    await running.modern(scope, receive, send)
                    return
                request = Request(scope, within_bounds(scope, receive, self.limits))
                raise await version_refused(request, sessions_only=self._sessions_only)
            request = Request(scope, within_bounds(scope, receive, self.limits))
            response = await self._answered(running, request, send)
        except Refused as refused:
            response = refused.response
        except JackfieldError as failure:
            if isinstance(failure, ServingLimitError):
                note_of(scope).bound = failure.bound
            response = refusal(failure).response
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, send)

    async def _answered(self, running: _Running, request: Request, send: Send) -> Response | None:
        """Answer a request; returns the response if it is not sent yet."""
        principal = principal_of(request.scope)
        session_id = header_of(request.scope, _SESSION_HEADER)
        match request.method:
            case "POST":
                message = await read_message(request)
                note_of(request.scope).method = getattr(message, "method", RESPONSE)
                if not isinstance(message, JSONRPCRequest):
                    return await running.requests.take(request, checked_id(session_id), message, principal)
                if message.method == "initialize":
                    return await running.requests.initialize(request, message, principal)
                return await running.requests.run(request, send, checked_id(session_id), message, principal)
            case "GET":
                check_accepts_stream(request)
                session_id = await self._found(session_id, principal)
                await running.event_streams.open(request, send, session_id)
                return None
            case "DELETE":
                session_id = await self._found(session_id, principal)
                await running.instance.end_session(session_id)
                return Response(status_code=200)
            case _:
                raise Refused(405, INVALID_REQUEST, "Method Not Allowed", {"allow": "GET, POST, DELETE"})

    async def _found(self, session_id: str, principal: Principal | None) -> str:
        session_id = checked_id(session_id)
        if await self.sessions.find(session_id, principal) is None:
            raise not_found()
        return session_id


class _Running:
    """The state of a running host."""

    def __init__(
        self,
        instance: Instance,
        modern: ModernRequests,
        housekeeping: Housekeeping,
        settings: StreamSettings,
        drain_timeout: float,
    ) -> None:
        self.instance = instance
        self.modern = modern
        self.housekeeping = housekeeping
        self.requests = Requests(instance, settings)
        self.event_streams = EventStreams(instance, settings)
        self._drain_timeout = drain_timeout
        self._stop_at = math.inf
        self.is_to_drain = anyio.Event()

    async def drain_when_told(self) -> None:
        await self.is_to_drain.wait()
        self._drain()
        # The ASGI server ends the application only after the last connection, which may be one of these.
        await anyio.sleep(self._drain_timeout)
        self.stop_requests()

    def _drain(self) -> None:
        if not self.instance.is_draining:
            self._stop_at = time.monotonic() + self._drain_timeout
            self.instance.drain()
            self.modern.drain()

    def stop_requests(self) -> None:
        """End all of them."""
        self.instance.stop_requests()
        self.modern.stop()

    async def stop(self) -> None:
        """Let all that runs end, within bounds."""
        self._drain()
        await self._idle(self._stop_at - time.monotonic())
        self.stop_requests()
        await self._idle(_FLUSH_SECONDS)

    async def _idle(self, seconds: float) -> None:
        """Wait until nothing runs."""
        with anyio.move_on_after(max(0.0, seconds)):
            while self.instance.exchanges or self.instance.notified or self.modern.is_busy:  # noqa: ASYNC110
                # Any of three kinds may be the last to end, and this happens once.
                await anyio.sleep(0.02)
