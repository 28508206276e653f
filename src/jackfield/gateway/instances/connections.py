"""`PeerConnections`: HTTP/1.1 from one instance to another, with no more than is needed between them.

A forwarded call is to cost little more than one that is not. Nothing is ever sent a second time.
"""

from __future__ import annotations

import asyncio
import select
import ssl
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

CONNECT_SECONDS = 2.0

_IDLE_SECONDS = 3.0
"""An unused connection is not used again after this; an instance closes those that are unused for 5 seconds."""

_MOST_IDLE = 32
_MAX_LINE_BYTES = 64 * 1024


class NotConnectedError(Exception):
    """The instance could not be reached; nothing was sent."""


class BrokenError(Exception):
    """The connection broke before all of the answer was there."""


class PeerAnswer:
    """An answer while it is read.

    Args:
        status: Of HTTP.
        reader: Of the connection.
        length: How long the body is; `None` if it comes in chunks.
    """

    def __init__(self, status: int, reader: asyncio.StreamReader, length: int | None) -> None:
        self.status: int = status
        self._reader = reader
        self._length = length
        self._rest = b""
        self.is_read: bool = False
        """Whether all of it was read."""

    async def line(self) -> bytes | None:
        """The next line of the body; `None` at its end.

        Raises:
            BrokenError: It ended too early.
        """
        while b"\n" not in self._rest:
            data = await self._data()
            if not data:
                rest, self._rest = self._rest, b""
                return rest or None
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    async def _data(self) -> bytes:
        if self.is_read:
            return b""
        try:
            if self._length is not None:
                self.is_read = True
                return await self._reader.readexactly(self._length)
            size = int((await self._reader.readline()).partition(b";")[0], 16)
            data = await self._reader.readexactly(size + 2)
            self.is_read = size == 0
            return data[:-2]
        except (OSError, ValueError, asyncio.IncompleteReadError) as error:
            raise BrokenError(str(error) or type(error).__name__) from None


class PeerConnection:
    """One connection to an instance, for one request at a time.

    Args:
        url: Of the instance.
        reader: What comes.
        writer: What goes.
    """

    def __init__(self, url: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.url: str = url
        self._host = urlsplit(url).netloc
        self._reader = reader
        self._writer = writer
        self._answer: PeerAnswer | None = None
        self._closes = True
        self._unused_since = 0.0

    async def post(self, path: str, headers: Mapping[str, str], body: bytes) -> PeerAnswer:
        """Send a request, and have its answer.

        Args:
            path: Where to.
            headers: Besides those of HTTP.
            body: What is sent.

        Raises:
            BrokenError: There is no answer; the request may have been taken.
        """
        self._answer, self._closes = None, True
        lines = [f"POST {path} HTTP/1.1", f"host: {self._host}", f"content-length: {len(body)}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        try:
            self._writer.write("\r\n".join((*lines, "", "")).encode("latin-1") + body)
            await self._writer.drain()
            self._answer, self._closes = await _answer(self._reader)
        except (OSError, ValueError, IndexError, asyncio.IncompleteReadError) as error:
            raise BrokenError(str(error) or type(error).__name__) from None
        return self._answer

    def is_kept(self) -> bool:
        """Keep it for another request, if it can be used for one; else close it."""
        if self._answer is not None and self._answer.is_read and not self._closes:
            self._unused_since = time.monotonic()
            return True
        self.close()
        return False

    @property
    def is_usable(self) -> bool:
        """Whether nothing has come since: the event loop may not have looked yet whether its end has."""
        if time.monotonic() - self._unused_since > _IDLE_SECONDS or self._writer.is_closing():
            return False
        ready = select.poll()
        ready.register(self._writer.get_extra_info("socket").fileno(), select.POLLIN)
        return not ready.poll(0)

    def close(self) -> None:
        """End it."""
        self._writer.close()


class PeerConnections:
    """The connections of one instance to the others."""

    def __init__(self) -> None:
        self._idle: dict[str, list[PeerConnection]] = {}
        self._tls: ssl.SSLContext | None = None

    async def take(self, url: str) -> PeerConnection:
        """A connection for one request; give it back after that.

        Args:
            url: Of the instance.

        Raises:
            NotConnectedError: There is none.
        """
        return self._unused(url) or await self._opened(url)

    def give_back(self, connection: PeerConnection) -> None:
        """Keep a connection for another request, if it can be used for one."""
        if connection.is_kept():
            idle = self._idle.setdefault(connection.url, [])
            idle.append(connection)
            if len(idle) > _MOST_IDLE:
                idle.pop(0).close()

    def _unused(self, url: str) -> PeerConnection | None:
        idle = self._idle.get(url, [])
        while idle:
            # The one that was used last: others may end.
            if (connection := idle.pop()).is_usable:
                return connection
            connection.close()
        return None

    async def _opened(self, url: str) -> PeerConnection:
        parts = urlsplit(url)
        is_secure = parts.scheme == "https"
        if is_secure and self._tls is None:
            self._tls = ssl.create_default_context()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, writer = await asyncio.open_connection(
                    parts.hostname,
                    parts.port or (443 if is_secure else 80),
                    ssl=self._tls if is_secure else None,
                    limit=_MAX_LINE_BYTES,
                )
        except (OSError, TimeoutError) as error:
            raise NotConnectedError(str(error) or type(error).__name__) from None
        return PeerConnection(url, reader, writer)

    def close(self) -> None:
        """Close all that are unused."""
        for idle in self._idle.values():
            for connection in idle:
                connection.close()
        self._idle.clear()


async def _answer(reader: asyncio.StreamReader) -> tuple[PeerAnswer, bool]:
    """The beginning of an answer, and whether its connection ends with it."""
    try:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).lower().split(b"\r\n")
    except asyncio.LimitOverrunError:
        raise ValueError("its head is too long") from None
    length: int | None = None
    closes = False
    for line in lines:
        name, _, value = line.partition(b":")
        match name:
            case b"content-length":
                length = int(value)
            case b"connection":
                closes = value.strip() == b"close"
            case _:
                pass
    return PeerAnswer(int(first.split(b" ", 2)[1]), reader, length), closes
