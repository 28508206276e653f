"""Requests of the server to its clients: sent on a stream, answered by a POST to any instance."""

from __future__ import annotations

import logging
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
from mcp.shared.dispatcher import CallOptions, ProgressFnT
from mcp.shared.exceptions import MCPError
from mcp_types import INTERNAL_ERROR, REQUEST_TIMEOUT

from .backplane_messages import Answered, Progressed
from .errors import StoreUnavailableError
from .wire import notification, request

logger: logging.Logger = logging.getLogger("jackfield")

_CANCEL_SECONDS = 2.0
"""Time limit for telling the client that an answer is no longer wanted."""

_MAX_PROGRESS = 64
"""So much progress waits for the callback that takes it; then the oldest is dropped."""

_REQUEST_ID = re.compile(r"([0-9a-f]{16}):[0-9a-f]{32}")

Put = Callable[[str], Awaitable[None]]
"""Puts a message on a stream of the session."""


@dataclass
class _Asked:
    on_progress: ProgressFnT | None
    answer: Mapping[str, Any] | None = None
    progress: deque[Progressed] = field(default_factory=lambda: deque[Progressed](maxlen=_MAX_PROGRESS))
    changed: anyio.Event = field(default_factory=anyio.Event)


class ServerRequests:
    """The requests of this instance that clients have not answered yet.

    Their ids name the instance, so that any other can pass an answer on. An answer counts only if it comes from the
    session that was asked.
    """

    def __init__(self, instance: str) -> None:
        self._instance = instance
        self._asked: dict[tuple[str, str], _Asked] = {}

    async def ask(
        self, session_id: str, put: Put, method: str, params: Mapping[str, Any] | None, options: CallOptions | None
    ) -> dict[str, Any]:
        """Send a request and wait for its result.

        Raises:
            MCPError: The client answered with an error, or not in time; or the request could not be sent.
        """
        given: CallOptions = options or {}
        request_id = f"{self._instance}:{uuid4().hex}"
        asked = _Asked(given.get("on_progress"))
        sent = dict(params or {})
        if asked.on_progress is not None:
            sent["_meta"] = {**(sent.get("_meta") or {}), "progressToken": request_id}
        self._asked[session_id, request_id] = asked
        is_sent = False
        try:
            with anyio.move_on_after(given.get("timeout")):
                await put(request(request_id, method, sent or None))
                is_sent = True
                await self._answered(asked)
        except StoreUnavailableError as failure:
            logger.warning("[MCP] %s", failure.message)
            text = f"{method} was not sent to the client: the session store cannot be reached."
            raise MCPError(INTERNAL_ERROR, text) from None
        finally:
            del self._asked[session_id, request_id]
            if is_sent and asked.answer is None and given.get("cancel_on_abandon", True):
                with anyio.move_on_after(_CANCEL_SECONDS, shield=True):
                    try:
                        await put(notification("notifications/cancelled", {"requestId": request_id}))
                    except StoreUnavailableError as failure:
                        logger.warning("[MCP] %s", failure.message)
        if asked.answer is None:
            raise MCPError(REQUEST_TIMEOUT, f"The client did not answer {method} within {given.get('timeout')} s.")
        if (error := asked.answer.get("error")) is not None:
            raise MCPError(error["code"], error["message"], error.get("data"))
        return dict(asked.answer["result"])

    async def _answered(self, asked: _Asked) -> None:
        """Wait for the answer; until then, pass progress on in order."""
        while True:
            while asked.progress and asked.on_progress is not None:
                told = asked.progress.popleft()
                try:
                    await asked.on_progress(told.progress, told.total, told.message)
                except Exception:
                    logger.exception("[MCP] A progress callback failed")
            if asked.answer is not None:
                return
            asked.changed = anyio.Event()
            await asked.changed.wait()

    def answered(self, message: Answered) -> None:
        """A client answered; only its first answer counts."""
        asked = self._asked.get((message.session_id, message.request_id))
        if asked is not None and asked.answer is None:
            asked.answer = message.answer
            asked.changed.set()

    def progressed(self, message: Progressed) -> None:
        """The client reported progress."""
        asked = self._asked.get((message.session_id, message.request_id))
        if asked is not None and asked.on_progress is not None and asked.answer is None:
            asked.progress.append(message)
            asked.changed.set()

    def session_ended(self, session_id: str) -> None:
        """No answer will come."""
        text = "The session was closed before the client answered."
        for asked_session, request_id in list(self._asked):
            if asked_session == session_id:
                self.answered(
                    Answered(session_id, request_id, {"error": {"code": INTERNAL_ERROR, "message": text}}),
                )

    @property
    def session_ids(self) -> set[str]:
        """The sessions that were asked something."""
        return {session_id for session_id, _ in self._asked}


def instance_of(request_id: object) -> str | None:
    """The instance that sent the request, from its id; `None` if no instance did."""
    found = _REQUEST_ID.fullmatch(request_id) if isinstance(request_id, str) else None
    return None if found is None else found[1]
