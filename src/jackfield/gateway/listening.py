"""`Listening`: the streams of changes that clients of 2026-07-28 open by `subscriptions/listen`.

Each hears of changes of the listings that its client sees, and of the very resources that it named, from sessions with
their servers that are its own.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from contextvars import ContextVar
from functools import partial
from typing import Any

import anyio
from mcp import MCPError
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ResourceUpdated, ServerEvent
from mcp.types import INTERNAL_ERROR, SubscriptionFilter, SubscriptionsListenRequestParams, SubscriptionsListenResult

from ..errors import JackfieldError
from .calls import Target
from .clients import Clients
from .listing import Listings
from .messages import Context
from .subscriptions import Updated
from .views import Views

logger: logging.Logger = logging.getLogger("jackfield")

changed_listings: ContextVar[Listings | None] = ContextVar("jackfield_changed_listings", default=None)
"""What a change that is being published is of; `None` if it concerns all clients."""

MOST_STREAMS = 1024
"""How many may be open at the same time."""

_SUBSCRIBE_SECONDS = 20.0
"""How long a stream waits to begin, until the servers of its resources have answered."""

_AT_ONCE = 20
"""So many servers are asked at the same time."""


class Listening(ListenHandler):
    """The handler.

    Args:
        changes: On which changes of listings are published.
        clients: Have the sessions.
        views: Know whose a resource is.
    """

    def __init__(
        self,
        changes: InMemorySubscriptionBus,
        clients: Callable[[], Clients],
        views: Callable[[], Views],
    ) -> None:
        super().__init__(changes)
        self._changes = changes
        self._clients = clients
        self._views = views
        self._own: set[ListenHandler] = set()

    async def __call__(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream."""
        wanted = params.notifications
        listings = self._views().of(ctx).listings
        listings.watch.begin()
        if len(self._own) >= MOST_STREAMS:
            raise MCPError(INTERNAL_ERROR, f"No stream was opened: {MOST_STREAMS} are the limit.")
        own = _OwnBus()
        handler = ListenHandler(own)

        def changed(event: ServerEvent) -> None:
            if changed_listings.get() in (None, listings):
                own.hand_on(event)

        async with AsyncExitStack() as stack:
            stack.callback(self._changes.subscribe(changed))
            self._own.add(handler)
            stack.callback(self._own.discard, handler)
            if not wanted.resource_subscriptions:
                return await handler(ctx, params)
            client, _ = await stack.enter_async_context(self._clients().client(ctx))

            def heard(target: Target, updated: Mapping[str, Any]) -> None:
                own.hand_on(ResourceUpdated(uri=listings.given_uri(target.config, str(updated.get("uri")))))

            async def subscribe(uri: str) -> None:
                async with limit:
                    try:
                        target = await listings.resource(uri)
                        updated: Updated = partial(heard, target)
                        await client.subscriptions.add(target.config, target.name, updated)
                    except (JackfieldError, MCPError) as error:
                        logger.info("[MCP][gateway] Changes of %s are not told: %s", uri, error)
                        return
                stack.callback(client.subscriptions.remove, target.config, target.name, updated)
                honored.append(uri)

            limit, honored = anyio.CapacityLimiter(_AT_ONCE), list[str]()
            with anyio.move_on_after(_SUBSCRIBE_SECONDS):
                async with anyio.create_task_group() as tasks:
                    for uri in dict.fromkeys(wanted.resource_subscriptions):
                        tasks.start_soon(subscribe, uri)
            told: SubscriptionFilter = wanted.model_copy(update={"resource_subscriptions": honored})
            return await handler(ctx, params.model_copy(update={"notifications": told}))

    def close(self) -> None:
        """End all streams."""
        super().close()
        for handler in list(self._own):
            handler.close()


class _OwnBus:
    """The bus of one stream, which takes events from where nothing can be awaited."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[ServerEvent], None]] = []
        self._early: dict[ServerEvent, None] = {}
        """What happened before the stream began."""

    def hand_on(self, event: ServerEvent) -> None:
        """Deliver an event."""
        if not self._listeners:
            self._early[event] = None
        for listener in list(self._listeners):
            listener(event)

    async def publish(self, event: ServerEvent) -> None:
        """Deliver an event, as the SDK has it."""
        self.hand_on(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Register a listener; returns what ends that."""
        self._listeners.append(listener)
        for event in self._early:
            listener(event)
        self._early.clear()
        return lambda: self._listeners.remove(listener)
