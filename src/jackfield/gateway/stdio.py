"""Serves a gateway over stdin and stdout to the program that started it.

The SDK reads stdin in a thread, which nothing can interrupt: a signal would have to wait for the next line.
Its transport takes streams of one's own, though, and these wait in the event loop. What only passes does not even reach
it; see `lane`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, cast

import anyio
from mcp.server.stdio import stdio_server

from .gateway import Gateway
from .lane import Lane
from .lines import WatchedLines
from .output import Output
from .signals import until_signalled

if TYPE_CHECKING:
    from anyio import AsyncFile


async def serve_stdio(gateway: Gateway) -> int | None:
    """Serve until stdin ends or a signal comes; returns the signal's number, if one came."""

    async def serve() -> None:
        with _wire() as (read_fd, write_fd):
            output, server = Output(write_fd), gateway.server
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(output.run)
                async with Lane(gateway.relay, output) as lane:
                    server.middleware.insert(0, lane.middleware)
                    lines = WatchedLines(read_fd, lane.takes)
                    # The SDK asks no more of them than iterating over lines, and writing.
                    stdin = cast("AsyncFile[str]", _LinesForTheSdk(lines, lane))
                    with closing(lines):
                        async with stdio_server(stdin, cast("AsyncFile[str]", output)) as (reader, writer):
                            await server.run(reader, writer, server.create_initialization_options())
                await output.finish()
                tasks.cancel_scope.cancel()

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


class _LinesForTheSdk:
    """The lines that the lane does not take.

    Args:
        lines: All.
        lane: Takes some.
    """

    def __init__(self, lines: WatchedLines, lane: Lane) -> None:
        self._lines = lines
        self._lane = lane

    def __aiter__(self) -> _LinesForTheSdk:
        return self

    async def __anext__(self) -> str:
        while True:
            line = await anext(self._lines)
            if not self._lane.takes(line):
                return line
