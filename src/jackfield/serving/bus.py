"""Changes that a server publishes reach the clients of every instance, in both eras of the protocol.

Clients of 2026-07-28 listen by `subscriptions/listen`, which the SDK serves from a bus in the process. Older ones get
`list_changed` notifications on their standalone stream, and updates of resources that they subscribed to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from anyio.abc import TaskGroup
from mcp.server.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)

from .errors import StoreUnavailableError
from .host import SessionHost
from .stores import PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED, resource_topic
from .told import Published

logger: logging.Logger = logging.getLogger("jackfield")

_EVENTS: dict[str, tuple[Callable[[], ServerEvent], str]] = {
    TOOLS_CHANGED: (ToolsListChanged, "notifications/tools/list_changed"),
    PROMPTS_CHANGED: (PromptsListChanged, "notifications/prompts/list_changed"),
    RESOURCES_CHANGED: (ResourcesListChanged, "notifications/resources/list_changed"),
}
_RESOURCE = "resource"


class BusBridge:
    """Joins the buses of all instances.

    Args:
        bus: The one that this instance's server publishes on; one that lives in this process only.
        host: How to reach the others, and the sessions.
        tasks: Own what publishing starts.
    """

    def __init__(self, bus: SubscriptionBus, host: SessionHost, tasks: TaskGroup) -> None:
        self._bus = bus
        self._host = host
        self._tasks = tasks
        self._from_elsewhere: list[ServerEvent] = []

    def start(self) -> Callable[[], None]:
        """Begin; returns what ends it."""
        self._host.on_published(self._take)
        return self._bus.subscribe(self._give)

    def _give(self, event: ServerEvent) -> None:
        """Pass on what the server of this instance published."""
        if not any(event is one for one in self._from_elsewhere):
            self._tasks.start_soon(self._pass_on, event)

    async def _pass_on(self, event: ServerEvent) -> None:
        kind, uri = _RESOURCE, None
        if isinstance(event, ResourceUpdated):
            uri = str(event.uri)
            method, topic = "notifications/resources/updated", resource_topic(uri)
        else:
            [(kind, method)] = [(kind, method) for kind, (made, method) in _EVENTS.items() if made is type(event)]
            topic = kind
        try:
            await self._host.publish(Published(self._host.instance, kind, uri))
            await self._host.notify_subscribers(topic, method, None if uri is None else {"uri": uri})
        except StoreUnavailableError as error:
            logger.warning("[MCP] A change was not passed on to all clients: %s", error.message)

    def _take(self, message: Published) -> None:
        if message.instance == self._host.instance:
            return
        if message.event == _RESOURCE:
            event: ServerEvent = ResourceUpdated(uri=message.uri or "")
        elif message.event in _EVENTS:
            event = _EVENTS[message.event][0]()
        else:
            return
        self._tasks.start_soon(self._publish_here, event)

    async def _publish_here(self, event: ServerEvent) -> None:
        self._from_elsewhere.append(event)
        try:
            await self._bus.publish(event)
        finally:
            self._from_elsewhere = [one for one in self._from_elsewhere if one is not event]
