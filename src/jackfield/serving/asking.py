"""Requests of the server to its clients: sent on a stream, answered by a POST to any instance."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
from anyio.abc import TaskGroup
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import REQUEST_TIMEOUT

from .told import Answered, Progressed
from .wire import notification, request

Put = Callable[[str], Awaitable[None]]
"""Puts a message on a stream of the session."""


@dataclass
class _Asked:
    answered: anyio.Event = field(default_factory=anyio.Event)
    answer: Mapping[str, Any] = field(default_factory=dict[str, Any])
    on_progress: ProgressFnT | None = None


class ServerRequests:
    """The requests of this instance that clients have not answered yet.

    Their ids name the instance, so that any other can pass an answer on. An answer counts only if it comes from the
    session that was asked.
    """

    def __init__(self, instance: str, tasks: TaskGroup) -> None:
        self._instance = instance
        self._tasks = tasks
        self._asked: dict[tuple[str, str], _Asked] = {}

    async def ask(
        self, session_id: str, put: Put, method: str, params: Mapping[str, Any] | None, options: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request and wait for its result.

        Raises:
            MCPError: The client answered with an error, or not in time.
        """
        given: CallOptions = options or {}
        request_id = f"{self._instance}:{uuid4().hex}"
        asked = _Asked(on_progress=given.get("on_progress"))
        sent = dict(params or {})
        if asked.on_progress is not None:
            sent["_meta"] = {**(sent.get("_meta") or {}), "progressToken": request_id}
        self._asked[session_id, request_id] = asked
        try:
            await put(request(request_id, method, sent or None))
            with anyio.move_on_after(given.get("timeout")):
                await asked.answered.wait()
        finally:
            del self._asked[session_id, request_id]
            if not asked.answered.is_set() and given.get("cancel_on_abandon", True):
                with anyio.move_on_after(2, shield=True):
                    await put(notification("notifications/cancelled", {"requestId": request_id}))
        if not asked.answered.is_set():
            raise MCPError(REQUEST_TIMEOUT, f"The client did not answer {method} within {given.get('timeout')} s.")
        if (error := asked.answer.get("error")) is not None:
            raise MCPError(error["code"], error["message"], error.get("data"))
        return dict(asked.answer["result"])

    def answered(self, message: Answered) -> None:
        """A client answered."""
        if (asked := self._asked.get((message.session_id, message.request_id))) is not None:
            asked.answer = message.answer
            asked.answered.set()

    def progressed(self, message: Progressed) -> None:
        """A client told of progress."""
        asked = self._asked.get((message.session_id, message.request_id))
        if asked is not None and asked.on_progress is not None:
            self._tasks.start_soon(asked.on_progress, message.progress, message.total, message.message)


def instance_of(request_id: object) -> str | None:
    """The instance that sent the request, by its id; `None` where no instance did."""
    if not isinstance(request_id, str):
        return None
    instance, colon, rest = request_id.partition(":")
    return instance if colon and rest else None
