"""A toolkit whose results are no longer than a model is to be given at once, with a tool that reads on in one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..toolkit.tool import CallHandler, CallOptions, Tool
from ..toolkit.toolkit import Closing, Toolkit
from .long_results import LongResults
from .own_tools import own_tool

if TYPE_CHECKING:
    from ..session.results import ToolResult

_SCHEMA = {
    "type": "object",
    "properties": {
        "handle": {"type": "string", "description": "As the shortened result says."},
        "offset": {"type": "integer", "description": "The character to go on from.", "minimum": 0},
    },
    "required": ["handle"],
}


def bounded(toolkit: Toolkit, results: LongResults) -> Toolkit:
    """The same tools with results shortened, and `read_on`; see `Toolkit.bounded`."""
    shortened = [replace(tool, handler=_shortening(tool.handler, results)) for tool in toolkit]
    return with_read_on(shortened, results, toolkit.closings)


def with_read_on(tools: list[Tool], results: LongResults, closings: Sequence[Closing] = ()) -> Toolkit:
    """A toolkit of tools whose results are shortened already, and of the tool that reads on."""
    if not tools:
        return Toolkit(close=closings)

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return results.read_on(arguments)

    description = "Read on in a result that was too long to be shown at once. It says which handle and offset to give."
    read_on = own_tool("read_on", description, _SCHEMA, answer, is_read_only=True)
    made = Toolkit([*tools, read_on], close=closings)
    results.how = f'{made.tools[-1].name}(handle="{{handle}}", offset={{offset}})'
    return made


def _shortening(handler: CallHandler, results: LongResults) -> CallHandler:
    async def shortening(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return results.shortened((await handler(arguments, options)).for_model(), ())

    return shortening
