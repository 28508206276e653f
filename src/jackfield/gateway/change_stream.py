"""`ChangeStream`: what one stream of `subscriptions/listen` tells its client.

As the SDK's own, which knows neither tasks nor where an event is only of interest to some.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.server.subscriptions import SUBSCRIPTION_ID_META_KEY, ServerEvent
from mcp.shared.subscriptions import ResourceUpdated, event_matches, event_to_notification
from mcp.types import INVALID_REQUEST, SubscriptionFilter, SubscriptionsListenResult

from ..plain import as_table
from .messages import Context, server_notification

if TYPE_CHECKING:
    from mcp.types import ServerNotification

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_WAITING = 1024
"""A client that does not read loses its stream when this many changes are waiting; it listens again."""

_LISTINGS = ("toolsListChanged", "promptsListChanged", "resourcesListChanged")


class ChangeStream:
    """A stream, within its request. Enter it while it may be given changes.

    Args:
        context: Of the request.
        wanted: The kinds of changes that the client asked for.

    Raises:
        MCPError: The message is not a request.
    """

    def __init__(self, context: Context, wanted: SubscriptionFilter) -> None:
        if context.request_id is None:
            raise MCPError(INVALID_REQUEST, "subscriptions/listen requires a request id")
        self.uris: list[str] = []
        """The resources that it will tell of."""
        self.task_ids: list[str] = []
        """The tasks that it will tell of."""
        self._context = context
        self._request_id = context.request_id
        self._wanted = wanted
        self._meta: dict[str, Any] = {SUBSCRIPTION_ID_META_KEY: context.request_id}
        self._waiting, self._to_tell = anyio.create_memory_object_stream["ServerNotification"](_MOST_WAITING)

    def __enter__(self) -> ChangeStream:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._waiting.close()
        self._to_tell.close()

    def put_event(self, event: ServerEvent) -> None:
        """Tell of a resource, or, if the client wants that, of a listing."""
        if isinstance(event, ResourceUpdated) or event_matches(self._wanted, frozenset(), event):
            self._put(event_to_notification(event, self._meta))

    def put(self, method: str, params: Mapping[str, Any]) -> None:
        """Tell something else, as it is."""
        meta = {**as_table(params.get("_meta")), **self._meta}
        self._put(server_notification(method, {**params, "_meta": meta}))

    def _put(self, notification: ServerNotification) -> None:
        try:
            self._waiting.send_nowait(notification)
        except anyio.ClosedResourceError:
            pass  # It is ending.
        except anyio.WouldBlock:
            logger.warning("[MCP][gateway] A client does not read its stream of changes; the stream was closed.")
            self._waiting.close()

    async def serve(self) -> SubscriptionsListenResult:
        """Say what will be told, and tell it until the stream is closed."""
        told = self._wanted.model_dump(by_alias=True, exclude_none=True)
        honored: dict[str, Any] = {key: True for key in _LISTINGS if told.get(key) is True}
        honored |= {"resourceSubscriptions": self.uris} if self.uris else {}
        honored |= {"taskIds": self.task_ids} if self.task_ids else {}
        begun = {"notifications": honored, "_meta": self._meta}
        await self._send(server_notification("notifications/subscriptions/acknowledged", begun))
        async for notification in self._to_tell:
            await self._send(notification)
        return SubscriptionsListenResult(_meta=self._meta)

    async def _send(self, notification: ServerNotification) -> None:
        await self._context.session.send_notification(notification, related_request_id=self._request_id)

    def close(self) -> None:
        """End it, after what waits has been told."""
        self._waiting.close()
