"""The server's requests on a connection: those beyond `max_server_requests` are refused before the SDK sees them."""

from __future__ import annotations

import time
from collections import Counter

import anyio
from anyio.abc import TaskGroup
from mcp.shared.message import SessionMessage
from mcp.types import ErrorData, JSONRPCError, JSONRPCRequest

from .report import ConnectionReport
from .sdk import MessageWriter, cancelled_id

REFUSED_CODE = -32000
"""The JSON-RPC code of a refusal; the range is for errors of an implementation's own."""

# How long reading stops for a server that sends requests quicker than it takes their refusals.
_STALL_SECONDS = 1.0


class ServerRequests:
    """The server's requests on one connection that are not answered yet.

    Args:
        report: Names the limit, and is notified when it is reached.
        tasks: Sends refusals.
        writer: Receives them.
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
        """Whether an incoming message is passed on; other requests are refused here."""
        # Nothing is written for a request that its sender gave up.
        self.answered(cancelled_id(message))
        if not isinstance(message, JSONRPCRequest):
            return True
        if self._count < self._limit:
            self._count += 1
            self._under_way[message.id] += 1
            return True
        await self._refuse(message)
        return False

    def answered(self, request_id: object) -> None:
        """The answer to a request was written, or could not be."""
        if isinstance(request_id, str | int) and self._under_way[request_id] > 0:
            self._count -= 1
            self._under_way[request_id] -= 1
        if isinstance(request_id, str | int) and self._under_way[request_id] == 0:
            del self._under_way[request_id]

    async def _refuse(self, request: JSONRPCRequest) -> None:
        now = time.monotonic()
        if now - self._told_at >= 1 or self._told_at < 0:
            self._told_at = now
            self._report.reach_limit("max_server_requests", f"has {self._limit} of its own requests pending")
        if not self._is_sending:
            self._is_sending = True
            self._tasks.start_soon(self._send_refusals)
        text = f"The client has {self._limit} pending requests of this server already; ask again later."
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
