"""What stands between client and server: a wire whose connections are cut, and a router with patience of its own.

The router does what Heroku's (H12: no answer within 30 s, 503) and Envoy (UC: upstream connection cut, 503) do, only
sooner: after about 0.3 s it gives up on a request that the server goes on executing.
"""

from __future__ import annotations

import asyncio
import random
import re

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CONNECTION = re.compile(rb"\r\nconnection: *[^\r]*", re.IGNORECASE)

_BODIES = [
    ("text/plain", b"upstream connect error or disconnect/reset before headers"),
    ("text/html", b"<html><head><title>Application error</title></head></html>"),
    ("application/json", b'{"jsonrpc": "2.0", "id": null, "error": {"code": -32000, "message": "upstream timed out"}}'),
    ("application/json", b'{"jsonrpc": "2.0", "error": {"code": -32603, "message": "no healthy upstream"}}'),
]


class Wire:
    """Passes connections on to a server as they are.

    Args:
        port: Of the server.
        dice: Decides which connections are cut.
    """

    def __init__(self, port: int, dice: random.Random) -> None:
        self._port = port
        self._dice = dice
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def open(self) -> int:
        """Listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Cut all connections and stop listening."""
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    def cut(self) -> None:
        """Cut all connections, or each with even chances."""
        everything = self._dice.random() < 0.5
        for writer in list(self._writers):
            if everything or self._dice.random() < 0.5:
                writer.transport.abort()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # One end or the other is gone, or all is over.
        finally:
            writer.transport.abort()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream = await self._connect()
        try:
            await self._both_ways(reader, writer, upstream_reader, upstream)
        finally:
            self._drop(upstream)

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers.add(writer)
        return reader, writer

    def _drop(self, upstream: asyncio.StreamWriter) -> None:
        self._writers.discard(upstream)
        upstream.transport.abort()

    async def _both_ways(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        upstream_reader: asyncio.StreamReader,
        upstream: asyncio.StreamWriter,
    ) -> None:
        """Pass on what comes from either side until one of them has ended, and what was under way is delivered."""
        pumps = [
            asyncio.create_task(_pump(reader, upstream)),
            asyncio.create_task(_pump(upstream_reader, writer)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            if pumps[1].done() and writer.can_write_eof():
                writer.write_eof()  # After all that was written to it; an abort would throw that away.
                await pumps[0]
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


class Router(Wire):
    """Passes requests on to a server and waits a while for each answer, then gives up.

    Args:
        port: Of the server.
        dice: Decides how long it waits, what it says then, and which connections are cut.
        patience: Seconds, give or take a third.
    """

    def __init__(self, port: int, dice: random.Random, patience: float = 0.3) -> None:
        super().__init__(port, dice)
        self._patience = patience

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await reader.readexactly(int(length[1])) if length else b""
            if not await self._exchange(head, body, reader, writer):
                return

    async def _exchange(
        self, head: bytes, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Get one request answered; whether the connection can be used again."""
        upstream: asyncio.StreamWriter | None = None
        try:
            try:
                async with asyncio.timeout(self._patience * self._dice.uniform(0.67, 1.33)):
                    upstream_reader, upstream = await self._connect()
                    upstream.write(_CONNECTION.sub(b"", head)[:-2] + b"Connection: close\r\n\r\n" + body)
                    answer = await upstream_reader.readuntil(b"\r\n\r\n")
            except (TimeoutError, OSError, asyncio.IncompleteReadError):
                return self._give_up(writer)
            if length := _LENGTH.search(answer):
                # Connections to the server are made for one request, those of clients are kept.
                writer.write(_CONNECTION.sub(b"", answer) + await upstream_reader.readexactly(int(length[1])))
                await writer.drain()
                return True
            writer.write(answer)
            await self._both_ways(reader, writer, upstream_reader, upstream)
            return False
        finally:
            if upstream is not None:
                self._drop(upstream)

    def _give_up(self, writer: asyncio.StreamWriter) -> bool:
        if self._dice.random() < 0.2:
            return False
        status = self._dice.choice([b"503 Service Unavailable", b"502 Bad Gateway", b"504 Gateway Timeout"])
        kind, body = self._dice.choice(_BODIES)
        retry_after = b"Retry-After: %d\r\n" % self._dice.randint(0, 1) if self._dice.random() < 0.3 else b""
        head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n" % (status, kind.encode(), len(body))
        writer.write(head + retry_after + b"\r\n" + body)
        return True


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
