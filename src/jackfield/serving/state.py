"""Application state: what handlers keep in a session from one request to the next, on whichever instance each runs."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, cast

from mcp.server.context import ServerRequestContext
from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import JsonValue
from starlette.requests import Request

from ..errors import JackfieldError
from .limits import ServingLimits
from .stores import SessionStore

STATE_SCOPE = "jackfield.state"
"""Under this key the ASGI scope of a request has its session's state."""


class StateError(JackfieldError, ToolError):
    """Application state cannot be had, or a value cannot be kept.

    It is a `ToolError` of the SDK, so that the text reaches the client of a tool that does not handle it.
    """

    code: ClassVar[str] = "state"


class SessionState(Protocol):
    """State of one session. It is deleted with the session."""

    async def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """The value under a key."""
        ...

    async def set(self, key: str, value: JsonValue) -> None:
        """Store a value under a key.

        Raises:
            StateError: It is not a JSON value, or exceeds the limit `state_bytes`.
        """
        ...

    async def delete(self, key: str) -> None:
        """Delete the value under a key, if any."""
        ...


@dataclass(frozen=True)
class StoredState:
    """`SessionState` in the session store. If two requests write one key, the later one wins."""

    sessions: SessionStore
    session_id: str
    limits: ServingLimits

    async def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """The value under a key."""
        text = await self.sessions.get_state(self.session_id, key)
        return default if text is None else cast("JsonValue", json.loads(text))

    async def set(self, key: str, value: JsonValue) -> None:
        """Store a value under a key."""
        try:
            text = json.dumps(value, separators=(",", ":"), allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise StateError(f"State {key!r} was not stored: it is not a JSON value ({error}).") from None
        if len(text) > self.limits.state_bytes:
            raise StateError(
                f"State {key!r} was not stored: it has {len(text)} bytes (`state_bytes` is {self.limits.state_bytes})."
            )
        await self.sessions.set_state(self.session_id, key, text)

    async def delete(self, key: str) -> None:
        """Delete the value under a key."""
        await self.sessions.set_state(self.session_id, key, None)


def state(ctx: Context[Any, Any] | ServerRequestContext[Any, Any]) -> SessionState:
    """The application state of the session that a handler's request belongs to.

    ```python
    @server.tool()
    async def add(ctx: Context, item: str) -> int:
        basket = [*(await state(ctx).get("basket", [])), item]
        await state(ctx).set("basket", basket)
        return len(basket)
    ```

    Args:
        ctx: The context that the SDK hands to the handler.

    Raises:
        StateError: The request has no session: it is of 2026-07-28, or the server is stateless.
    """
    inner = ctx.request_context if isinstance(ctx, Context) else ctx
    request: object = inner.request
    kept = request.scope.get(STATE_SCOPE) if isinstance(request, Request) else None
    if kept is None:
        raise StateError(
            "This request has no session, so it has no state.",
            hint="MCP 2026-07-28 has no sessions: keep state under a handle that your tool returns and accepts, or let "
            "clients fall back to 2025-11-25 by serve_sessions(sessions_only=True).",
        )
    return cast("SessionState", kept)
