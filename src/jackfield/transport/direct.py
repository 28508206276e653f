"""`DirectRequests`: requests that only pass, written to a server and answered beneath the SDK.

The SDK's client makes models of a request and of its answer, and a span and a pair of streams for it. What else it does
is done here: a request that is given up is cancelled at the server, and one whose connection ends fails.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import anyio
import anyio.lowlevel
from mcp import MCPError
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import ClientMessageMetadata, SessionMessage
from mcp.types import (
    CONNECTION_CLOSED,
    JSONRPCError,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)
from opentelemetry import trace

from .sdk import MessageWriter

if TYPE_CHECKING:
    from mcp.shared.message import MessageMetadata

logger: logging.Logger = logging.getLogger("jackfield")

_FIRST_ID = 1_000_000_001
"""The SDK counts its own requests from 1."""

_CANCEL_SECONDS = 5.0
"""How long a server may take to accept that a request is given up; as in the SDK."""


class _Waiting:
    def __init__(self) -> None:
        self.outcome: JSONRPCResponse | JSONRPCError | None = None
        self.has_ended = anyio.Event()


class DirectRequests:
    """The requests of one connection that the SDK does not see.

    Args:
        writer: Takes them.
    """

    def __init__(self, writer: MessageWriter) -> None:
        self._writer = writer
        self._waiting: dict[RequestId, _Waiting] = {}
        self._ids = itertools.count(_FIRST_ID)
        self._is_closed = False
        # The SDK makes spans of requests; a program that wants them gets them.
        self.is_traced: bool = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        """Whether requests are to be made by the SDK."""

    async def send(self, method: str, params: Mapping[str, Any], protocol_version: str) -> None:
        """Make a request of the older protocol, and wait for its answer, which the transport keeps.

        Args:
            method: Of the request.
            params: Of the request, as they go over the wire.
            protocol_version: As negotiated.

        Raises:
            MCPError: The server answered with an error, or the connection ended.
        """
        if self._is_closed:
            raise _closed()
        request_id = next(self._ids)
        waiting = self._waiting[request_id] = _Waiting()
        given = {"params": dict(params)} if params else {}
        request = JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method, **given)
        # Over HTTP it is a header.
        metadata = ClientMessageMetadata(headers={"mcp-protocol-version": protocol_version})
        has_begun = False
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            has_begun = True
            await self._writer.send(SessionMessage(request, metadata))
            await waiting.has_ended.wait()
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            raise _closed() from None
        except anyio.get_cancelled_exc_class():
            if has_begun:
                await self._cancel(request_id, metadata)
            raise
        finally:
            self._waiting.pop(request_id, None)
        if isinstance(waiting.outcome, JSONRPCError):
            error = waiting.outcome.error
            raise MCPError(error.code, error.message, error.data)
        if waiting.outcome is None:
            raise _closed()

    async def _cancel(self, request_id: RequestId, metadata: MessageMetadata) -> None:
        params = {"requestId": request_id, "reason": "caller cancelled"}
        message = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params=params)
        with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
            try:
                await self._writer.send(SessionMessage(message, metadata))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError) as error:
                logger.debug("[MCP] Request %s was not cancelled at its server: %r", request_id, error)

    def takes(self, message: object) -> bool:
        """Whether a message is the answer to one of these requests, which is given it."""
        if not isinstance(message, JSONRPCResponse | JSONRPCError) or message.id is None:
            return False
        waiting = self._waiting.pop(coerce_request_id(message.id), None)
        if waiting is None:
            return False
        waiting.outcome = message
        waiting.has_ended.set()
        return True

    def close(self) -> None:
        """No further answer will come."""
        self._is_closed = True
        for waiting in self._waiting.values():
            waiting.has_ended.set()
        self._waiting.clear()


def _closed() -> MCPError:
    return MCPError(CONNECTION_CLOSED, "Connection closed")
