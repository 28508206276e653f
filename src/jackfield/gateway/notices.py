"""`Notices`: what servers behind the gateway tell a client, in order, and before the answer that it belongs to.

Progress goes with its request; changes of listings and of resources reach those who asked for them by other ways.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

import anyio
from anyio.abc import TaskGroup
from mcp.types import LOG_LEVEL_META_KEY

from ..plain import as_table
from ..serving.context import LEVELS, is_at_least
from .eras import is_modern
from .messages import Context
from .running_request import RunningRequest

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_WAITING = 1000
"""So many wait for a client that does not read; then the oldest is dropped."""

_LATE_SECONDS = 5.0
"""How long an answer waits for what was told before it."""

_NOT_PASSED = {
    "notifications/tools/list_changed",
    "notifications/prompts/list_changed",
    "notifications/resources/list_changed",
    "notifications/resources/updated",
    "notifications/tasks",
}
"""Of which each client hears as it asked to."""

Notify = Callable[[str, Mapping[str, Any] | None, Context | None], Awaitable[None]]
_Notice = tuple[str, Mapping[str, Any] | None, RunningRequest | None]


class Notices:
    """Notifications on their way to one client.

    Args:
        notify: Sends one, about a request of the client or none.
        tasks: In which they are sent.
    """

    def __init__(self, notify: Notify, tasks: TaskGroup) -> None:
        self._notify = notify
        self._tasks = tasks
        self._waiting: deque[_Notice] = deque(maxlen=_MOST_WAITING)
        self._is_sending = False
        self._sent = anyio.Event()

    def put(self, method: str, params: Mapping[str, Any] | None, related: RunningRequest | None = None) -> None:
        """Send a notification after those that wait."""
        self._waiting.append((method, params, related))
        if not self._is_sending:
            self._is_sending, self._sent = True, anyio.Event()
            self._tasks.start_soon(self._send)

    async def sent(self) -> None:
        """Return when all that was told so far is sent, or the client does not take it."""
        if self._is_sending:
            with anyio.move_on_after(_LATE_SECONDS):
                await self._sent.wait()

    async def _send(self) -> None:
        try:
            while self._waiting:
                method, params, related = self._waiting.popleft()
                tell = partial(self._tell, method, params, related)
                if related is None or related.parked is None or not related.parked.holds(tell):
                    await tell()
        finally:
            self._is_sending = False
            self._sent.set()

    async def _tell(self, method: str, params: Mapping[str, Any] | None, related: RunningRequest | None) -> None:
        # A call that waited for its client may be over when the client comes back for its outcome.
        is_about = related is not None and (related.parked is not None or not related.is_over)
        try:
            await self._notify(method, params, related.context if related and is_about else None)
        except Exception:
            # One that cannot be sent must cost neither the others nor any other client.
            logger.exception("[MCP][gateway] %s was not sent to a client", method)


def is_wanted(
    method: str,
    params: Mapping[str, Any] | None,
    related: RunningRequest | None,
    *,
    protocol_version: str,
    log_level: str | None,
) -> bool:
    """Whether a server's notification goes to a client.

    Args:
        method: Of the notification.
        params: Of the notification.
        related: The client's request that it is about.
        protocol_version: The client's.
        log_level: The least severe log messages that the client asked for, in the older protocol.
    """
    if method in _NOT_PASSED:
        return False
    if not is_modern(protocol_version):
        return method != "notifications/message" or log_level not in LEVELS or is_at_least(params, log_level)
    if related is None:
        return False  # This client has no stream but those of its requests.
    if method == "notifications/message":
        wanted = as_table((related.context.params or {}).get("_meta")).get(LOG_LEVEL_META_KEY)
        return wanted in LEVELS and is_at_least(params, wanted)
    return method != "notifications/elicitation/complete"  # which ended with the older protocol
