"""Changes that a server publishes reach the clients of every instance, in both eras of the protocol.

Clients of 2026-07-28 listen by `subscriptions/listen`, which the SDK serves from a bus in the process. Older ones get
`list_changed` notifications on their standalone stream, and updates of resources that they subscribed to.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import partial

import anyio
from mcp.server.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)

from .backplane_messages import Published
from .errors import StoreUnavailableError
from .instance import Instance
from .outages import held
from .stores import PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED, resource_topic

logger: logging.Logger = logging.getLogger("jackfield")

_EVENTS: dict[str, tuple[Callable[[], ServerEvent], str]] = {
    TOOLS_CHANGED: (ToolsListChanged, "notifications/tools/list_changed"),
    PROMPTS_CHANGED: (PromptsListChanged, "notifications/prompts/list_changed"),
    RESOURCES_CHANGED: (ResourcesListChanged, "notifications/resources/list_changed"),
}
_RESOURCE = "resource"

_AT_ONCE = 100
"""Number of sessions that are notified concurrently."""

Audience = Callable[[str], Awaitable[bool]]
"""Whether a session, by its id, is to hear of a change."""

audience: ContextVar[Audience | None] = ContextVar("jackfield_audience", default=None)
"""Set while a change is published that not all sessions are to hear of."""

about: ContextVar[str | None] = ContextVar("jackfield_about", default=None)
"""What a change is of, in the application's own words. Set by it while it publishes one, and on the other instances
while that is published there."""

is_from_elsewhere: ContextVar[bool] = ContextVar("jackfield_is_from_elsewhere", default=False)
"""Whether another instance published the change that is being published here."""


class BusBridge:
    """Joins the buses of all instances. One task passes on the publications of this instance's server.

    Args:
        bus: The bus that this instance's server publishes on; local to this process.
        instance: Reaches the other instances and the sessions.
    """

    def __init__(self, bus: SubscriptionBus, instance: Instance) -> None:
        self._bus = bus
        self._instance = instance
        self._waiting: dict[Published, list[Audience] | None] = {}
        """Changes to pass on, in order, and who hears of each; `None` for all. Two unreported changes of the same thing
        count as one."""
        self._changed = anyio.Event()
        self._from_elsewhere: list[ServerEvent] = []

    async def run(self) -> None:
        """Pass on changes until cancelled."""
        self._instance.listeners.append(self._take)
        end = self._bus.subscribe(self._give)
        try:
            while True:
                while not self._waiting:
                    self._changed = anyio.Event()
                    await self._changed.wait()
                change = next(iter(self._waiting))
                await self._pass_on(change, self._waiting.pop(change))
        finally:
            end()
            self._instance.listeners.remove(self._take)

    def _give(self, event: ServerEvent) -> None:
        """Hear what the server of this instance published."""
        if any(event is one for one in self._from_elsewhere):
            return
        if isinstance(event, ResourceUpdated):
            change = Published(self._instance.name, _RESOURCE, str(event.uri))
        else:
            [kind] = [kind for kind, (made, _) in _EVENTS.items() if made is type(event)]
            change = Published(self._instance.name, kind, about=about.get())
        listening, waiting = audience.get(), self._waiting.get(change, [])
        self._waiting[change] = None if listening is None or waiting is None else [*waiting, listening]
        self._changed.set()

    async def _pass_on(self, change: Published, audiences: Sequence[Audience] | None) -> None:
        here = self._instance
        if change.uri is None:
            topic, method, params = change.event, _EVENTS[change.event][1], None
        else:
            topic, method, params = resource_topic(change.uri), "notifications/resources/updated", {"uri": change.uri}
        missed = 0

        async def notify(session_id: str) -> None:
            nonlocal missed
            try:
                await held(lambda: here.notify(session_id, method, params))
            except StoreUnavailableError:
                missed += 1

        try:
            await held(lambda: here.tell_all(change))
            session_ids = await held(lambda: here.sessions.subscribers(topic))
            if audiences is not None:
                session_ids = [one for one in session_ids if await self._is_heard_by(one, audiences)]
        except StoreUnavailableError as failure:
            logger.warning("[MCP] A change notification (%s) was not passed on: %s", method, failure.message)
            return
        except Exception:
            logger.exception("[MCP] A change notification (%s) was not passed on", method)
            return
        for first in range(0, len(session_ids), _AT_ONCE):
            async with anyio.create_task_group() as tasks:
                for session_id in session_ids[first : first + _AT_ONCE]:
                    tasks.start_soon(notify, session_id)
        if missed:
            logger.warning(
                "[MCP] %d sessions missed a change notification (%s): the store is unavailable", missed, method
            )

    async def _is_heard_by(self, session_id: str, audiences: Sequence[Audience]) -> bool:
        for hears in audiences:
            if await held(partial(hears, session_id)):
                return True
        return False

    def _take(self, message: Published) -> None:
        """Hear what the server of another instance published."""
        if message.instance == self._instance.name:
            return
        if message.event == _RESOURCE:
            event: ServerEvent = ResourceUpdated(uri=message.uri or "")
        elif message.event in _EVENTS:
            event = _EVENTS[message.event][0]()
        else:
            return
        self._instance.background.start(self._publish_here, event, message.about)

    async def _publish_here(self, event: ServerEvent, its_about: str | None) -> None:
        about.set(its_about)
        is_from_elsewhere.set(True)
        self._from_elsewhere.append(event)
        try:
            await self._bus.publish(event)
        finally:
            self._from_elsewhere = [one for one in self._from_elsewhere if one is not event]
