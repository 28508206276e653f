"""Serves a gateway over Streamable HTTP on loopback.

The SDK's app does the protocol, in both eras, and refuses requests that a web page elsewhere makes (Host and
Origin are checked). Around it stands how long a client's session lives.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Callable, Generator
from hmac import compare_digest
from typing import TYPE_CHECKING

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings
from starlette.responses import Response

from ..errors import ConfigError
from .gateway import Gateway
from .http_sessions import HttpSessions
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


async def serve_http(
    gateway: Gateway,
    listener: socket.socket,
    *,
    token: str | None = None,
    session_idle_timeout: float = SESSION_IDLE_SECONDS,
    reconnect_timeout: float = RECONNECT_SECONDS,
    on_listening: Callable[[], None] = lambda: None,
) -> int | None:
    """Serve until a signal comes; returns its number.

    Args:
        gateway: What to serve.
        listener: From `listen()`; closed in the end.
        token: What clients must send as `Authorization: Bearer`, if anything.
        session_idle_timeout: Seconds after which a client of which nothing is under way counts as gone.
        reconnect_timeout: The same for a client whose standing GET stream broke; a new stream, or a request that takes
            longer, keeps its sessions.
        on_listening: Called when clients can connect.
    """
    app: ASGIApp = gateway.server.streamable_http_app(
        streamable_http_path=PATH,
        session_idle_timeout=None,  # HttpSessions knows more.
        transport_security=_only_this_machine(listener.getsockname()[0]),
    )
    sessions = HttpSessions(
        app, PATH, gateway.client_ended, idle_timeout=session_idle_timeout, reconnect_timeout=reconnect_timeout
    )
    guarded = sessions if token is None else _TokenCheck(sessions, token)
    config = uvicorn.Config(
        guarded,
        log_config=None,
        # It would tell of streams that it cuts off when it ends.
        log_level="critical",
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
    server = _Uvicorn(config)

    async def serve() -> None:
        async with sessions.running():
            on_listening()
            await server.serve([listener])

    def stop() -> None:
        server.should_exit = True

    with contextlib.closing(listener):
        return await until_signalled(serve, stop)


def _only_this_machine(address: str) -> TransportSecuritySettings:
    """Against web pages whose name leads to this machine (DNS rebinding)."""
    own = f"[{address}]" if ":" in address else address
    hosts = list(dict.fromkeys((own, "127.0.0.1", "localhost", "[::1]")))
    allowed = [form for host in hosts for form in (host, f"{host}:*")]
    return TransportSecuritySettings(allowed_hosts=allowed, allowed_origins=[f"http://{host}" for host in allowed])


class _Uvicorn(uvicorn.Server):
    """Leaves signals alone: there is more to end than this server."""

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
