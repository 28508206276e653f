"""Serves a gateway over Streamable HTTP.

`serve_sessions` does the protocol, in both eras, refuses requests that a web page elsewhere makes (Host and Origin are
checked), and says when a client has gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import math
import signal
import socket
from collections.abc import Awaitable, Callable, Generator
from functools import lru_cache, partial
from typing import TYPE_CHECKING, cast

import uvicorn
from mcp_types import INVALID_REQUEST
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ..errors import ConfigError, JackfieldError
from ..serving import serve_sessions
from ..serving.stopping import READY_PATH
from ..serving.wire import refusal
from .gateway import Gateway
from .http_protocol import OneWriteProtocol
from .http_settings import HttpSettings
from .instances.cluster import Cluster
from .instances.keys import InstanceKeys
from .metrics import GatewayMetrics
from .operations import WithOperations
from .signals import until_signalled
from .slow_clients import WaitingClients

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send
    from uvicorn._types import ASGI3Application

    from .instances.taking import Taking
    from .sign_in_pages import SignInPages
    from .web.settings import WebSettings
    from .web.site import WebPage

PATH = "/mcp"
_MOST_AT_ONCE = 256
_GRACE_SECONDS = 1
"""How long an open stream may hold up the end."""


def listen(address: str, settings: HttpSettings | None = None) -> tuple[socket.socket, str]:
    """Take a port; returns it with the URL to be reached at.

    Args:
        address: `HOST:PORT`, or a port of this machine alone; port 0 takes a free one.
        settings: Say whether other machines may be served.

    Raises:
        ConfigError: It is no such address or must not be served at (`key` is `address`), or is taken, or TLS cannot be
            done.
    """
    settings = settings or HttpSettings()
    host, separator, port = address.rpartition(":")
    host = host.strip("[]") if separator else "127.0.0.1"
    name = "127.0.0.1" if host == "localhost" else host
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= 65535 and host):
        raise ConfigError(
            f"{address!r} is not an address to listen on.",
            key="address",
            hint="Give IP:PORT, such as 127.0.0.1:8000.",
        )
    settings.check_address(name)
    try:
        ipaddress.ip_address(name)
    except ValueError:
        raise ConfigError(
            f"{host!r} is not an IP address.",
            key="address",
            hint="Give the IP address to listen on, or 0.0.0.0, and --public-url.",
        ) from None
    settings.check_tls()
    # Named outright: asyncio turns off the delay of small packets only where it knows that it is TCP.
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    listener = socket.socket(family, proto=socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((name, int(port)))
        listener.listen()
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Listening on {address} failed: {error.strerror or error}.",
            hint="Give an address that this machine has, or 0.0.0.0."
            if error.errno == errno.EADDRNOTAVAIL
            else "Give another port, or 0 for any free port.",
        ) from None
    return listener, settings.url(host, listener.getsockname()[1], PATH)


async def serve_http(
    gateway: Gateway,
    listener: socket.socket,
    settings: HttpSettings | None = None,
    *,
    on_listening: Callable[[str | None], None] = lambda page: None,
    reload: Callable[[], Awaitable[None]] | None = None,
) -> int | None:
    """Serve until a signal comes; returns its number.

    Args:
        gateway: What to serve.
        listener: From `listen()`; closed in the end.
        settings: How, as given to `listen()`; the defaults of `HttpSettings` if omitted.
        on_listening: Called when clients can connect, with the address of the page, if it is served: a link that is
            valid once, unless clients need tokens.
        reload: Called on SIGHUP, which ends it if omitted.

    Raises:
        JackfieldError: It cannot begin: the store that instances share cannot be reached, or does not fit.
    """
    settings = settings or HttpSettings()
    host = listener.getsockname()[0]
    shared = settings.instances
    run = settings.operations
    served = serve_sessions(
        gateway.server,
        None if shared is None else shared.backend,
        path=PATH,
        auth=settings.auth,
        session_ttl=settings.session_idle_timeout,
        reconnect_timeout=settings.reconnect_timeout,
        on_session_end=gateway.clients.end,
        allowed_hosts=settings.allowed_hosts(host),
        allowed_origins=settings.allowed_origins(host),
        limits=run.limits,
        stop_delay=run.stop_delay,
        drain_timeout=run.drain_timeout,
    )
    counted = GatewayMetrics(gateway.activity, gateway.sessions, served.metrics)
    page = None if settings.web is None else _page(gateway, listener, settings, settings.web)
    app: ASGIApp = WithOperations(served, served, settings.auth, metrics=run.metrics, fault=gateway.fault)
    sign_in: SignInPages | None = None
    if gateway.credentials.tokens is not None:
        from .sign_in_pages import sign_in_pages

        sign_in = sign_in_pages(gateway, settings, settings.url(host, listener.getsockname()[1], PATH), host)
        app = app if sign_in is None else _WithPages(app, sign_in)
    app = app if page is None else _WithPages(app, page)
    if settings.trusted_proxies:
        trusted = ProxyHeadersMiddleware(cast("ASGI3Application", app), list(settings.trusted_proxies))
        app = OnlyByProxy(cast("ASGIApp", trusted), app, settings)
    taking: Taking | None = None
    if shared is not None:
        url = shared.url or _url_of_instance(listener, settings)
        gateway.clients.others = cluster = Cluster(
            served.host,
            gateway.clients,
            InstanceKeys(shared.keys),
            url,
            gateway.figures,
            gateway.child_bounds,
            gateway.config_for,
            counted.left_ended,
        )
        app, taking = cluster.serving(served, app), cluster.taking
        if gateway.credentials.tokens is not None and (kept := cluster.kept_tokens(shared.keys)) is not None:
            gateway.credentials.tokens.keep_in(kept)
        if sign_in is not None:
            sign_in.share(cluster.talk)
    beginning = _Beginning(app)
    config = uvicorn.Config(
        beginning,
        http=cast("type[asyncio.Protocol]", partial(OneWriteProtocol, direct=taking, waiting=WaitingClients())),
        log_config=None,
        # It would tell of streams that it cuts off when it ends.
        log_level="critical",
        access_log=False,
        lifespan="on",
        ws="none",
        # What a proxy says is believed of those alone that are named.
        proxy_headers=False,
        server_header=False,
        # So many connections are taken at once, before any of them can be ended.
        backlog=_MOST_AT_ONCE,
        ssl_certfile=settings.certfile,
        ssl_keyfile=settings.keyfile,
        timeout_graceful_shutdown=math.ceil(run.drain_timeout) + _GRACE_SECONDS,
    )
    server = _Uvicorn(config, lambda: on_listening(None if page is None else page.address()))

    async def serve() -> None:
        async with contextlib.AsyncExitStack() as stack:
            if page is not None:
                await stack.enter_async_context(page)
            try:
                await server.serve([listener])
            except SystemExit:
                # uvicorn knows no other way to say that it did not begin.
                if beginning.failure is None:
                    raise

    waiting: list[asyncio.TimerHandle] = []

    def exit_now() -> None:
        server.should_exit = True
        if page is not None:
            page.close()

    def stop(number: int) -> None:
        if server.should_exit:
            # Somebody is in a hurry.
            served.host.stop_requests()
        elif number == signal.SIGTERM and run.stop_delay and not waiting:
            # `served` is not ready any more, and drains then.
            waiting.append(asyncio.get_running_loop().call_later(run.stop_delay, exit_now))
        else:
            exit_now()

    with contextlib.closing(listener):
        received = await until_signalled(serve, stop, reload)
    if beginning.failure is not None:
        raise beginning.failure
    return received


def _page(gateway: Gateway, listener: socket.socket, settings: HttpSettings, web: WebSettings) -> WebPage:
    from .web.access import PageAccess
    from .web.browser_sign_in import CALLBACK, BrowserSignIn
    from .web.site import WebPage

    host, port = listener.getsockname()[:2]
    url = settings.url(host, port, PATH).rpartition("/")[0] + "/"
    sign_in = None if web.oauth is None else BrowserSignIn(web.oauth, f"{url}{CALLBACK}")
    access = PageAccess(url, tokens=settings.auth, on_link=web.on_link, sign_in=sign_in)
    hosts, origins = settings.allowed_hosts(host), settings.allowed_origins(host)
    return WebPage(gateway, access, endpoint=PATH, hosts=hosts, origins=origins, background=web.background)


def _url_of_instance(listener: socket.socket, settings: HttpSettings) -> str:
    """Where other instances reach this one, as far as that can be seen from where it listens.

    Raises:
        ConfigError: It cannot.
    """
    host, port = listener.getsockname()[:2]
    if ipaddress.ip_address(host).is_unspecified:
        raise ConfigError(
            f"Other instances cannot reach this one at {host}.",
            hint="Give --instance-url, such as http://10.0.0.7:8000.",
        )
    shown = f"[{host}]" if ":" in host else host
    return f"{'http' if settings.certfile is None else 'https'}://{shown}:{port}"


class _Beginning:
    """An application whose lifespan may fail to begin.

    Args:
        app: The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.failure: JackfieldError | None = None
        """Why it did not begin."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            await self._app(scope, receive, send)
            return
        try:
            await self._app(scope, receive, send)
        except BaseException as error:
            self.failure = _cause(error)
            raise


def _cause(error: BaseException) -> JackfieldError | None:
    """The error of ours that an error is, or that is in a group of errors."""
    if isinstance(error, BaseExceptionGroup):
        members = cast("BaseExceptionGroup[BaseException]", error).exceptions
        return next((found for one in members if (found := _cause(one)) is not None), None)
    return error if isinstance(error, JackfieldError) else None


class _Uvicorn(uvicorn.Server):
    """Leaves signals alone: there is more to end than this server. Says when it listens."""

    def __init__(self, config: uvicorn.Config, on_listening: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_listening = on_listening

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """As uvicorn calls it."""
        await super().startup(sockets)
        self._on_listening()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        """As uvicorn calls it; takes none."""
        yield


class _WithPages:
    """The gateway, and pages for people.

    Args:
        app: Answers everything else.
        page: Answers requests for the pages.
    """

    def __init__(self, app: ASGIApp, page: WebPage | SignInPages) -> None:
        self._app = app
        self._page = page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._page if self._page.takes(scope) else self._app)(scope, receive, send)


_OPEN_PATHS = frozenset({"/health", "/health/live", "/health/ready", "/metrics", READY_PATH})
"""What asks an instance itself, not through the proxy: checks of its health, and Prometheus."""


class OnlyByProxy:
    """Refuses clients of other machines that did not come through a trusted proxy: nothing encrypts what they send.

    Args:
        by_proxy: Answers what comes through a proxy.
        direct: Answers those who ask this instance itself how it is.
        settings: Name the proxies.
    """

    def __init__(self, by_proxy: ASGIApp, direct: ASGIApp, settings: HttpSettings) -> None:
        self._by_proxy = by_proxy
        self._direct = direct
        self._is_trusted = lru_cache(1024)(settings.is_trusted)
        self._is_encrypted = settings.certfile is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._is_trusted((scope.get("client") or ("",))[0]):
            await self._by_proxy(scope, receive, send)
        elif self._is_encrypted or scope["path"] in _OPEN_PATHS:
            await self._direct(scope, receive, send)
        else:
            text = "Nothing was run: this server can be used only through its TLS proxy."
            await refusal(403, INVALID_REQUEST, text)(scope, receive, send)
