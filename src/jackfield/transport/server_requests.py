"""Bounds what a server asks of its client: requests beyond `max_server_requests` are refused at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCRequest, JSONRPCResponse

from .report import ConnectionReport
from .sdk_streams import MessageReader, MessageWriter, cancelled_id

REFUSED_CODE = -32000
"""The JSON-RPC code of a refusal; the range is for errors of an implementation's own."""

# How long reading stops for a server that sends requests quicker than it takes their refusals.
_STALL_SECONDS = 1.0


class ServerRequests:
    """The server's requests on one connection that are not answered yet.

    Args:
        report: Names the limit, and hears when it is reached.
        tasks: In which refusals are sent.
        writer: Where they go.
    """

    def __init__(self, report: ConnectionReport, tasks: TaskGroup, writer: MessageWriter) -> None:
        self._report = report
        self._limit = report.config.session.max_server_requests
        self._tasks = tasks
        self._writer = writer
        self._under_way: Counter[str | int] = Counter()
        self._count = 0
        self._told_at = -1.0
        self._refusals, self._to_send = anyio.create_memory_object_stream[SessionMessage](self._limit)
        self._is_sending = False
        self._is_stalled = False

    async def admits(self, message: object) -> bool:
        """Whether a message that came is handed on; a request that is not is refused here."""
        # Nothing is written for a request that its sender gave up.
        self._ended(cancelled_id(message))
        if not isinstance(message, JSONRPCRequest):
            return True
        if self._count < self._limit:
            self._count += 1
            self._under_way[message.id] += 1
            return True
        await self._refuse(message)
        return False

    def answered(self, message: object) -> None:
        """An answer to the server was written, or could not be."""
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            self._ended(message.id)

    def _ended(self, request_id: Any) -> None:
        if isinstance(request_id, str | int) and self._under_way[request_id] > 0:
            self._count -= 1
            self._under_way[request_id] -= 1
        if isinstance(request_id, str | int) and self._under_way[request_id] == 0:
            del self._under_way[request_id]

    async def _refuse(self, request: JSONRPCRequest) -> None:
        now = time.monotonic()
        if now - self._told_at >= 1 or self._told_at < 0:
            self._told_at = now
            self._report.reach_limit("max_server_requests", f"has {self._limit} requests of its own under way")
        if not self._is_sending:
            self._is_sending = True
            self._tasks.start_soon(self._send_refusals)
        text = f"The client has {self._limit} requests of this server under way already; ask again later."
        error = ErrorData(code=REFUSED_CODE, message=text)
        refusal = SessionMessage(JSONRPCError(jsonrpc="2.0", id=request.id, error=error))
        # A server that does not take them must not stop what else it says from being read.
        with anyio.move_on_after(0 if self._is_stalled else _STALL_SECONDS) as scope:
            await self._refusals.send(refusal)
        self._is_stalled = scope.cancelled_caught

    async def _send_refusals(self) -> None:
        async for refusal in self._to_send:
            try:
                await self._writer.send(refusal)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return

    def close(self) -> None:
        """Nothing more is refused."""
        self._refusals.close()
        self._to_send.close()


class AdmittingReader(MessageReader):
    """A read stream without the requests that are refused."""

    def __init__(self, inner: Any, requests: ServerRequests) -> None:
        self._inner = inner
        self._requests = requests

    @property
    def last_context(self) -> Any:
        """The context of the task that put the last message in; the SDK's receive loop looks for it."""
        return getattr(self._inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        while True:
            item = await self._inner.receive()
            if not isinstance(item, SessionMessage) or await self._requests.admits(item.message):
                return item

    async def aclose(self) -> None:
        await self._inner.aclose()


class AnsweringWriter(MessageWriter):
    """A write stream that tells when the server was answered."""

    def __init__(self, inner: MessageWriter, requests: ServerRequests) -> None:
        self._inner = inner
        self._requests = requests

    async def send(self, item: SessionMessage, /) -> None:
        try:
            await self._inner.send(item)
        finally:
            self._requests.answered(item.message)

    async def aclose(self) -> None:
        await self._inner.aclose()


@asynccontextmanager
async def bounded_requests(
    reader: MessageReader, writer: MessageWriter, report: ConnectionReport
) -> AsyncGenerator[tuple[AdmittingReader, AnsweringWriter]]:
    """The two streams of a transport, with the server's requests bounded."""
    async with anyio.create_task_group() as tasks:
        requests = ServerRequests(report, tasks, writer)
        try:
            yield AdmittingReader(reader, requests), AnsweringWriter(writer, requests)
        finally:
            tasks.cancel_scope.cancel()
            requests.close()
