"""A load balancer for where HAProxy is not installed: round robin, one request after the other, without memory.

Run: python balancer.py PORT INSTANCE_PORT...
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Iterator
from contextlib import suppress


async def main(port: int, instances: list[int]) -> None:
    """Balance until the process is ended."""
    turns = itertools.cycle(range(len(instances)))

    async def balanced(reader: StreamReader, writer: StreamWriter) -> None:
        first = next(turns)
        with suppress(OSError, asyncio.IncompleteReadError):
            await _pass_on(reader, writer, iter(instances[first:] + instances[:first]))
        writer.close()

    async with await asyncio.start_server(balanced, "127.0.0.1", port) as server:
        await server.serve_forever()


async def _pass_on(reader: StreamReader, writer: StreamWriter, candidates: Iterator[int]) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    there_reader, there = await _connected(candidates)
    # The next request comes by a connection of its own, and so goes to the next instance.
    request, *headers = head.split(b"\r\n")
    headers = [header for header in headers if not header.lower().startswith(b"connection:")]
    there.write(b"\r\n".join([request, b"Connection: close", *headers]))
    ways = [asyncio.create_task(_copy(reader, there)), asyncio.create_task(_copy(there_reader, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        there.close()


async def _connected(candidates: Iterator[int]) -> tuple[StreamReader, StreamWriter]:
    """A connection to the first that takes one. A request that was sent is never sent to another."""
    for port in candidates:
        with suppress(OSError):
            return await asyncio.open_connection("127.0.0.1", port)
    raise ConnectionError("No instance takes connections.")


async def _copy(source: StreamReader, target: StreamWriter) -> None:
    while part := await source.read(65536):
        target.write(part)
        await target.drain()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main(int(sys.argv[1]), [int(port) for port in sys.argv[2:]]))
