"""A stream that has brought its answer is read to its end, so that its connection serves the next call."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from tests.servers.raw_http import RawServer, text

from jackfield import MCPClientSessionManager, Session

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class Streams:
    """Answers calls by streams that end as the test says, and counts the connections that calls came on."""

    def __init__(self, after: str) -> None:
        self._after = after
        self.connections: set[object] = set()

    async def __call__(self, server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message.get("method") != "tools/call":
            return None
        self.connections.add(writer.get_extra_info("peername"))
        event = chunk(b"event: message\ndata: " + text(message, "done") + b"\n\n")
        if self._after == "the end":
            writer.write(HEAD + event)
            await writer.drain()
            await asyncio.sleep(0)
            writer.write(END)
            return True
        writer.write(HEAD + event)
        await writer.drain()
        while True:  # until the client closes the connection
            writer.write(chunk(b": more of it\n" * (1000 if self._after == "no end of it" else 1)))
            await writer.drain()
            await asyncio.sleep(0.01)


async def called(session: Session, times: int) -> None:
    for _ in range(times):
        assert (await session.call_tool("work", {})).text == "done"


async def test_calls_that_are_answered_by_streams_share_a_few_connections() -> None:
    streams = Streams("the end")
    async with RawServer(odd=streams) as server, MCPClientSessionManager() as manager:
        async with manager.open_session(server.config()) as session:
            await called(session, 30)
            assert len(streams.connections) <= 3
            await asyncio.gather(*(called(session, 3) for _ in range(20)))


@pytest.mark.parametrize("after", ["little", "no end of it"])
async def test_a_stream_that_does_not_end_delays_nothing_and_is_closed(after: str) -> None:
    streams = Streams(after)
    async with RawServer(odd=streams) as server, MCPClientSessionManager() as manager:
        async with manager.open_session(server.config()) as session:
            await called(session, 40)
            assert len(streams.connections) == 40
            await server.until(lambda: server.connections <= 2)
            await called(session, 1)


async def test_a_session_is_closed_while_its_streams_do_not_end() -> None:
    async with RawServer(odd=Streams("little")) as server, MCPClientSessionManager() as manager:
        async with manager.open_session(server.config()) as session:
            await called(session, 5)
            started = time.monotonic()
        assert time.monotonic() - started < 5
        await server.until(lambda: server.connections == 0)
