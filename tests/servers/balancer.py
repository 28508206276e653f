"""A balancer of TCP connections in the test's own loop, round robin, whose connections a test can cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Self
from urllib.parse import urlsplit


class Balancer:
    """Listens while it is entered.

    Args:
        urls: The instances behind it. One that refuses a connection is passed over.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        self._targets = [(parts.hostname or "", parts.port or 80) for parts in map(urlsplit, urls)]
        self._turn = 0
        self._links: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.is_open = True
        """Whether connections are taken."""
        self.cut_after: bytes | None = None
        """All connections are cut once this went from a client to an instance."""
        self.cut_before: bytes | None = None
        """The connection on which this comes from an instance is cut before it goes on to the client."""
        self.cuts = 0
        self.requests: list[bytes] = []
        """What clients sent."""
        self.streams = 0
        """How often a standing stream began, or went on."""
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._link, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/mcp"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self.cut()
        await asyncio.gather(*self._links, return_exceptions=True)

    def cut(self) -> None:
        """Cut all connections."""
        self.cuts += 1
        for writer in self._writers:
            writer.transport.abort()

    def count(self, words: bytes) -> int:
        """How many requests have these words."""
        return sum(words in request for request in self.requests)

    async def _link(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._links.add(task)
        self._writers.add(writer)
        inner: asyncio.StreamWriter | None = None
        try:
            if self.is_open and (connection := await self._connected()) is not None:
                inner_reader, inner = connection
                self._writers.add(inner)
                await asyncio.gather(
                    self._pump(reader, inner, is_request=True), self._pump(inner_reader, writer, is_request=False)
                )
        except asyncio.CancelledError:
            pass  # the end of the test; the loop would log it
        finally:
            for end in (writer, inner):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
            self._links.discard(task)

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        for _ in self._targets:
            host, port = self._targets[self._turn % len(self._targets)]
            self._turn += 1
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, port)
        return None

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_request: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if is_request:
                    self.requests.append(data)
                    self.changed.set()
                elif self.cut_before is not None and self.cut_before in data:
                    self.cut_before = None
                    break
                writer.write(data)
                await writer.drain()
                if not is_request and ((b"id: get/" in data and b"retry:" in data) or b": resumed" in data):
                    self.streams += 1
                    self.changed.set()
                if is_request and self.cut_after is not None and self.cut_after in data:
                    self.cut_after = None
                    self.cut()
                    return
        writer.transport.abort()
