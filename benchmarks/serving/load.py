"""Load that costs little, so that two cores can show what a server does: requests that are encoded before, and answers
that are looked at only as far as to know that they are whole."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from .raw import CallError, RawClient

_IDS = 64
"""So many ids are used in turn: the one of a call that has just been answered may still be in use."""


class Caller(asyncio.Protocol):
    """Calls a tool on one connection, one call after another.

    Args:
        requests: What to send, in turn.
    """

    def __init__(self, requests: Sequence[bytes]) -> None:
        self._requests = requests
        self._left = 0
        self._received = bytearray()
        self._sent_at = 0.0
        self._took: list[float] = []
        self._done: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It can begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def calls(self, count: int) -> list[float]:
        """Make so many calls; the seconds of each.

        Raises:
            CallError: The server did not answer as it should.
        """
        self._left, self._took = count, []
        self._done = asyncio.get_running_loop().create_future()
        self._send()
        await self._done
        return self._took

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def _send(self) -> None:
        self._sent_at = time.perf_counter()
        self._transport.write(self._requests[self._left % len(self._requests)])

    def data_received(self, data: bytes) -> None:
        """Take a part of an answer; once it is whole, call again."""
        self._received += data
        if not _is_whole(self._received):
            return
        self._took.append(time.perf_counter() - self._sent_at)
        if not self._received.startswith(b"HTTP/1.1 200") or b'"result"' not in self._received:
            self._end(CallError(bytes(self._received[:500])))
            return
        self._received.clear()
        self._left -= 1
        if self._left:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed it, or this did."""
        self._end(exc or CallError("the connection was closed"))

    def _end(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)


def _is_whole(answer: bytearray) -> bool:
    head = answer.find(b"\r\n\r\n")
    if head < 0:
        return False
    at = answer.lower().find(b"content-length:", 0, head)
    if at < 0:
        return answer.endswith(b"0\r\n\r\n")
    return len(answer) >= head + 4 + int(answer[at + 15 : answer.index(b"\r\n", at)])


@asynccontextmanager
async def callers(url: str, count: int) -> AsyncGenerator[Sequence[Caller]]:
    """Clients with a session and a connection each."""
    sessions = [RawClient(url) for _ in range(count)]
    ready: list[Caller] = []
    loop = asyncio.get_running_loop()
    for session in sessions:
        await session.open()
        await session.close()
        requests = [session.encoded_call(number, "where") for number in range(_IDS)]
        _, caller = await loop.create_connection(partial(Caller, requests), *session.address)
        ready.append(caller)
    try:
        yield ready
    finally:
        for caller, session in zip(ready, sessions, strict=True):
            caller.close()
            await session.delete()
            await session.close()
