"""The network streams below the HTTP client, with fewer steps for each request.

The head and the body of a request leave in one piece, which is one system call and one packet less. Whether an idle
connection was closed, which is looked up for all of them before and after each request, takes two steps instead of
thirty.

httpx2 offers no setting for these streams. What is used of it without its promise is in `use_quick_streams`;
`tests/transport/test_http_client.py` fails if it moves, and connections then work as httpx2 has them.
"""

from __future__ import annotations

import select
import socket
import ssl
from typing import Any

import httpx2

_HEAD_END = b"\r\n\r\n"
# Copying more than that costs more than a second system call.
_JOINED_BYTES = 64 * 1024


def use_quick_streams(transport: httpx2.AsyncHTTPTransport) -> None:
    """Have the connections of a transport use these streams."""
    pool = getattr(transport, "_pool", None)
    backend = getattr(pool, "_network_backend", None)
    if pool is not None and backend is not None:
        pool._network_backend = _QuickBackend(backend)


class _QuickBackend:
    """Opens connections."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    async def connect_tcp(self, *args: Any, **options: Any) -> _QuickStream:
        return _QuickStream(await self._inner.connect_tcp(*args, **options))

    async def connect_unix_socket(self, *args: Any, **options: Any) -> _QuickStream:
        return _QuickStream(await self._inner.connect_unix_socket(*args, **options))

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)


class _QuickStream:
    """A connection. The head of a request is held until its body, the end of the request, or a read follows."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner
        self._held = b""
        self._socket: socket.socket | None = inner.get_extra_info("socket")
        self._poll: select.poll | None = None

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
    ) -> _QuickStream:
        return _QuickStream(await self._inner.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        if info == "is_readable" and self._socket is not None and hasattr(select, "poll"):
            return self._is_readable(self._socket)
        return self._inner.get_extra_info(info)

    def _is_readable(self, own: socket.socket) -> bool:
        """Whether there is something to read, such as the end of the connection."""
        if own.fileno() < 0:
            return True  # It was closed here.
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(own, select.POLLIN)
        return bool(self._poll.poll(0))
