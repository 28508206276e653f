"""`Listening`: the streams of changes that clients of 2026-07-28 open by `subscriptions/listen`.

Each hears of changes of the listings that its client sees, and of the very resources and tasks that it named, from
sessions with their servers that are its own.
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
from mcp.types import (
    CLIENT_CAPABILITIES_META_KEY,
    CLIENT_INFO_META_KEY,
    INTERNAL_ERROR,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    SubscriptionsListenRequestParams,
    SubscriptionsListenResult,
)

from ..errors import JackfieldError
from ..plain import as_list, as_table
from ..serving.published_changes import about, is_from_elsewhere
from ..session.eras import changed_kind
from .change_stream import ChangeStream
from .clients import Clients
from .eras import envelope_of
from .listing import Listings
from .messages import Context
from .subscriptions import Subject, Updated
from .tasks import EXTENSION, given_message, server_of
from .views import View, Views

logger: logging.Logger = logging.getLogger("jackfield")

changed_listings: ContextVar[Listings | None] = ContextVar("jackfield_changed_listings", default=None)
"""What a change that is being published is of; `None` if it concerns all clients."""

MOST_STREAMS = 1024
"""How many may be open at the same time."""


class ChangeBus(InMemorySubscriptionBus):
    """On which changes of listings are published.

    One that another instance publishes concerns only those whose listing is not the one any more that they have:
    clients of the same view, and of others where the catalog, looked at again, says so.

    Args:
        views: Have the listings.
    """

    def __init__(self, views: Callable[[], Views]) -> None:
        super().__init__()
        self._views = views

    async def publish(self, event: ServerEvent) -> None:
        """Deliver a change to all whom it concerns."""
        kind, its_about = changed_kind(event), about.get()
        if not is_from_elsewhere.get() or kind is None or its_about is None:
            await super().publish(event)
            return
        view_name, _, digest = its_about.partition(" ")
        for view in self._views().all():
            if view.name != view_name:
                view.listings.look_again()
            elif view.listings.watch.heard(kind, digest):
                token = changed_listings.set(view.listings)
                try:
                    await super().publish(event)
                finally:
                    changed_listings.reset(token)


_SUBSCRIBE_SECONDS = 20.0
"""How long a stream waits to begin, until the servers of its resources and tasks have answered."""

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
        self._own: set[ChangeStream] = set()

    async def __call__(self, ctx: Context, params: SubscriptionsListenRequestParams) -> SubscriptionsListenResult:
        """Serve one stream."""
        wanted, view = params.notifications, self._views().of(ctx)
        # The SDK's model does not have them.
        task_ids = [one for one in as_list(_filter_of(ctx).get("taskIds")) if isinstance(one, str)]
        if task_ids:
            _require_extension(ctx)
        view.listings.watch.begin()
        if len(self._own) >= MOST_STREAMS:
            raise MCPError(INTERNAL_ERROR, f"No stream was opened: the limit is {MOST_STREAMS}.")
        async with AsyncExitStack() as stack:
            stream = stack.enter_context(ChangeStream(ctx, wanted))
            self._own.add(stream)
            stack.callback(self._own.discard, stream)

            def changed(event: ServerEvent) -> None:
                if changed_listings.get() in (None, view.listings):
                    stream.put_event(event)

            stack.callback(self._changes.subscribe(changed))
            if wanted.resource_subscriptions or task_ids:
                await self._subscribe(ctx, stack, stream, view, wanted.resource_subscriptions or [], task_ids)
            return await stream.serve()

    async def _subscribe(
        self,
        ctx: Context,
        stack: AsyncExitStack,
        stream: ChangeStream,
        view: View,
        uris: list[str],
        task_ids: list[str],
    ) -> None:
        """Have the servers tell of resources and tasks, as long as the stream is there."""
        client, _ = await stack.enter_async_context(self._clients().client(ctx))
        said = envelope_of(ctx.params)
        envelope = {key: said[key] for key in (CLIENT_INFO_META_KEY, CLIENT_CAPABILITIES_META_KEY) if key in said}

        async def subscribe(given: str, subject: Subject, updated: Updated) -> bool:
            try:
                await client.subscriptions.add(subject, updated, envelope)
            except (JackfieldError, MCPError) as error:
                logger.info("[MCP][gateway] Changes of %s are not reported: %s", given, error)
                return False
            stack.callback(client.subscriptions.remove, subject, updated)
            return True

        def resource_updated(subject: Subject, told: Mapping[str, Any]) -> None:
            uri = view.listings.given_uri(subject.config, str(told.get("uri")))
            stream.put_event(ResourceUpdated(uri=uri))

        def task_updated(subject: Subject, told: Mapping[str, Any]) -> None:
            method = "notifications/tasks"
            stream.put(method, given_message(subject.config.server_name, method, told) or {})

        async def hear_of_resource(uri: str) -> None:
            async with limit:
                try:
                    target = await view.listings.resource(uri)
                except MCPError as error:
                    logger.info("[MCP][gateway] Changes of %s are not reported: %s", uri, error)
                    return
                subject = Subject(target.config, target.name)
                if await subscribe(uri, subject, partial(resource_updated, subject)):
                    stream.uris.append(uri)

        async def hear_of_task(task_id: str) -> None:
            async with limit:
                if (found := server_of(task_id, view.configs)) is not None:
                    subject = Subject(*found, is_task=True)
                    if await subscribe(task_id, subject, partial(task_updated, subject)):
                        stream.task_ids.append(task_id)

        limit = anyio.CapacityLimiter(_AT_ONCE)
        with anyio.move_on_after(_SUBSCRIBE_SECONDS):
            async with anyio.create_task_group() as tasks:
                for uri in dict.fromkeys(uris):
                    tasks.start_soon(hear_of_resource, uri)
                for task_id in dict.fromkeys(task_ids):
                    tasks.start_soon(hear_of_task, task_id)

    def close(self) -> None:
        """End all streams."""
        super().close()
        for stream in list(self._own):
            stream.close()


def _filter_of(ctx: Context) -> Mapping[str, Any]:
    return as_table((ctx.params or {}).get("notifications"))


def _require_extension(ctx: Context) -> None:
    """Refuse a client that does not say that it knows of tasks.

    Source: MCP tasks extension (SEP-2663), "Task Status Notifications".
    """
    capabilities = as_table(envelope_of(ctx.params).get(CLIENT_CAPABILITIES_META_KEY))
    if EXTENSION not in as_table(capabilities.get("extensions")):
        required: Mapping[str, Any] = {"extensions": {EXTENSION: {}}}
        data = {"requiredCapabilities": required}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "Missing required client capability", data)
