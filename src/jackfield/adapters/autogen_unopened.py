"""What a workbench offers where none of its servers can be asked for its tools: a tool that says why, and tries again.

AgentChat 0.7.5 lists tools in the run of an agent, which ends with whatever that raises; and a model that is given no
tools at all makes an answer up.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from ..errors import JackfieldError, one_line
from ..session.results import ToolResult
from ..toolkit.own_tool import own_tool, text_result
from ..toolkit.tool import CallOptions, Tool

# Some model APIs take 1,024 characters of a tool's description.
_REASON_CHARS = 600
_ONE_REASON_CHARS = 150
_SHOWN_SERVERS = 3
_SHOWN_TOOLS = 30

_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def none_opened(errors: Mapping[str, JackfieldError]) -> JackfieldError:
    """The error for servers none of which could be asked.

    Args:
        errors: Why each of them could not, by name.
    """
    if len(errors) == 1:
        [error] = errors.values()
        return error.told()  # Raised again and again, one and the same would note each time where.
    reasons = [f"{name}: {one_line(error.message, _ONE_REASON_CHARS)}" for name, error in errors.items()]
    more = f" And {len(reasons) - _SHOWN_SERVERS} more." if len(reasons) > _SHOWN_SERVERS else ""
    return JackfieldError(
        f"None of {len(reasons)} servers could be asked for its tools. {' '.join(reasons[:_SHOWN_SERVERS])}{more}",
        sent=False,
        retryable=any(error.retryable for error in errors.values()),
        hint="Open them one by one to see all of what is wrong.",
    )


def opening_tool(
    servers: Sequence[str], error: JackfieldError, open_again: Callable[[], Awaitable[Sequence[str]]]
) -> Tool:
    """The tool.

    Args:
        servers: The names of the workbench's servers.
        error: Why there are no others.
        open_again: Returns the names of the tools that there are then, or raises why there still are none.
    """

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        names = await open_again()
        more = f", ... ({len(names)} in all)" if len(names) > _SHOWN_TOOLS else ""
        return text_result(f"These tools can be called now: {', '.join(names[:_SHOWN_TOOLS])}{more}.")

    reason = one_line(error.message, _REASON_CHARS).rstrip(".")
    description = f"No tools are there yet: {reason}. Call this to try again; if that fails, tell the user why."
    # Two workbenches of one agent must not have tools of the same name.
    return own_tool(f"open_{'_'.join(servers)}", description, _NO_ARGUMENTS, answer)
