"""The SDK's message streams over HTTP, watched: when they end, whose answer came, whose request is on its way."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification, JSONRPCRequest

from ..plain import as_table
from .report import CallRecord, ConnectionReport, current_call
from .sdk import MessageReader, MessageWriter, is_cancellation, sendable

_SEND_SECONDS = 0.5


class WatchedReader(MessageReader):
    """Reads from the SDK's stream, and tells the report when that ends."""

    def __init__(self, inner: Any, report: ConnectionReport, tasks: TaskGroup) -> None:
        self.inner = inner
        self._report = report
        self._tasks = tasks
        self._closed = False

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self.inner.receive()
            except anyio.EndOfStream:
                self._report.mark_lost()
                raise
            if not isinstance(item, SessionMessage):
                return item
            if not isinstance(item.message, JSONRPCNotification):
                self._report.requests.arrived(item.message)
                return item
            if self._report.admits_notification():
                return item

    async def aclose(self) -> None:
        # The SDK would log a traceback for each message that still comes while the connection is being closed.
        if not self._closed:
            self._closed = True
            self._tasks.start_soon(self._pass_over)

    async def _pass_over(self) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                await self.inner.receive()


class RecordingWriter(MessageWriter):
    """Writes to the SDK's stream. Each message takes with it, in its context, the record of the request that it is.

    Args:
        inner: The SDK's.
        report: Has the records.
        tasks: For what a caller does not wait for.
        give_up: Called with the JSON-RPC id of a request whose cancellation cannot be sent.
    """

    def __init__(
        self, inner: Any, report: ConnectionReport, tasks: TaskGroup, give_up: Callable[[object], None]
    ) -> None:
        self._inner = inner
        self._report = report
        self._tasks = tasks
        self._give_up = give_up

    async def send(self, item: SessionMessage, /) -> None:
        call = current_call.get()
        # What a call sends first was checked by it; what follows may be the answers of callbacks.
        if call is None or call.request_id is not None or not isinstance(item.message, JSONRPCRequest):
            item = sendable(item)
        record = self._report.requests.begin(item.message)
        if is_cancellation(item):
            # A caller that is out of time must not wait for a hanging server to accept its cancellation.
            self._tasks.start_soon(self._send_later, item)
            return
        if record is not None:
            record.became(None)
        try:
            await self._send(item, record)
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            if record is not None:
                record.became(False)
            raise

    async def _send(self, item: SessionMessage, record: CallRecord | None) -> None:
        token = current_call.set(record)
        try:
            await self._inner.send(item)
        finally:
            current_call.reset(token)

    async def _send_later(self, item: SessionMessage) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            with anyio.move_on_after(_SEND_SECONDS):
                await self._send(item, None)
                return
            # What hangs before it may be the very request that is given up.
            self._give_up(as_table(getattr(item.message, "params", None)).get("requestId"))
            await self._send(item, None)

    async def aclose(self) -> None:
        await self._inner.aclose()
