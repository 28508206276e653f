"""Serves a gateway over stdin and stdout to the program that started it.

The SDK reads stdin in a thread, which nothing can interrupt: a signal would have to wait for the next line.
Its transport takes streams of one's own, though, and these wait in the event loop. What only passes does not even reach
it; see `stdio_relay`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Generator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, Any, cast

import anyio
from mcp.server.stdio import stdio_server
from mcp.types import INVALID_REQUEST, jsonrpc_message_adapter
from pydantic import ValidationError

from ..plain import as_list, as_table, parsed_json
from .gateway import Gateway
from .output import Output
from .signals import until_signalled
from .stdin_lines import WatchedLines
from .stdio_relay import StdioRelay

if TYPE_CHECKING:
    from anyio import AsyncFile


async def serve_stdio(gateway: Gateway) -> int | None:
    """Serve until stdin ends or a signal comes; returns the signal's number, if one came."""

    async def serve() -> None:
        with _wire() as (read_fd, write_fd):
            output, server = Output(write_fd), gateway.server
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(output.run)
                async with StdioRelay(gateway.relay, output) as relay:
                    server.middleware.insert(0, relay.middleware)
                    lines = WatchedLines(read_fd, relay.takes)
                    # The SDK asks no more of them than iterating over lines, and writing.
                    stdin = cast("AsyncFile[str]", _LinesForTheSdk(lines, relay, output))
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
    """The lines that the relay does not take, but for requests that the SDK would leave without an answer.

    Args:
        lines: All.
        relay: Takes some.
        output: Takes refusals.
    """

    def __init__(self, lines: WatchedLines, relay: StdioRelay, output: Output) -> None:
        self._lines = lines
        self._relay = relay
        self._output = output

    def __aiter__(self) -> _LinesForTheSdk:
        return self

    async def __anext__(self) -> str:
        while True:
            line = await anext(self._lines)
            if self._relay.takes(line):
                continue
            if not (refusals := _refusals(line)):
                return line
            for refusal in refusals:
                self._output.put(refusal)


def _refusals(line: str) -> list[dict[str, Any]]:
    """The answers to requests in a line that is not a message: a client waits for them."""
    try:
        jsonrpc_message_adapter.validate_json(line, by_name=False)
    except ValidationError:
        error = {"code": INVALID_REQUEST, "message": "Not a protocol message; batches are not supported."}
        found = parsed_json(line)
        requests = [as_table(one) for one in (as_list(found) or [found])]
        ids = [one["id"] for one in requests if "method" in one and isinstance(one.get("id"), str | int)]
        return [{"jsonrpc": "2.0", "id": request_id, "error": error} for request_id in ids]
    return []
