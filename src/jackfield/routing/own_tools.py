"""The router's own tools, as an agent is given them: whatever goes wrong is text that says what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from ..plain import as_table
from ..session.arguments import ArgumentCheck
from ..session.boundary import as_error
from ..toolkit.tool import CallOptions, Tool
from .long_results import error_result, text_result
from .repair import converted

if TYPE_CHECKING:
    from ..session.results import ToolResult

Answer = Callable[[Mapping[str, Any], CallOptions], Awaitable["ToolResult"]]


def own_tool(
    name: str, description: str, schema: Mapping[str, Any], answer: Answer, *, is_read_only: bool | None = None
) -> Tool:
    """A tool of the router's own.

    Args:
        name: Its name.
        description: For models.
        schema: Of its arguments.
        answer: Makes the call.
        is_read_only: What is said of it, if anything.
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


def in_words(function: Callable[..., Awaitable[str]], name: str, schema: Mapping[str, Any]) -> Answer:
    """Answers with what a function says, once its arguments fit."""

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return text_result(await function(**fitted(name, arguments, schema)))

    return answer


def fitted(name: str, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the schema asks for them, where they were only written wrongly.

    Args:
        name: The tool's, for errors.
        arguments: As a model gave them.
        schema: What they have to fit, but for values that are one of few: whoever takes these knows more to say.

    Raises:
        InvalidArgumentsError: They do not fit.
    """
    # Models write null for what they have nothing to say to.
    given = {key: value for key, value in arguments.items() if value is not None}
    values, _ = converted(given, schema)
    properties = {
        key: {word: part for word, part in as_table(one).items() if word not in ("enum", "maxItems")}
        for key, one in as_table(schema.get("properties")).items()
    }
    for key, one in properties.items():
        if one.get("type") == "array" and isinstance(values.get(key), str):
            values[key] = [values[key]]
    closed = {**schema, "properties": properties, "additionalProperties": False}
    return ArgumentCheck("jackfield", name, closed, "strict").check(values)
