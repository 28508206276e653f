"""Servers that cannot be asked for their tools: whether that is an error, and what a model reads about skipped ones.

A model that is not told of missing tools makes an answer up. It is told by a tool, for that is what every framework
hands on: its description says which servers are missing and why.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError, JackfieldError, one_line
from .own_tool import own_tool, text_result
from .tool import CallOptions, Tool

if TYPE_CHECKING:
    from ..session.results import ToolResult

OnError = Literal["raise", "skip"]

# Some model APIs take 1,024 characters of a tool's description.
_REASON_CHARS = 600
_ONE_REASON_CHARS = 150
_SHOWN_SERVERS = 3
_SHOWN_TOOLS = 30

_NO_ARGUMENTS: Mapping[str, Any] = {"type": "object", "properties": {}}


def require_on_error(on_error: str) -> None:
    """Check what was given as `on_error`.

    Raises:
        ConfigError: It is neither `raise` nor `skip`.
    """
    if on_error not in ("raise", "skip"):
        raise ConfigError(
            f"on_error is 'raise' or 'skip', not {on_error!r}.",
            hint="'skip' offers the tools of the servers that can be opened; 'raise' fails if one cannot.",
        )


def skipped_error(errors: Mapping[str, JackfieldError], servers: int) -> JackfieldError:
    """One error for the servers that could not be asked for their tools.

    Args:
        errors: Why each of them could not, by name.
        servers: How many there are in all.
    """
    if len(errors) == 1:
        [error] = errors.values()
        return error.told()  # Raised again and again, one and the same would note each time where.
    if len(errors) == servers:
        what = f"None of {servers} servers could list its tools."
    else:
        what = f"{len(errors)} of {servers} servers could not list their tools."
    reasons = [f"{name}: {one_line(error.message, _ONE_REASON_CHARS)}" for name, error in errors.items()]
    more = f" And {len(reasons) - _SHOWN_SERVERS} more." if len(reasons) > _SHOWN_SERVERS else ""
    return JackfieldError(
        f"{what} {' '.join(reasons[:_SHOWN_SERVERS])}{more}",
        sent=False,
        retryable=any(error.retryable for error in errors.values()),
        hint="Open them one by one to see every problem.",
    )


def opening_tool(
    servers: Iterable[str],
    error: JackfieldError,
    open_again: Callable[[], Awaitable[Sequence[str]]],
    *,
    are_all: bool,
) -> Tool:
    """A tool of a workbench that tries to open servers again.

    Args:
        servers: Their names.
        error: Why they could not be opened.
        open_again: Returns the names of the tools that there are then, or raises why some servers still have none.
        are_all: Whether the workbench has no other servers, and so no tools.
    """

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        names = await open_again()
        more = f", ... ({len(names)} in all)" if len(names) > _SHOWN_TOOLS else ""
        return text_result(f"These tools can be called now: {', '.join(names[:_SHOWN_TOOLS])}{more}.")

    missing = "No tools are there yet" if are_all else f"The tools of {_named(servers)} are missing"
    description = f"{missing}: {_reason(error)}. Call this to try again; if that fails, tell the user why."
    # Two workbenches of one agent must not have tools of the same name.
    return own_tool(f"open_{'_'.join(servers)}", description, _NO_ARGUMENTS, answer)


def missing_tool(errors: Mapping[str, JackfieldError], servers: int) -> Tool:
    """The tool of a toolkit that says which servers it was made without, and why.

    Args:
        errors: Why each of them was skipped, by name.
        servers: How many there are in all.
    """

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return text_result("\n\n".join(f"{name}: {error}" for name, error in errors.items()))

    reason = _reason(skipped_error(errors, servers))
    description = (
        f"Not a tool of a server. The tools of {_named(errors)} are missing: {reason}. "
        "If the task needs them, tell the user; call this for the whole reason."
    )
    return own_tool(f"missing_{'_'.join(errors)}", description, _NO_ARGUMENTS, answer, is_read_only=True)


def _named(servers: Iterable[str]) -> str:
    names = list(servers)
    more = len(names) - _SHOWN_SERVERS
    return ", ".join(names[:_SHOWN_SERVERS]) + (f" and {more} more" if more > 0 else "")


def _reason(error: JackfieldError) -> str:
    return one_line(error.message, _REASON_CHARS).rstrip(".")
