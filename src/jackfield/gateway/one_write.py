"""`OneWriteProtocol`: connections of uvicorn whose answers leave in one piece.

uvicorn writes the head of an answer and its body one after the other. Each is a system call, and wakes the client.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.auto import AutoHTTPProtocol

if TYPE_CHECKING:
    _Protocol = asyncio.Protocol
else:
    _Protocol = AutoHTTPProtocol


class OneWriteProtocol(_Protocol):
    """The protocol that uvicorn chooses, whichever that is."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio calls it."""
        super().connection_made(cast("asyncio.BaseTransport", _OneWrite(cast("asyncio.Transport", transport))))


class _OneWrite:
    """A transport that writes what one step of the event loop gives it together, at the step's end.

    Args:
        inner: Everything else is its business.
    """

    def __init__(self, inner: asyncio.Transport) -> None:
        self._inner = inner
        self._loop = asyncio.get_running_loop()
        self._parts: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._parts:
            self._loop.call_soon(self._flush)
        self._parts.append(data)

    def _flush(self) -> None:
        parts, self._parts = self._parts, []
        # Parts are gone already where it was closed in the same step.
        if parts:
            self._inner.write(b"".join(parts))

    def get_write_buffer_size(self) -> int:
        return self._inner.get_write_buffer_size() + sum(map(len, self._parts))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._flush()
        self._inner.set_protocol(protocol)

    def close(self) -> None:
        self._flush()
        self._inner.close()
