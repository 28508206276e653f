"""`Subscriptions`: the resources and tasks whose changes a client wants to hear of, each asked of its server once.

A server of the older protocol is asked by `resources/subscribe`, one of 2026-07-28 by a stream of its own; a client
gets the updates in its own way, whichever that is. A subscription holds the client's session with the server open, and
is made again when that is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.subscriptions import ResourceUpdated
from mcp.types import INVALID_PARAMS

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..session.session import caller_of
from ..session.task_status import TaskNotToldError, task_statuses
from .eras import is_modern

if TYPE_CHECKING:
    from ..session.session import Session

logger: logging.Logger = logging.getLogger("jackfield")

MOST_SUBSCRIPTIONS = 1000
"""How many a client may have."""

Updated = Callable[[Mapping[str, Any]], None]
"""Called with the parameters of `notifications/resources/updated` or `notifications/tasks`, as the server has them."""

Watch = Callable[["Session", Callable[[], None], Updated], Awaitable[None]]
"""Subscribes, calls the first function once that is done and the second one with each update, until the stream ends."""

Hold = Callable[[BaseServerConfig], AbstractAsyncContextManager["Session"]]
"""Leases the client's session with a server."""


@dataclass(frozen=True)
class Subject:
    """A resource or a task of one server."""

    config: BaseServerConfig
    name: str
    """The URI or the id that the server has for it."""
    is_task: bool = False

    @property
    def key(self) -> tuple[str, bool, str]:
        """The same for the same one, also after its server was reconfigured."""
        return self.config.server_name, self.is_task, self.name


@dataclass(eq=False)
class _Held:
    """What is subscribed to."""

    subject: Subject
    watch: Watch
    listeners: list[Updated]
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    settled: anyio.Event = field(default_factory=anyio.Event)
    failure: Exception | None = None


class Subscriptions:
    """The subscriptions of one client.

    Args:
        hold: Leases its session with a server.
        tasks: In which sessions are held.
    """

    def __init__(self, hold: Hold, tasks: TaskGroup) -> None:
        self._lease = hold
        self._tasks = tasks
        self._held: dict[tuple[str, bool, str], _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def add(self, subject: Subject, updated: Updated, envelope: Mapping[str, Any] | None = None) -> None:
        """Subscribe, or listen to a subscription that there is.

        Args:
            subject: A resource, or a task.
            updated: Called with each update, until it is removed.
            envelope: What a request about a task says of its client.

        Raises:
            MCPError: The server refused, or the client has too many subscriptions.
            JackfieldError: The server cannot be asked.
        """
        held = self._held.get(subject.key)
        if held is None:
            if len(self._held) >= MOST_SUBSCRIPTIONS:
                raise MCPError(INVALID_PARAMS, f"Not subscribed: the limit is {MOST_SUBSCRIPTIONS} subscriptions.")
            watch = (
                partial(_task_statuses, subject.name, envelope or {})
                if subject.is_task
                else partial(_resource_updates, subject.name)
            )
            held = self._held[subject.key] = _Held(subject, watch, [updated])
            self._tasks.start_soon(self._hold, held)
        else:
            held.listeners.append(updated)
        try:
            await held.settled.wait()
        except BaseException:
            self.remove(subject, updated)
            raise
        if held.failure is not None:
            raise held.failure

    def remove(self, subject: Subject, updated: Updated) -> None:
        """Hear no more of a resource or task; the last one ends the subscription."""
        held = self._held.get(subject.key)
        if held is None or updated not in held.listeners:
            return
        held.listeners.remove(updated)
        if not held.listeners:
            self._end(held)

    def close(self) -> None:
        """The client is gone."""
        for held in list(self._held.values()):
            self._end(held)

    def heard(self, server_name: str, params: Mapping[str, Any]) -> bool:
        """A server of the older protocol told of an update: of a resource, or of one below it. Whether it was asked to
        from here."""
        exact = self._held.get((server_name, False, str(params.get("uri"))))
        resources = [held for (name, is_task, _), held in self._held.items() if name == server_name and not is_task]
        told = [exact] if exact is not None else resources
        for listener in {listener: None for held in told for listener in held.listeners}:
            listener(params)
        return bool(told)

    def _end(self, held: _Held) -> None:
        key = held.subject.key
        if self._held.get(key) is held:
            del self._held[key]
        held.scope.cancel()

    async def _hold(self, held: _Held) -> None:
        subject, attempt = held.subject, 0

        def began() -> None:
            nonlocal attempt
            held.settled.set()
            attempt = 0

        def updated(params: Mapping[str, Any]) -> None:
            for listener in list(held.listeners):
                listener(params)

        with held.scope:
            while True:
                try:
                    async with self._lease(subject.config) as session:
                        await held.watch(session, began, updated)
                except SubscriptionLost as lost:
                    logger.debug("[MCP][gateway] The subscription to %s is restored: %s", subject.name, lost)
                except (JackfieldError, MCPError, TimeoutError) as error:
                    if not held.settled.is_set() or isinstance(error, TaskNotToldError):
                        held.failure = error
                        break
                    logger.debug(
                        "[MCP][gateway] The subscription to %s could not be restored yet: %s", subject.name, error
                    )
                attempt += 1
                await anyio.sleep(subject.config.session.wait_before(attempt))
        self._end(held)
        held.settled.set()


async def _resource_updates(uri: str, session: Session, began: Callable[[], None], updated: Updated) -> None:
    async with session.listen(resource_subscriptions=[uri]) as changes:
        began()
        async for change in changes:
            # Older servers' notifications come as they are; see `heard`.
            if isinstance(change, ResourceUpdated) and is_modern(session.protocol_version):
                updated({"uri": change.uri})


async def _task_statuses(
    task_id: str, envelope: Mapping[str, Any], session: Session, began: Callable[[], None], updated: Updated
) -> None:
    await task_statuses(caller_of(session), task_id, envelope, began=began, updated=updated)
