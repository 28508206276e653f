"""Lines of a descriptor, waited for in the event loop: unlike a thread that reads, this can be interrupted."""

from __future__ import annotations

import os
from collections.abc import Callable

import anyio
import anyio.lowlevel

from ..transport.stdio import PipeReader

_READ_BYTES = 65536


class DescriptorLines:
    """An async iterator over lines, each with its line end.

    Args:
        descriptor: A pipe, a terminal, or a file.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._buffer = bytearray()

    def __aiter__(self) -> DescriptorLines:
        return self

    async def __anext__(self) -> str:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            data = await self._read()
            if not data:
                end = searched - 1
                break
            self._buffer += data
        if not self._buffer:
            raise StopAsyncIteration
        line = self._buffer[: end + 1].decode("utf-8", "replace")
        del self._buffer[: end + 1]
        return line

    async def _read(self) -> bytes | bytearray:
        while True:
            try:
                await anyio.wait_readable(self._descriptor)
            except PermissionError:
                await anyio.lowlevel.checkpoint()  # A file, which need not be waited for.
            try:
                return os.read(self._descriptor, _READ_BYTES)
            except BlockingIOError:
                continue  # A terminal, whose line was taken away again.


class WatchedLines(DescriptorLines):
    """The same for who reads all there is to the end: the descriptor is watched all the time.

    Args:
        descriptor: A pipe, a terminal, or a file.
        takes: Called with a line that comes while the next one is waited for; whether it is taken, and not read.
    """

    def __init__(self, descriptor: int, takes: Callable[[str], bool]) -> None:
        super().__init__(descriptor)
        self._takes = takes
        self._pipe: PipeReader | None = PipeReader(descriptor)
        self._pipe.taking = self._take

    def _take(self, data: bytearray) -> bool:
        if self._buffer or not data.endswith(b"\n"):
            return False
        while data:
            end = data.index(b"\n") + 1
            if not self._takes(data[:end].decode("utf-8", "replace")):
                return False
            del data[:end]
        return True

    async def _read(self) -> bytes | bytearray:
        if self._pipe is not None:
            try:
                return await self._pipe.read()
            except PermissionError:
                self._pipe = None  # A file, which cannot be watched.
        return await super()._read()

    def close(self) -> None:
        """Read no more; the descriptor stays open."""
        if self._pipe is not None:
            self._pipe.stop()
