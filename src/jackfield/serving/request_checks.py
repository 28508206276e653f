"""Checks before a request's body is parsed: unknown hosts and origins, and oversized bodies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial

from mcp.server.transport_security import RequestBodyLimitMiddleware
from mcp_types import INVALID_REQUEST
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ..auth.resource import is_loopback
from ..errors import one_line
from .inbound import header_of
from .metrics import note_of
from .wire import refusal

_PORT = re.compile(r":(\*|[0-9]+)$")
_LOOPBACK = ("127.0.0.1", "127.0.0.1:*", "localhost", "localhost:*", "[::1]", "[::1]:*")


class HostCheck:
    """Refuses requests for unknown host names or from unknown web pages, to prevent DNS rebinding.

    Args:
        app: The application behind it.
        hosts: Accepted `Host` headers, `name:*` for any port, `*` for all; those of this machine if omitted.
        origins: Accepted `Origin` headers, written in the same way. If omitted: all where all hosts are accepted,
            otherwise those of this machine.

    Source: MCP 2025-11-25, basic/transports "Security Warning".
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str] | None, origins: Sequence[str] | None) -> None:
        self._app = app
        hosts = _LOOPBACK if hosts is None else tuple(hosts)
        if origins is None:
            origins = ("*",) if "*" in hosts else [f"http://{host}" for host in _LOOPBACK]
        # Clients send the same few again and again.
        self._is_host = lru_cache(128)(partial(_is_among, accepted=tuple(host.lower() for host in hosts)))
        self._is_origin = lru_cache(128)(partial(_is_among, accepted=tuple(origin.lower() for origin in origins)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        host, origin = header_of(scope, b"host"), header_of(scope, b"origin")
        if not self._is_host(host):
            await _refused(421, "Host", host, "allowed_hosts")(scope, receive, send)
        elif origin and not self._is_origin(origin):
            await _refused(403, "Origin", origin, "allowed_origins")(scope, receive, send)
        else:
            await self._app(scope, receive, send)


def _is_among(value: str, accepted: Sequence[str]) -> bool:
    value = value.lower()
    return any(one == "*" or value == one or (one.endswith(":*") and value.startswith(one[:-1])) for one in accepted)


def _refused(status: int, header: str, value: str, setting: str) -> ASGIApp:
    text = (
        f"Nothing was run: this server does not accept the {header} header {one_line(value, 100)!r}. Its operator can "
        f"add it to the `{setting}` of `serve_sessions`."
    )
    return refusal(status, INVALID_REQUEST, text)


class BodyCheck:
    """Refuses requests whose body is too large; others are read and passed on.

    Args:
        app: What answers them.
        body_bytes: The bound, of `ServingLimits`.
    """

    def __init__(self, app: ASGIApp, body_bytes: int) -> None:
        self._app = app
        self._body_bytes = body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_passed = False

        async def passed(scope: Scope, receive: Receive, send: Send) -> None:
            nonlocal is_passed
            is_passed = True
            await self._app(scope, receive, send)

        async def answered(message: Message) -> None:
            # The SDK's own refusal does not name the bound.
            if is_passed:
                await send(message)

        await RequestBodyLimitMiddleware(passed, self._body_bytes)(scope, receive, answered)
        if not is_passed:
            note_of(scope).bound = "body_bytes"
            text = f"Nothing was run: the request is too large (`body_bytes` is {self._body_bytes})."
            await refusal(413, INVALID_REQUEST, text)(scope, receive, send)


def accepts_others(hosts: Sequence[str] | None) -> bool:
    """Whether clients of other machines are accepted under one of these names."""
    return any(not is_loopback(host.rpartition(":")[0] if _PORT.search(host) else host) for host in hosts or ())
