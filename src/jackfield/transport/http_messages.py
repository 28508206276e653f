"""The SDK's message streams over HTTP, watched: when they end, what cannot be read, what is on its way."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCNotification
from pydantic import ValidationError

from .report import UNREADABLE_CODE, ConnectionReport, current_call, failed_answer
from .sdk_streams import MessageReader, MessageStream, is_cancellation


class WatchedReader(MessageReader):
    """The SDK's read stream; tells the report when it ends."""

    def __init__(self, inner: Any, report: ConnectionReport, tasks: TaskGroup) -> None:
        self._inner = inner
        self._report = report
        self._tasks = tasks
        self._closed = False

    @property
    def last_context(self) -> Any:
        """The context of the task that put the last message in; the SDK's receive loop looks for it."""
        return self._inner.last_context

    async def receive(self) -> SessionMessage | Exception:
        while True:
            try:
                item = await self._inner.receive()
            except anyio.EndOfStream:
                self._report.mark_lost()
                raise
            if isinstance(item, ValidationError):
                item = self._answer_for(item)
            if not isinstance(item, SessionMessage) or not isinstance(item.message, JSONRPCNotification):
                return item
            if self._report.admits_notification():
                return item

    @staticmethod
    def _answer_for(error: ValidationError) -> SessionMessage | Exception:
        """Tells whoever waits for an answer that cannot be read; the SDK would let them wait."""
        text = error.errors()[0].get("input")
        data = text.encode() if isinstance(text, str) else b""
        return failed_answer(data, UNREADABLE_CODE, "the answer is no valid message") or error

    async def aclose(self) -> None:
        # The SDK would log a traceback for each message that still comes while the connection is being closed.
        if not self._closed:
            self._closed = True
            self._tasks.start_soon(self._pass_over)

    async def _pass_over(self) -> None:
        with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
            while True:
                await self._inner.receive()


class RecordingWriter(MessageStream):
    """The SDK's write stream; marks a call whose message is on its way as perhaps sent."""

    def __init__(self, inner: Any, tasks: TaskGroup) -> None:
        self._inner = inner
        self._tasks = tasks

    async def send(self, item: SessionMessage, /) -> None:
        if is_cancellation(item):
            # Whoever is out of time must not wait for a hanging server to take note of it.
            self._tasks.start_soon(self._send_later, item)
            return
        record = current_call.get()
        if record is not None and getattr(item.message, "method", None) == record.method:
            record.sent = None
        await self._inner.send(item)

    async def _send_later(self, item: SessionMessage) -> None:
        with contextlib.suppress(anyio.ClosedResourceError, anyio.BrokenResourceError):
            await self._inner.send(item)

    async def aclose(self) -> None:
        await self._inner.aclose()
