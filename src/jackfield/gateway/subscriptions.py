"""`Subscriptions`: the resources whose changes a client wants to hear of, each asked of its server once.

A server of the older protocol is asked by `resources/subscribe`, one of 2026-07-28 by a stream of its own; a client
gets the updates in its own way, whichever that is. A subscription holds the client's session with the server open, and
is made again when that is lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.client.subscriptions import SubscriptionLost
from mcp.shared.subscriptions import ResourceUpdated
from mcp.types import INVALID_PARAMS

from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from .eras import is_modern

if TYPE_CHECKING:
    from ..session.session import Session

logger: logging.Logger = logging.getLogger("jackfield")

MOST_SUBSCRIPTIONS = 1000
"""How many a client may have."""

Updated = Callable[[Mapping[str, Any]], None]
"""Called with the parameters of `notifications/resources/updated`, with the server's own URI."""

Hold = Callable[[BaseServerConfig], AbstractAsyncContextManager["Session"]]
"""Leases the client's session with a server."""


@dataclass(eq=False)
class _Held:
    """One resource of one server."""

    config: BaseServerConfig
    uri: str
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
        self._held: dict[tuple[str, str], _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    async def add(self, config: BaseServerConfig, uri: str, updated: Updated) -> None:
        """Subscribe, or listen to a subscription that there is.

        Args:
            config: The server.
            uri: As the server has it.
            updated: Called with each update, until it is removed.

        Raises:
            MCPError: The server refused, or the client has too many subscriptions.
            JackfieldError: The server cannot be asked.
        """
        key = config.server_name, uri
        held = self._held.get(key)
        if held is None:
            if len(self._held) >= MOST_SUBSCRIPTIONS:
                raise MCPError(INVALID_PARAMS, f"Not subscribed: {MOST_SUBSCRIPTIONS} subscriptions are the limit.")
            held = self._held[key] = _Held(config, uri, [updated])
            self._tasks.start_soon(self._hold, held)
        else:
            held.listeners.append(updated)
        try:
            await held.settled.wait()
        except BaseException:
            self.remove(config, uri, updated)
            raise
        if held.failure is not None:
            raise held.failure

    def remove(self, config: BaseServerConfig, uri: str, updated: Updated) -> None:
        """Hear no more of a resource; the last one ends the subscription."""
        held = self._held.get((config.server_name, uri))
        if held is None or updated not in held.listeners:
            return
        held.listeners.remove(updated)
        if not held.listeners:
            self._end(held)

    def close(self) -> None:
        """The client is gone."""
        for held in list(self._held.values()):
            self._end(held)

    def heard(self, server_name: str, params: Mapping[str, Any]) -> None:
        """A server of the older protocol told of an update: of a resource, or of one below it."""
        uri = params.get("uri")
        exact = self._held.get((server_name, str(uri)))
        told = [exact] if exact is not None else [held for (name, _), held in self._held.items() if name == server_name]
        for listener in {listener: None for held in told for listener in held.listeners}:
            listener(params)

    def _end(self, held: _Held) -> None:
        key = held.config.server_name, held.uri
        if self._held.get(key) is held:
            del self._held[key]
        held.scope.cancel()

    async def _hold(self, held: _Held) -> None:
        settings, attempt = held.config.session, 0
        with held.scope:
            while True:
                try:
                    async with self._lease(held.config) as session:
                        async with session.listen(resource_subscriptions=[held.uri]) as changes:
                            held.settled.set()
                            attempt = 0
                            async for change in changes:
                                # Older servers' notifications come as they are; see `heard`.
                                if isinstance(change, ResourceUpdated) and is_modern(session.protocol_version):
                                    for listener in list(held.listeners):
                                        listener({"uri": change.uri})
                except SubscriptionLost as lost:
                    logger.debug("[MCP][gateway] The subscription to %s is made again: %s", held.uri, lost)
                except (JackfieldError, MCPError, TimeoutError) as error:
                    if not held.settled.is_set():
                        held.failure = error
                        break
                    logger.debug("[MCP][gateway] The subscription to %s is not made yet: %s", held.uri, error)
                attempt += 1
                await anyio.sleep(settings.wait_before(attempt))
        self._end(held)
        held.settled.set()
