"""AG2 1.x: a server's tools as an `ag2.Toolkit` of function tools. For the 0.x line see `ag2_classic.py`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, cast

import ag2
from ag2.events import BinaryInput, BinaryType, Input, TextInput, ToolCallEvent, ToolErrorEvent, ToolResultEvent
from ag2.tools.final import FunctionTool

from ..session.results import ToolResult, decode, describe_block
from ..session.session_loop import SessionLoop, session_loop_here
from ..session.user_code import as_error
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .model_calls import is_picture, json_arguments


class MCPTool(FunctionTool):
    """A server's tool that accepts the arguments of a call unchanged.

    AG2's own function tools bind arguments to a function's parameters, which fails for names such as `stack`.
    """

    # What a server offers does not replace what the program itself declares.
    declared_in_code = False

    def __init__(self, tool: Tool, session_loop: SessionLoop, *, images: bool) -> None:
        async def call(arguments: dict[str, Any]) -> ToolResult:
            return (await session_loop.run(partial(tool.call, arguments))).raise_for_error()

        schema = dict(tool.input_schema)
        model = ag2.tool(call, name=tool.name, schema=schema).model
        super().__init__(model, name=tool.name, description=tool.description, schema=schema)
        self._call: Callable[[dict[str, Any]], Awaitable[ToolResult]] = call
        self._source = f"mcp:{tool.server_name}:{tool.original_name}"
        self._images = images

    @property
    def source(self) -> str:
        """The server, and the tool's name there."""
        return self._source

    async def __call__(self, event: ToolCallEvent, context: ag2.Context) -> ToolResultEvent:
        """Make the call; an error becomes a result that says what happened and what to do."""
        try:
            result = await self._call(_arguments(event))
            return ToolResultEvent.from_call(event, result_of(result, images=self._images))
        except BaseException as raised:
            # Without the traceback that AG2 would show the model.
            error = as_error(raised, f"The call of {event.name!r}")
            return ToolErrorEvent(parent_id=event.id, name=event.name, error=error, result=ag2.ToolResult(str(error)))


def ag2_toolkit(toolkit: Toolkit, *, images: bool = True) -> ag2.Toolkit:
    """All tools of a toolkit; see `Toolkit.ag2`."""
    session_loop = session_loop_here()
    return ag2.Toolkit(*(MCPTool(tool, session_loop, images=images) for tool in toolkit.for_models()), name="jackfield")


def result_of(result: ToolResult, *, images: bool) -> ag2.ToolResult:
    """The part of a result for the model. Structured content is in its metadata, for code."""

    def part(block: object) -> Input:
        if images and is_picture(block):
            return BinaryInput(decode(block.data), media_type=block.mime_type, kind=BinaryType.IMAGE)
        return TextInput(describe_block(block))

    parts = [part(block) for block in result.content] or [TextInput(result.text)]
    structured = cast("dict[str, Any] | None", result.structured_content)
    return ag2.ToolResult(parts=parts, metadata={} if structured is None else {"structured_content": structured})


def _arguments(event: ToolCallEvent) -> dict[str, Any]:
    try:
        given: object = event.serialized_arguments  # as middleware may have changed them
    except ValueError:
        given = event.arguments
    return json_arguments(event.name, given)
