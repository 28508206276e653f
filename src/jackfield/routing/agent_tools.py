"""What a router gives an agent: its own tools, which answer with text; and those of its servers, called directly."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..catalog.tools import ToolEntry
from ..config.servers import BaseServerConfig
from ..errors import SessionTimeoutError
from ..toolkit.own_tool import Answer, own_tool, text_result
from ..toolkit.tool import CallOptions, Tool
from .repair import fitted

if TYPE_CHECKING:
    from ..session.results import ToolResult


def router_tool(
    name: str,
    description: str,
    schema: Mapping[str, Any],
    answer: Answer,
    *,
    is_read_only: bool | None,
    configs: Iterable[BaseServerConfig],
) -> Tool:
    """A tool of the router itself, which may take as long as the slowest of its servers; see `own_tool`."""
    timeouts = [config.session.call_timeout for config in configs]
    known = [timeout for timeout in timeouts if timeout is not None]
    longest = max(known, default=None) if len(known) == len(timeouts) else None
    return replace(own_tool(name, description, schema, answer, is_read_only=is_read_only), call_timeout=longest)


def text_answer(function: Callable[..., Awaitable[str]], name: str, schema: Mapping[str, Any]) -> Answer:
    """Answers with a function's text if the arguments are valid."""

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        given = fitted(name, arguments, schema)
        if options.given is None:
            return text_result(await function(**given))
        with options.given.scope():
            return text_result(await function(**given))
        raise SessionTimeoutError(
            f"{name} did not end within {options.given.seconds:g} s. Its requests to servers may have been sent."
        )

    return answer


def direct_tool(
    entry: ToolEntry,
    call_timeout: float | None,
    call: Callable[[str, Mapping[str, Any], CallOptions], Awaitable[ToolResult]],
) -> Tool:
    """A tool of a server as the catalog knows it.

    Args:
        entry: The tool.
        call_timeout: Seconds that a call of it may take.
        call: Calls a tool by its reference.
    """
    from mcp.types import ToolAnnotations

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return await call(entry.reference, dict(arguments), options)

    return Tool(
        name=entry.name,
        original_name=entry.name,
        server_name=entry.server_name,
        description=entry.description or entry.title or entry.name,
        input_schema=entry.input_schema,
        output_schema=entry.output_schema,
        annotations=ToolAnnotations.model_validate(entry.annotations) if entry.annotations else None,
        call_timeout=call_timeout,
        handler=handler,
    )
