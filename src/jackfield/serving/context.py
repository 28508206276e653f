"""The streams that a handler sends to: that of its request, and the standalone stream of its session."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol, get_args

import anyio
from mcp.shared.dispatcher import CallOptions
from mcp.shared.exceptions import NoBackChannelError
from mcp.shared.message import MessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import LoggingLevel, ProgressToken, RequestId

from .asking import Put, ServerRequests
from .errors import StoreUnavailableError
from .records import SessionRecord
from .wire import notification

logger: logging.Logger = logging.getLogger("jackfield")

LEVELS: tuple[str, ...] = get_args(LoggingLevel)
"""From the least severe."""

PUT_SCOPE = "jackfield.put"
"""Under this key the ASGI scope of a request has what puts a message, as JSON text, on the request's stream."""


class Outlet(Protocol):
    """Where the messages of a request go."""

    @property
    def put(self) -> Put:
        """Puts a message on the request's stream."""
        ...

    @property
    def cancelled(self) -> anyio.Event:
        """Is set when the request is to end early."""
        ...


def is_at_least(params: Mapping[str, Any] | None, wanted: str) -> bool:
    """Whether a log message is of the wanted level or above, as far as its level is known.

    Args:
        params: Of the message.
        wanted: One of `LEVELS`.
    """
    level = (params or {}).get("level")
    return level not in LEVELS or LEVELS.index(level) >= LEVELS.index(wanted)


def is_wanted(record: SessionRecord, method: str, params: Mapping[str, Any] | None) -> bool:
    """Whether a notification is to be sent: log messages below the level that the client asked for are not.

    Source: MCP 2025-11-25, server/utilities/logging "Setting Log Level".
    """
    if method != "notifications/message" or record.log_level not in LEVELS:
        return True
    return is_at_least(params, record.log_level)


class SessionOutbound:
    """The SDK's `Outbound` of a session: its standalone stream, whichever instance a client reads it from."""

    def __init__(self, record: SessionRecord, put: Put, requests: ServerRequests) -> None:
        self._record = record
        self._put = put
        self._requests = requests

    def set_log_level(self, level: str) -> None:
        """The request that this was made for has changed the level; a handler may keep this and send by it later."""
        self._record = replace(self._record, log_level=level)

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Put a notification on the stream. It is dropped if the store is unavailable for long."""
        if is_wanted(self._record, method, params):
            try:
                await self._put(notification(method, params))
            except StoreUnavailableError as failure:
                # The SDK promises handlers that a notification never fails.
                logger.warning("[MCP] %s was not sent: %s", method, failure.message)

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Put a request on the stream, and wait for its answer."""
        return await self._requests.ask(self._record.session_id, self._put, method, params, opts)


class RequestContext:
    """The SDK's `DispatchContext` of one request, or of one notification, which has no stream."""

    def __init__(
        self,
        record: SessionRecord,
        transport: TransportContext,
        metadata: MessageMetadata,
        *,
        requests: ServerRequests | None = None,
        request_id: RequestId | None = None,
        progress_token: ProgressToken | None = None,
        exchange: Outlet | None = None,
    ) -> None:
        self._record = record
        self._requests = requests
        self._put = None if exchange is None else exchange.put
        self._progress_token = progress_token
        self.transport: TransportContext = transport
        self.message_metadata: MessageMetadata = metadata
        self.request_id: RequestId | None = request_id
        self._exchange = exchange
        self.is_closed: bool = False

    @property
    def cancel_requested(self) -> anyio.Event:
        """Is set when the client cancels the request."""
        return anyio.Event() if self._exchange is None else self._exchange.cancelled

    @property
    def can_send_request(self) -> bool:
        """Whether the client can be asked something on this request's stream: until it is answered."""
        return self._put is not None and self._requests is not None and not self.is_closed

    async def notify(self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None) -> None:
        """Put a notification on the request's stream; nothing happens once it is answered."""
        if self._put is not None and not self.is_closed and is_wanted(self._record, method, params):
            await self._put(notification(method, params))

    async def send_raw_request(
        self, method: str, params: Mapping[str, Any] | None, opts: CallOptions | None = None
    ) -> dict[str, Any]:
        """Send a request on the request's stream, and wait for its answer.

        Raises:
            NoBackChannelError: The request is answered, or there is no stream.
        """
        if self._put is None or self._requests is None or self.is_closed:
            raise NoBackChannelError(method)
        return await self._requests.ask(self._record.session_id, self._put, method, params, opts)

    async def progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        """Tell the client how far the request is, if it asked for that."""
        if self._progress_token is None:
            return
        params = {"progressToken": self._progress_token, "progress": progress, "total": total, "message": message}
        await self.notify(
            "notifications/progress", {name: value for name, value in params.items() if value is not None}
        )
