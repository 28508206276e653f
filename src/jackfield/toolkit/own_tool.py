"""Tools that Jackfield itself answers, and their results: whatever goes wrong is text that says what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..session.user_code import as_error
from .tool import CallOptions, Tool

if TYPE_CHECKING:
    from ..errors import JackfieldError
    from ..session.results import ToolResult

Answer = Callable[[Mapping[str, Any], CallOptions], Awaitable["ToolResult"]]


def own_tool(
    name: str, description: str, schema: Mapping[str, Any], answer: Answer, *, is_read_only: bool | None = None
) -> Tool:
    """A tool that Jackfield itself provides.

    Args:
        name: Its name.
        description: For models.
        schema: The schema of its arguments.
        answer: Handles a call.
        is_read_only: Its read-only annotation, if any.
    """
    from mcp.types import ToolAnnotations

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        try:
            return await answer(arguments, options)
        except BaseException as error:
            return error_result(as_error(error, f"The call of {name!r}"))

    return Tool(
        name=name,
        original_name=name,
        server_name="jackfield",
        description=description,
        input_schema=schema,
        annotations=None if is_read_only is None else ToolAnnotations(read_only_hint=is_read_only),
        handler=handler,
    )


def text_result(text: str, *, is_error: bool = False) -> ToolResult:
    """A result that is a text."""
    from mcp.types import TextContent

    from ..session.results import ToolResult

    return ToolResult(content=[TextContent(type="text", text=text)], is_error=is_error)


def error_result(error: JackfieldError) -> ToolResult:
    """An error as a result, whose text says all that the error does."""
    result = text_result(str(error), is_error=True)
    return result.model_copy(update={"state_lost": error.state_lost, "server_content": list(result.content)})
