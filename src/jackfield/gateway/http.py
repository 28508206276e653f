"""Serves a gateway over Streamable HTTP on loopback.

`serve_sessions` does the protocol, in both eras, refuses requests that a web page elsewhere makes (Host and Origin are
checked), and says when a client has gone.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Generator
from dataclasses import dataclass
from hmac import compare_digest
from typing import TYPE_CHECKING

import uvicorn
from starlette.responses import Response

from ..errors import ConfigError
from ..serving import serve_sessions
from .gateway import Gateway
from .signals import until_signalled

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/mcp"
SESSION_IDLE_SECONDS = 1800.0
"""A client's session is over when nothing of it was under way for so long."""

RECONNECT_SECONDS = 30.0
"""A client is gone when its standing GET stream broke and nothing came from it for so long."""

_GRACE_SECONDS = 1
"""How long an open stream may hold up the end."""


def listen(address: str) -> tuple[socket.socket, str]:
    """Take a port of this machine; returns it with the URL to be reached at.

    Args:
        address: `HOST:PORT`, or a port; port 0 takes a free one.

    Raises:
        ConfigError: It is no such address, not one of this machine alone, or it is taken.
    """
    host, separator, port = address.rpartition(":")
    host = host.strip("[]") if separator else "127.0.0.1"
    if not port.isdigit() or int(port) > 65535 or (separator and not host):
        raise ConfigError(f"{address!r} is not an address to serve at.", hint="Give HOST:PORT, such as 127.0.0.1:8000.")
    name = "127.0.0.1" if host == "localhost" else host
    try:
        is_loopback = ipaddress.ip_address(name).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise ConfigError(
            f"{host!r} is not an address of this machine alone.",
            hint="Serve at 127.0.0.1, ::1 or localhost; put a proxy with TLS and users in front of it for others.",
        )
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
            f"{address} cannot be served at: {error.strerror or error}.",
            hint="Give another port, or 0 for any that is free.",
        ) from None
    shown = f"[{name}]" if ":" in name else host
    return listener, f"http://{shown}:{listener.getsockname()[1]}{PATH}"


@dataclass(frozen=True)
class HttpSettings:
    """How a gateway is served over HTTP.

    Args:
        token: What clients must send as `Authorization: Bearer`, if anything.
        session_idle_timeout: Seconds after which a client of which nothing is under way counts as gone.
        reconnect_timeout: The same for a client whose standing GET stream broke; a new stream, or a request that takes
            longer, keeps its sessions.
    """

    token: str | None = None
    session_idle_timeout: float = SESSION_IDLE_SECONDS
    reconnect_timeout: float = RECONNECT_SECONDS


async def serve_http(
    gateway: Gateway,
    listener: socket.socket,
    settings: HttpSettings | None = None,
    *,
    on_listening: Callable[[], None] = lambda: None,
) -> int | None:
    """Serve until a signal comes; returns its number.

    Args:
        gateway: What to serve.
        listener: From `listen()`; closed in the end.
        settings: How; the defaults of `HttpSettings` if omitted.
        on_listening: Called when clients can connect.
    """
    settings = settings or HttpSettings()
    host = listener.getsockname()[0]
    app: ASGIApp = serve_sessions(
        gateway.server,
        path=PATH,
        session_ttl=settings.session_idle_timeout,
        reconnect_timeout=settings.reconnect_timeout,
        on_session_end=gateway.clients.end,
        allowed_hosts=_names_of_this_machine(host),
        drain_timeout=_GRACE_SECONDS,
    )
    config = uvicorn.Config(
        app if settings.token is None else _TokenCheck(app, settings.token),
        log_config=None,
        # It would tell of streams that it cuts off when it ends.
        log_level="critical",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Uvicorn(config, on_listening)

    async def serve() -> None:
        await server.serve([listener])

    def stop() -> None:
        server.should_exit = True

    with contextlib.closing(listener):
        return await until_signalled(serve, stop)


def _names_of_this_machine(address: str) -> list[str]:
    """Against web pages whose name leads to this machine (DNS rebinding)."""
    own = f"[{address}]" if ":" in address else address
    hosts = dict.fromkeys((own, "127.0.0.1", "localhost", "[::1]"))
    return [form for host in hosts for form in (host, f"{host}:*")]


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


class _TokenCheck:
    """Lets in who has the token."""

    def __init__(self, app: ASGIApp, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            given = next((value for name, value in scope["headers"] if name == b"authorization"), b"")
            if not compare_digest(given, self._expected):
                refusal = Response("A bearer token is needed.", 401, {"WWW-Authenticate": "Bearer"})
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)
