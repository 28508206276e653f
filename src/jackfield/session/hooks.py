"""Hooks around tool calls: for logs, approval, changed arguments or headers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import CallDeniedError, JackfieldError

if TYPE_CHECKING:
    from mcp.types import ToolAnnotations

    from .results import ToolResult


@dataclass(frozen=True)
class ToolCall:
    """A call that is about to be made."""

    server_name: str
    key: str | None
    tool: str
    """The name the server knows it by."""
    arguments: Mapping[str, Any]
    annotations: ToolAnnotations | None = None
    """The server's hints (read-only, destructive, ...): claims, not guarantees."""
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Sent with this call over HTTP, beside those of the configuration."""

    def with_arguments(self, **changes: Any) -> ToolCall:
        """The same call with some arguments changed."""
        return replace(self, arguments={**self.arguments, **changes})

    def with_headers(self, **headers: str) -> ToolCall:
        """The same call with further headers; underscores in their names become dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return replace(self, headers={**self.headers, **named})

    def deny(self, why: str) -> CallDeniedError:
        """The error to raise so that the call is not made: `raise call.deny("...")`."""
        name, reason = self.server_name, why.rstrip(".")
        return CallDeniedError(
            f"The call of {self.tool!r} of server {name!r} was denied: {reason}. Nothing was sent.",
            server_name=self.server_name,
            sent=False,
        )


class CallHook:
    """Derive from it and override what you need. Hooks run in the order given, their ends in the reverse order."""

    async def before(self, call: ToolCall) -> ToolCall | None:
        """Before the arguments are checked and anything is sent. Return a changed call, or `None` for no change.

        Raise `call.deny(...)` to stop it.
        """
        return None

    async def after(self, call: ToolCall, result: ToolResult) -> ToolResult | None:
        """With the result, also one with `is_error`. Return another to replace it."""
        return None

    async def on_error(self, call: ToolCall, error: JackfieldError) -> ToolResult | None:
        """Where there is no result. Return one to have it in the place of the error."""
        return None


async def call_with_hooks(
    hooks: Sequence[CallHook], call: ToolCall, proceed: Callable[[ToolCall], Awaitable[ToolResult]]
) -> ToolResult:
    """Make a call with hooks around it."""
    passed: list[CallHook] = []
    try:
        for hook in hooks:
            call = await hook.before(call) or call
            passed.append(hook)
        result = await proceed(call)
    except JackfieldError as error:
        for hook in reversed(passed):
            if (stand_in := await hook.on_error(call, error)) is not None:
                return _telling(stand_in, call, error.state_lost)
        raise
    state_lost = result.state_lost
    for hook in reversed(passed):
        result = await hook.after(call, result) or result
    return _telling(result, call, state_lost)


def _telling(result: ToolResult, call: ToolCall, state_lost: bool) -> ToolResult:
    """The result of a hook, which says that state is gone where what it replaces said so."""
    if not state_lost or result.state_lost:
        return result
    name = result.server_name or call.server_name
    return result.model_copy(update={"state_lost": True, "server_name": name})
