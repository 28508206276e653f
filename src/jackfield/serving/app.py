"""`serve_sessions`: an ASGI application that serves an SDK server's sessions from any instance."""

from __future__ import annotations

import contextlib
import gc
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping, Sequence
from typing import Any, Literal

from mcp.server.auth.provider import TokenVerifier
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp_types import EmptyResult, SetLevelRequestParams, SubscribeRequestParams, UnsubscribeRequestParams
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from .access import Access, access_by, access_of
from .author_options import METRICS_PATH, check_callback, check_names, check_path, check_seconds, check_stores
from .backends import Backend
from .host import SessionHost
from .limits import ServingLimits
from .metrics import Counted, ServingMetrics, note_outcomes, timed
from .request_checks import BodyCheck, HostCheck, accepts_others
from .sdk_seams import trace_if_set_up
from .stopping import READY_PATH, Stopping, closing
from .stores import SessionStore
from .streams import StreamManager

logger: logging.Logger = logging.getLogger("jackfield")

_FULL_COLLECTION = 1
"""After more collections of some 7,000 younger objects than this, a full one is due; 10 is what Python begins with."""


class ServedSessions:
    """The ASGI application that `serve_sessions` returns.

    Run it with any ASGI server, or mount it in a Starlette or FastAPI application. A mounted application is not started
    automatically: pass `lifespan=served.lifespan` to the outer one.
    """

    def __init__(
        self,
        host: SessionHost | StreamableHTTPSessionManager,
        endpoint: Route,
        routes: Sequence[BaseRoute],
        access: Access | None,
        metrics: ServingMetrics,
        *,
        counts_sessions: bool,
        stop_delay: float,
    ) -> None:
        self._host = host
        self._stopping = Stopping(self._drain, stop_delay)
        self._is_running = False
        self._access = access
        self.metrics: ServingMetrics = metrics
        self._counts_sessions = counts_sessions
        middleware = [] if access is None else access.middleware
        self._endpoint = endpoint
        every = [endpoint, *routes, Route(READY_PATH, self._answer_if_ready)]
        self._app = Starlette(routes=every, middleware=middleware, lifespan=self.lifespan)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or run the lifespan."""
        if self._stopping.has_begun:
            send = closing(scope, send)
        is_direct = self._access is None and scope["type"] == "http"
        if is_direct and scope["path"] == scope.get("root_path", "") + self._endpoint.path:
            # Nothing is found out on the way through Starlette that the endpoint needs.
            scope["app"] = self._app
            await self._endpoint.app(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object = None) -> AsyncGenerator[None]:
        """Serve for a while.

        Raises:
            StoreUnavailableError: The store cannot be reached.
            ConfigError: The store is set up in a way that would lose sessions, or lacks its tables.
        """
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self._host.run())
            count = None if isinstance(self._host, StreamableHTTPSessionManager) else self._host.sessions.count
            await stack.enter_async_context(self.metrics.observed(count, always=self._counts_sessions))
            stack.enter_context(self._stopping.on_signal())
            stack.enter_context(_uncollected())
            self._is_running = True
            try:
                yield
            finally:
                self._is_running = False

    @property
    def is_ready(self) -> bool:
        """Whether new requests should be sent to this instance: its lifespan runs, and it is not stopping.

        `GET /ready` answers with it, 200 or 503. Where this application is mounted, it is for your own health check.
        """
        is_draining = isinstance(self._host, SessionHost) and self._host.is_draining
        return self._is_running and not (self._stopping.has_begun or is_draining)

    async def _answer_if_ready(self, request: Request) -> Response:
        return PlainTextResponse("ready") if self.is_ready else PlainTextResponse("not ready", 503)

    def _drain(self) -> None:
        if isinstance(self._host, SessionHost):
            self._host.drain()

    @property
    def host(self) -> SessionHost:
        """What serves the sessions.

        Raises:
            RuntimeError: There are none: `stateless` was given.
        """
        if isinstance(self._host, StreamableHTTPSessionManager):
            raise RuntimeError("A stateless server has no sessions.")
        return self._host

    @property
    def well_known_routes(self) -> Sequence[BaseRoute]:
        """What tells clients without a token who issues tokens. It is served already; where this application is mounted
        below a path, add these to the routes of the outer one: clients look for them at the root."""
        return () if self._access is None else self._access.routes

    async def notify(self, session_id: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to a session, on whichever instance its client reads.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.host.notify(session_id, method, params)

    async def notify_all(self, method: str, params: Mapping[str, Any] | None = None) -> int:
        """Send a notification to all sessions; returns their number.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        ids = await self.host.sessions.live()
        for session_id in ids:
            await self.host.notify(session_id, method, params)
        return len(ids)

    async def end_session(self, session_id: str) -> bool:
        """End a session; returns whether it existed.

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
    auth: TokenVerifier | Literal["none"] | None = None,
    session_ttl: float = 3600.0,
    reconnect_timeout: float | None = None,
    on_session_end: Callable[[str], None] | None = None,
    stateless: bool = False,
    sessions_only: bool = False,
    keys: Sequence[bytes | str] | None = None,
    path: str = "/mcp",
    allowed_hosts: Sequence[str] | None = None,
    allowed_origins: Sequence[str] | None = None,
    limits: ServingLimits | None = None,
    metrics: bool = False,
    stop_delay: float = 0.0,
    drain_timeout: float = 10.0,
) -> ServedSessions:
    """Serve an SDK server over Streamable HTTP, with sessions that live on every instance that shares the backend.

    ```python
    app = serve_sessions(server, RedisBackend("redis://127.0.0.1:6379"))
    ```

    Args:
        server: An `MCPServer`, or a low-level `Server` of the SDK.
        backend: The shared store of all instances; if omitted, sessions live in this process.
        sessions: A session store instead of the backend's.
        streams: A stream manager instead of the backend's.
        auth: Checks the tokens of clients: a `JWTAuth`, a `BearerFile`, or any `TokenVerifier` of the SDK. A session
            then belongs to the user and client that opened it. Omit it if the server has its own `auth` settings.
            "none" confirms that clients are not checked although other machines are accepted.
        session_ttl: Seconds that a session lives without a request or an open stream.
        reconnect_timeout: Seconds after which a client whose standalone stream broke counts as gone, and its session
            is ended, unless it has come back with any request. Many clients never end their session. If
            omitted, only `session_ttl` counts.
        on_session_end: Called on the event loop with the id of each session that was used on this instance and has
            ended: by its client, by `end_session`, by one of these two times, or because the store lost it.
        stateless: No sessions: each request is independent, and only answers are sent to the client.
        sessions_only: Offer only protocol versions that have sessions, 2025-11-25 and older; clients of 2026-07-28 fall
            back to them. For servers that need sessions, such as those that use `state(ctx)`.
        keys: The keys that protect the `requestState` of MCP 2026-07-28, each of at least 32 bytes, the same on every
            instance. The first one protects, all are accepted, so that they can be rotated.
        path: The path of the endpoint.
        allowed_hosts: Accepted `Host` headers, `name:*` for any port, `*` for all; those of this machine if omitted.
        allowed_origins: Accepted `Origin` headers, written in the same way. If omitted: all where all hosts are
            accepted, otherwise those of this machine.
        limits: Limits on what clients can make it store.
        metrics: Serve metrics for Prometheus at `/metrics`, to everyone who can reach it. OpenTelemetry gets
            them in any case, if the program has set it up.
        stop_delay: Seconds between SIGTERM and the moment at which this instance begins to stop. Until then it serves
            as before, but `GET /ready` answers 503, so that a load balancer sends requests elsewhere. Set it to a few
            intervals of the balancer's health check: without it, a request that is on its way when the process gets
            SIGTERM may be lost.
        drain_timeout: Seconds for running requests from then on. Streams end immediately, so that clients reconnect
            elsewhere; a request that runs longer is answered with an error that says that it may have taken effect.

    Raises:
        TypeError: The server is neither of the two, `auth` cannot check tokens, or a setting is of another kind.
        ValueError: A setting is out of range, or clients from other machines would be accepted without `auth`.

    Source: MCP 2025-11-25, basic/transports "Session Management", "Resumability and Redelivery"; MCP 2026-07-28.
    """
    if stateless and sessions_only:
        raise ValueError("`stateless` and `sessions_only` exclude each other.")
    check_stores(backend, sessions, streams, limits)
    check_callback("on_session_end", on_session_end)
    check_seconds("stop_delay", stop_delay)
    check_path(path, metrics=metrics)
    check_names(allowed_hosts, allowed_origins)
    low_level, routes, access = _low_level(server, path)
    access = _access(access, auth, allowed_hosts)
    if keys is not None:
        _share_keys(low_level, keys)
    bounds, counted = limits or ServingLimits(), ServingMetrics()
    note_outcomes(low_level)
    trace_if_set_up(low_level)
    if stateless:
        host = StreamableHTTPSessionManager(low_level, stateless=True, max_request_body_size=bounds.body_bytes)
        endpoint: ASGIApp = BodyCheck(StreamableHTTPASGIApp(host), bounds.body_bytes)
    else:
        _accept_session_settings(low_level)
        given = backend or Backend()
        endpoint = host = SessionHost(
            low_level,
            timed(sessions or given.sessions, counted),
            timed(streams or given.streams, counted),
            session_ttl=session_ttl,
            reconnect_timeout=reconnect_timeout,
            on_session_end=on_session_end,
            limits=bounds,
            metrics=counted,
            drain_timeout=drain_timeout,
            sessions_only=sessions_only,
        )
    if access is not None:
        endpoint = access.required(endpoint)
        routes += access.routes
    if metrics:
        routes.append(Route(METRICS_PATH, _metrics_page(host, counted)))
    endpoint = Counted(HostCheck(endpoint, allowed_hosts, allowed_origins), counted)
    return ServedSessions(
        host, Route(path, endpoint), routes, access, counted, counts_sessions=metrics, stop_delay=stop_delay
    )


@contextlib.contextmanager
def _uncollected() -> Generator[None]:
    """While in this context, exclude what exists now from garbage collection: it stays until the end anyway.

    A full collection visits all modules, for about 0.1 s in which nothing is answered, after every few thousand calls.
    Without them it takes milliseconds, so it runs more often: closed sessions with servers are reference cycles.
    """
    if gc.get_freeze_count():
        # Someone else has done it, and decides when that ends.
        yield
        return
    thresholds = gc.get_threshold()
    gc.freeze()
    # A full collection waits until there are a quarter more objects than after the last one, which counted the modules.
    gc.collect()
    gc.set_threshold(*thresholds[:2], min(thresholds[2], _FULL_COLLECTION))
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


def _metrics_page(
    host: SessionHost | StreamableHTTPSessionManager, counted: ServingMetrics
) -> Callable[[Request], Awaitable[Response]]:
    async def answer(request: Request) -> Response:
        if isinstance(host, SessionHost):
            await counted.count_sessions(host.sessions.count)
        return Response(counted.text(), media_type="text/plain; version=0.0.4")

    return answer


def _low_level(server: MCPServer[Any] | Server[Any], path: str) -> tuple[Server[Any], list[BaseRoute], Access | None]:
    """The low-level server, the routes that its author added, and how its own settings check clients."""
    if isinstance(server, Server):
        return server, [], None
    if isinstance(server, MCPServer):  # pyright: ignore[reportUnnecessaryIsInstance]
        # The public way to all three.
        app = server.streamable_http_app(streamable_http_path=path)
        routes = [route for route in app.routes if getattr(route, "path", None) != path]
        return server.session_manager.app, routes, access_of(app, path)
    hint = " It holds one, `server._mcp_server`." if isinstance(getattr(server, "_mcp_server", None), Server) else ""
    raise TypeError(
        f"`server` must be an MCPServer or a low-level Server of the SDK, not {type(server).__name__}.{hint}"
    )


def _access(
    own: Access | None, auth: TokenVerifier | Literal["none"] | None, hosts: Sequence[str] | None
) -> Access | None:
    if own is not None:
        if auth is not None:
            raise ValueError("The server was created with its own `auth` settings: omit `auth`.")
        return own
    if auth is None and accepts_others(hosts):
        raise ValueError(
            "`allowed_hosts` accepts clients of other machines, but does not authenticate them. Give `auth`; or "
            'auth="none" if anyone may use this server, or a proxy in front of it authenticates them.'
        )
    return None if auth is None or auth == "none" else access_by(auth)


def _share_keys(server: Server[Any], keys: Sequence[bytes | str]) -> None:
    if isinstance(keys, str | bytes):
        raise TypeError("`keys` must be a list of keys, not one key.")
    boundary = RequestStateBoundary(RequestStateSecurity(keys=keys), default_audience=server.name)
    places = [place for place, one in enumerate(server.middleware) if isinstance(one, RequestStateBoundary)]
    if places:
        server.middleware[places[0]] = boundary
    else:
        server.middleware.append(boundary)


def _accept_session_settings(server: Server[Any]) -> None:
    """Let clients of 2025-11-25 set a log level and subscribe to resources if the author did not handle it: sessions
    store both."""

    async def accept(ctx: object, params: object) -> EmptyResult:
        return EmptyResult()

    if server.get_request_handler("logging/setLevel") is None:
        server.add_request_handler("logging/setLevel", SetLevelRequestParams, accept)
    has_resources = server.get_request_handler("resources/read") is not None
    if has_resources and server.get_request_handler("resources/subscribe") is None:
        server.add_request_handler("resources/subscribe", SubscribeRequestParams, accept)
        server.add_request_handler("resources/unsubscribe", UnsubscribeRequestParams, accept)
