"""`Output`: writes whole messages to a descriptor, from several writers, without ever blocking the event loop."""

from __future__ import annotations

import json
import os
import select
from collections import deque
from typing import Any

import anyio
import anyio.lowlevel

_PIPE_BYTES = getattr(select, "PIPE_BUF", 512)
"""What a pipe that can be written to takes without blocking."""

_WAITING_BYTES = 1 << 20
"""Writers wait while more than this is not yet written."""


class Output:
    """The client's end of a pipe, a terminal, or a file. Run it while it is used.

    Args:
        descriptor: To write to.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: deque[memoryview] = deque()
        self._waiting_bytes = 0
        self._is_gone = False
        self._wake = anyio.Event()
        self._drained: anyio.Event | None = None
        """Set when something was written; made by who waits for that."""
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def put(self, message: dict[str, Any]) -> None:
        """Write a message; what does not go out at once follows."""
        try:
            text = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:  # half a surrogate pair
            text = json.dumps(message, separators=(",", ":")).encode()
        self._put(text + b"\n")

    async def write(self, text: str) -> None:
        """Write a line as the SDK has it."""
        self._put(text.encode("utf-8", "replace"))
        await self.drained()

    async def flush(self) -> None:
        """Nothing is held back."""

    async def drained(self) -> None:
        """Wait while too much is not yet written."""
        while self._waiting_bytes > _WAITING_BYTES and not self._is_gone:
            await self._something_written()

    async def run(self) -> None:
        """Write what did not go out at once, for ever."""
        while True:
            while self._waiting and not self._is_gone:
                try:
                    await anyio.wait_writable(self._descriptor)
                except PermissionError:
                    await anyio.lowlevel.checkpoint()  # A file, which need not be waited for.
                self._write_waiting()
            self._wake = anyio.Event()
            await self._wake.wait()

    async def finish(self) -> None:
        """Wait until all is written."""
        while self._waiting and not self._is_gone:
            await self._something_written()

    async def _something_written(self) -> None:
        if self._drained is None:
            self._drained = anyio.Event()
        await self._drained.wait()

    def _put(self, data: bytes) -> None:
        if self._is_gone:
            return
        self._waiting.append(memoryview(data))
        self._waiting_bytes += len(data)
        if len(self._waiting) == 1:
            self._write_waiting()
            if self._waiting:
                self._wake.set()

    def _write_waiting(self) -> None:
        """Write as long as nothing has to be waited for."""
        while self._waiting and not self._is_gone and self._poll.poll(0):
            part = self._waiting[0]
            try:
                written = os.write(self._descriptor, part[:_PIPE_BYTES])
            except BrokenPipeError:
                self._is_gone = True  # stdin ends, too, and with it all of this.
                break
            self._waiting_bytes -= written
            if written == len(part):
                self._waiting.popleft()
            else:
                self._waiting[0] = part[written:]
        if self._drained is not None:
            self._drained.set()
            self._drained = None
