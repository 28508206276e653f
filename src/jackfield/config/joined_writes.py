"""Sends the head and the body of an HTTP request in one piece: one system call, and one packet, less for each request.

httpx2 offers no setting for the network streams below it. What is used of it without its promise is in `join_writes`;
`tests/transport/test_http_client.py` fails if it moves, and requests then go out in two pieces again.
"""

from __future__ import annotations

import ssl
from typing import Any

import httpx2

_HEAD_END = b"\r\n\r\n"
# Copying more than that costs more than a second system call.
_JOINED_BYTES = 64 * 1024


def join_writes(transport: httpx2.AsyncHTTPTransport) -> None:
    """Have the connections of a transport send requests in one piece."""
    pool = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if pool is not None and backend is not None:
        pool._network_backend = _JoiningBackend(backend)


class _JoiningBackend:
    """Opens connections."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> _JoiningStream:
        return _JoiningStream(await self._inner.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> _JoiningStream:
        return _JoiningStream(await self._inner.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _JoiningStream:
    """A connection. The head of a request is held until its body, the end of the request, or a read follows."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._held = b""

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        held, self._held = self._held, b""
        if not held and buffer.endswith(_HEAD_END):
            self._held = buffer
            return
        if held and len(buffer) > _JOINED_BYTES:
            await self._inner.write(held, timeout)
            held = b""
        await self._inner.write(held + buffer if held else buffer, timeout)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._held:
            await self.write(b"", timeout)
        return await self._inner.read(max_bytes, timeout)

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> _JoiningStream:
        return _JoiningStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
