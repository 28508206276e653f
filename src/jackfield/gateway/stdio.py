"""Serves a gateway over stdin and stdout to the program that started it.

The SDK reads stdin in a thread, which nothing can interrupt: a signal would have to wait for the next line.
Its transport takes streams of one's own, though, and these wait in the event loop.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, cast

import anyio
import anyio.lowlevel
from mcp.server.stdio import stdio_server

from .gateway import Gateway
from .lines import DescriptorLines
from .signals import until_signalled

if TYPE_CHECKING:
    from anyio import AsyncFile

_PIPE_BYTES = getattr(select, "PIPE_BUF", 512)
"""What a pipe that can be written to takes without blocking."""


async def serve_stdio(gateway: Gateway) -> int | None:
    """Serve until stdin ends or a signal comes; returns the signal's number, if one came."""

    async def serve() -> None:
        with _wire() as (read_fd, write_fd):
            # The SDK asks no more of them than iterating over lines, and writing.
            lines = cast("AsyncFile[str]", DescriptorLines(read_fd))
            output = cast("AsyncFile[str]", _Output(write_fd))
            async with stdio_server(lines, output) as (reader, writer):
                server = gateway.server
                await server.run(reader, writer, server.create_initialization_options())

    return await until_signalled(serve)


@contextmanager
def _wire() -> Generator[tuple[int, int]]:
    """The descriptors of stdin and stdout for this protocol alone: what else is printed goes to stderr."""
    sys.stdout.flush()
    before, reading, writing = os.dup(0), _never_blocking(0), os.dup(1)
    try:
        with open(os.devnull, "rb") as nothing:
            os.dup2(nothing.fileno(), 0)
        os.dup2(2, 1)
        yield reading, writing
    finally:
        with suppress(ValueError, OSError):
            sys.stdout.flush()
        os.dup2(before, 0)
        os.dup2(writing, 1)
        for descriptor in (before, reading, writing):
            os.close(descriptor)


def _never_blocking(descriptor: int) -> int:
    """A second one for the same; of a terminal one that does not block, as Ctrl-C takes back what was typed."""
    if os.isatty(descriptor):
        with suppress(OSError):
            return os.open(os.ttyname(descriptor), os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK)
    return os.dup(descriptor)


class _Output:
    """Writes to a descriptor, waiting in the event loop while nobody reads."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_gone = False

    async def write(self, text: str) -> None:
        """Write all of it, unless nobody is there to read it."""
        data = memoryview(text.encode())
        while data and not self._is_gone:
            try:
                await anyio.wait_writable(self._descriptor)
            except PermissionError:
                await anyio.lowlevel.checkpoint()
            try:
                data = data[os.write(self._descriptor, data[:_PIPE_BYTES]) :]
            except BrokenPipeError:
                self._is_gone = True  # stdin ends, too, and with it all of this.

    async def flush(self) -> None:
        """Nothing is held back."""
