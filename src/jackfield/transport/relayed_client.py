"""What a server asks and tells in a relayed session: passed to the client as it is, in the order in which it comes.

The SDK would answer by callbacks, whose values are its models.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextvars import Context
from dataclasses import dataclass
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.shared.dispatcher import coerce_request_id
from mcp.shared.message import SessionMessage
from mcp.shared.subscriptions import SUBSCRIPTION_ID_META_KEY
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
)

from ..plain import as_table
from .relayed import RelayedClient, ReportProgress
from .report import CallRecord, current_call
from .sdk import MessageWriter, cancelled_id

logger: logging.Logger = logging.getLogger("jackfield")

_OF_THE_CONNECTION = ("ping",)
"""Requests that are about the connection, which the SDK answers."""


@dataclass(eq=False)
class _Asked:
    scope: anyio.CancelScope
    within: RequestId | None
    """The request of the client on whose stream it came."""


class ClientRelay:
    """Passes a server's messages to the client of a connection.

    Args:
        client: The client.
        tasks: In which requests wait for their answers.
        writer: Takes the answers.
    """

    def __init__(self, client: RelayedClient, tasks: TaskGroup, writer: MessageWriter) -> None:
        self._client = client
        self._tasks = tasks
        self._writer = writer
        self._asked: dict[RequestId, _Asked] = {}

    def leaves(self, message: JSONRPCMessage) -> None:
        """The SDK hands a message to the transport: the client's capabilities take the place of the SDK's."""
        if (given_up := cancelled_id(message)) is not None:
            # Over HTTP its stream may end before the server takes back what it asked about it.
            for asked in list(self._asked.values()):
                if asked.within == _key(given_up):
                    asked.scope.cancel()
        if not isinstance(message, JSONRPCRequest):
            return
        params = message.params or {}
        meta = as_table(params.get("_meta"))
        if message.method == "initialize":
            message.params = {**params, "capabilities": dict(self._client.capabilities)}
        elif CLIENT_CAPABILITIES_META_KEY in meta:
            capabilities = {CLIENT_CAPABILITIES_META_KEY: dict(self._client.capabilities)}
            message.params = {**params, "_meta": {**meta, **capabilities}}

    def takes(self, message: JSONRPCMessage, context: Context | None) -> bool:
        """Pass a message of the server on; whether the SDK is not to have it.

        Args:
            message: As it came.
            context: Of the transport's task that it came to.
        """
        record = None if context is None else context.get(current_call)
        # Over HTTP a message comes on the stream of the very request that it is about.
        about = None if record is None or record.relayed is None else record.relayed.about
        if isinstance(message, JSONRPCRequest) and message.method not in _OF_THE_CONNECTION:
            self._tasks.start_soon(self._answer, message, about, record)
            return True
        if not isinstance(message, JSONRPCNotification) or message.method == "notifications/progress":
            return False
        if SUBSCRIPTION_ID_META_KEY in as_table(as_table(message.params).get("_meta")):
            return False  # Of a stream of changes that this library opened.
        if (request_id := cancelled_id(message)) is not None:
            asked = self._asked.get(_key(request_id))
            if asked is not None:
                asked.scope.cancel()
            return asked is not None
        try:
            self._client.tell(message.method, message.params, about)
        except Exception:
            # Never at the cost of the connection.
            logger.exception("[MCP] %s could not be passed on", message.method)
        return False

    async def _answer(self, request: JSONRPCRequest, about: object, record: CallRecord | None) -> None:
        key, within = _key(request.id), None if record is None else record.request_id
        asked = self._asked[key] = _Asked(anyio.CancelScope(), None if within is None else _key(within))
        answer: JSONRPCResponse | JSONRPCError | None = None
        try:
            with asked.scope:
                answer = await self._answered(request, about)
        finally:
            if self._asked.get(key) is asked:
                del self._asked[key]
        if answer is not None:
            try:
                await self._writer.send(SessionMessage(answer))
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                logger.debug("[MCP] The connection ended before the answer to %s", request.method)

    async def _answered(self, request: JSONRPCRequest, about: object) -> JSONRPCResponse | JSONRPCError:
        params = request.params
        token = as_table((params or {}).get("_meta")).get("progressToken")
        report: ReportProgress | None = None if token is None else partial(self._report, token)
        try:
            result = await self._client.ask(request.method, params, about, report)
            return JSONRPCResponse(jsonrpc="2.0", id=request.id, result=result)
        except MCPError as refusal:
            error = refusal.error
        except Exception:
            logger.exception("[MCP] %s could not be passed on", request.method)
            error = ErrorData(code=INTERNAL_ERROR, message=f"{request.method} could not be passed on to the client.")
        return JSONRPCError(jsonrpc="2.0", id=request.id, error=error)

    async def _report(self, token: str | int, params: Mapping[str, Any]) -> None:
        told = {**params, "progressToken": token}
        message = JSONRPCNotification(jsonrpc="2.0", method="notifications/progress", params=told)
        try:
            await self._writer.send(SessionMessage(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            logger.debug("[MCP] The connection ended before progress was reported to it")


def _key(request_id: object) -> RequestId:
    return coerce_request_id(request_id) if isinstance(request_id, str | int) else ""
