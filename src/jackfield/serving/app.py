"""`serve_sessions`: an ASGI application that serves an SDK server's sessions from any instance."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from types import FrameType
from typing import Any

import anyio
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp_types import EmptyResult, SubscribeRequestParams, UnsubscribeRequestParams
from starlette.applications import Starlette
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from .backends import Backend
from .bus import BusBridge
from .host import SessionHost
from .limits import ServingLimits
from .sdk_seams import process_bus
from .stores import SessionStore
from .streams import StreamManager

logger: logging.Logger = logging.getLogger("jackfield")

_LOOPBACK = ["127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*"]


class _Endpoint:
    """A class, so that Starlette passes it every method as it is."""

    def __init__(self, host: SessionHost | StreamableHTTPSessionManager) -> None:
        self._host = host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if isinstance(self._host, SessionHost):
            await self._host(scope, receive, send)
        else:
            await self._host.handle_request(scope, receive, send)


class ServedSessions:
    """An ASGI application; what `serve_sessions` returns.

    Run it with any ASGI server, or mount it in a Starlette or FastAPI application. A mounted one is not started by
    itself: give the outer application `lifespan=served.lifespan`.
    """

    def __init__(
        self,
        server: Server[Any],
        host: SessionHost | StreamableHTTPSessionManager,
        routes: Sequence[BaseRoute],
        path: str,
    ) -> None:
        self._server = server
        self._host = host
        self._app = Starlette(routes=[Route(path, _Endpoint(host)), *routes], lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        await self._app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Serve for a while.

        Raises:
            StoreUnavailableError: The store cannot be reached.
            ConfigError: The store is set up in a way that would lose sessions, or lacks its tables.
        """
        async with self._host.run():
            if isinstance(self._host, StreamableHTTPSessionManager):
                yield
                return
            async with anyio.create_task_group() as tasks:
                bus = process_bus(self._server)
                stop = None if bus is None else BusBridge(bus, self._host, tasks).start()
                with _drained_on_signal(self._host):
                    yield
                if stop is not None:
                    stop()
                tasks.cancel_scope.cancel()

    @property
    def host(self) -> SessionHost:
        """What serves the sessions.

        Raises:
            RuntimeError: There are none: `stateless` was given.
        """
        if isinstance(self._host, StreamableHTTPSessionManager):
            raise RuntimeError("A stateless server has no sessions.")
        return self._host

    async def notify(self, session_id: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to a session, on whichever instance its client reads.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.host.notify(session_id, method, params)

    async def notify_all(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a notification to all sessions; returns how many these are.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ids = await self.host.sessions.live()
        for session_id in ids:
            await self.host.notify(session_id, method, params)
        return len(ids)

    async def end_session(self, session_id: str) -> bool:
        """End a session; whether there was one.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        return await self.host.end_session(session_id)


def serve_sessions(
    server: MCPServer[Any] | Server[Any],
    backend: Backend | None = None,
    *,
    sessions: SessionStore | None = None,
    streams: StreamManager | None = None,
    session_ttl: float = 3600.0,
    stateless: bool = False,
    keys: Sequence[bytes | str] | None = None,
    path: str = "/mcp",
    allowed_hosts: Sequence[str] | None = None,
    allowed_origins: Sequence[str] | None = None,
    limits: ServingLimits | None = None,
) -> ServedSessions:
    """Serve an SDK server over Streamable HTTP, with sessions that live on every instance that shares the backend.

    ```python
    app = serve_sessions(server, RedisBackend("redis://127.0.0.1:6379"))
    ```

    Args:
        server: An `MCPServer`, or a low-level `Server` of the SDK.
        backend: What the instances share; sessions live in this process if omitted.
        sessions: Another session store than the backend's.
        streams: Another stream manager than the backend's.
        session_ttl: Seconds that a session lives without a request or an open stream.
        stateless: No sessions: each request stands for itself, and nothing is sent to the client but answers.
        keys: The keys that protect the `requestState` of MCP 2026-07-28, each of at least 32 bytes, the same on every
            instance. The first one protects, all of them are accepted, so that they can be changed one at a time.
        path: Where it is served.
        allowed_hosts: Accepted `Host` headers, `name:*` for any port, `*` for all; those of this machine if omitted.
        allowed_origins: Accepted `Origin` headers; those of this machine if omitted.
        limits: Bounds on what clients can make it hold.

    Raises:
        TypeError: The server is neither of the two.
        ValueError: A setting is out of its range.

    Source: MCP 2025-11-25, basic/transports "Session Management", "Resumability and Redelivery"; MCP 2026-07-28.
    """
    low_level, routes = _low_level(server, path)
    if keys is not None:
        _share_keys(low_level, keys)
    security = _security(allowed_hosts, allowed_origins)
    if stateless:
        manager = StreamableHTTPSessionManager(low_level, stateless=True, security_settings=security)
        return ServedSessions(low_level, manager, routes, path)
    _accept_subscriptions(low_level)
    given = backend or Backend()
    host = SessionHost(
        low_level,
        sessions or given.sessions,
        streams or given.streams,
        session_ttl=session_ttl,
        limits=limits,
        security=security,
    )
    return ServedSessions(low_level, host, routes, path)


def _low_level(server: MCPServer[Any] | Server[Any], path: str) -> tuple[Server[Any], list[BaseRoute]]:
    if isinstance(server, Server):
        return server, []
    if isinstance(server, MCPServer):  # pyright: ignore[reportUnnecessaryIsInstance]
        # The public way to the low-level server, and to the routes that the author added.
        app = server.streamable_http_app(streamable_http_path=path)
        return server.session_manager.app, [route for route in app.routes if getattr(route, "path", None) != path]
    raise TypeError(f"`server` must be an MCPServer or a low-level Server of the SDK, not {type(server).__name__}.")


def _security(hosts: Sequence[str] | None, origins: Sequence[str] | None) -> TransportSecuritySettings:
    if hosts is not None and "*" in hosts:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    return TransportSecuritySettings(
        enable_dns_rebinding_protection=True,
        allowed_hosts=[*_LOOPBACK] if hosts is None else list(hosts),
        allowed_origins=[f"http://{host}" for host in _LOOPBACK] if origins is None else list(origins),
    )


def _share_keys(server: Server[Any], keys: Sequence[bytes | str]) -> None:
    boundary = RequestStateBoundary(RequestStateSecurity(keys=keys), default_audience=server.name)
    places = [place for place, one in enumerate(server.middleware) if isinstance(one, RequestStateBoundary)]
    if places:
        server.middleware[places[0]] = boundary
    else:
        server.middleware.append(boundary)


def _accept_subscriptions(server: Server[Any]) -> None:
    """Let clients of 2025-11-25 subscribe to resources where the author left that out; the host keeps who did."""

    async def subscribe(ctx: object, params: SubscribeRequestParams) -> EmptyResult:
        return EmptyResult()

    async def unsubscribe(ctx: object, params: UnsubscribeRequestParams) -> EmptyResult:
        return EmptyResult()

    has_resources = server.get_request_handler("resources/read") is not None
    if has_resources and server.get_request_handler("resources/subscribe") is None:
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, subscribe)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, unsubscribe)


@contextlib.contextmanager
def _drained_on_signal(host: SessionHost) -> Generator[None]:
    """Begin to stop when the process is told to; an ASGI server tells its application only after the last stream."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

    def stop(number: int, frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(host.drain)
        handler = before[signal.Signals(number)]
        if callable(handler):
            handler(number, frame)

    for number, handler in before.items():
        if callable(handler):
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            if callable(handler):
                signal.signal(number, handler)
