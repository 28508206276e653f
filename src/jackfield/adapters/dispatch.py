"""Makes the calls that a model API asked for, and answers in that API's own shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from mcp.types import TextContent

from ..errors import ConfigError, JackfieldError
from ..routing.own_tools import MAX_QUERIES
from ..routing.repair import fitted
from ..routing.steps import steps_of
from ..session.results import decode, describe_block
from ..session.user_code import as_error
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .deferred import SEARCH_SCHEMA, is_deferred, search_name
from .definitions import gemini_name, openai_tools
from .model_calls import is_picture, json_arguments, value_of
from .model_schema import server_arguments
from .strict import without_nulls

Answer = Callable[[object, Sequence[object], bool], dict[str, Any]]

_MOST_FOUND = 20


async def dispatch(toolkit: Toolkit, call: object) -> dict[str, Any]:
    """Make a call that an API asked for; see `Toolkit.dispatch`."""
    if (found := _search_answer(toolkit, call)) is not None:
        return found
    name, given, answer = _read(call)
    if answer is _gemini_answer:
        name = next((known for known in toolkit.names if gemini_name(known) == name), name)
    try:
        arguments = json_arguments(name, given)
        if name in toolkit:
            schema = toolkit[name].input_schema
            arguments = server_arguments(schema, arguments, "gemini" if answer is _gemini_answer else "any")
            arguments = without_nulls(arguments, schema)
        result = await toolkit.call(name, arguments)
        return answer(call, list(result.content) or [_text(result.text)], bool(result.is_error))
    except BaseException as error:
        return answer(call, [_text(str(as_error(error, f"The call of {name!r}")))], True)


def _search_answer(toolkit: Toolkit, call: object) -> dict[str, Any] | None:
    """The answer to a call of the search; `None` if it is a call of something else."""
    match value_of(call, "type"):
        case "tool_use" if value_of(call, "name") == (name := search_name(toolkit.names)):
            found, why = _found(toolkit, name, value_of(call, "input"))
            references = [{"type": "tool_reference", "tool_name": tool.name} for tool in found]
            text = {"type": "text", "text": why or "No tool matches. Try other words."}
            answer = {"type": "tool_result", "tool_use_id": value_of(call, "id")}
            return {**answer, "content": references or [text], "is_error": why is not None}
        case "tool_search_call" if value_of(call, "execution") == "client":
            found, _ = _found(toolkit, "tool_search", value_of(call, "arguments"))
            definitions = [{**one, "defer_loading": True} for one in openai_tools(found)]
            answer = {"type": "tool_search_output", "call_id": value_of(call, "call_id"), "execution": "client"}
            return {**answer, "status": "completed", "tools": definitions}
        case _:
            return None


def _found(toolkit: Toolkit, name: str, given: object) -> tuple[list[Tool], str | None]:
    """The tools that a search finds, or why it was not made."""
    try:
        asked = fitted(name, json_arguments(name, given), SEARCH_SCHEMA)
    except JackfieldError as error:
        return [], str(error)
    queries, limit = asked["queries"][:MAX_QUERIES], max(1, min(asked.get("limit", 5), _MOST_FOUND))
    ranked = toolkit.ranked(steps_of(queries[0], MAX_QUERIES) if len(queries) == 1 else queries, limit)
    return [tool for tool in ranked if is_deferred(tool)], None


def _read(call: object) -> tuple[str, Any, Answer]:
    """The tool's name, its arguments as given, and how the API is answered."""
    match value_of(call, "type"):
        case "tool_use":
            return str(value_of(call, "name")), value_of(call, "input"), _anthropic_answer
        case "function_call":
            return str(value_of(call, "name")), value_of(call, "arguments"), _responses_answer
        case "function":
            function = value_of(call, "function")
            return str(value_of(function, "name")), value_of(function, "arguments"), _chat_answer
        case None:
            function = _function_call(call)
            if value_of(function, "name") is not None:
                return str(value_of(function, "name")), value_of(function, "args"), _gemini_answer
        case _:
            pass
    raise ConfigError(
        f"This is not a tool call: its type is {value_of(call, 'type')!r}.",
        hint="Give OpenAI's function_call or tool call, Anthropic's tool_use block, or Gemini's function_call.",
    )


def _function_call(call: object) -> object:
    """Gemini's call, which may still be in its part."""
    return value_of(call, "function_call") or value_of(call, "functionCall") or call


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _in_words(content: Sequence[object]) -> str:
    return "\n".join(describe_block(block) for block in content)


def _chat_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    # Tool messages of Chat Completions hold text alone.
    return {"role": "tool", "tool_call_id": value_of(call, "id"), "content": _in_words(content)}


def _responses_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if is_picture(block):
            url = f"data:{block.mime_type};base64,{block.data}"
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        return {"type": "input_text", "text": describe_block(block)}

    output = [item(block) for block in content] if any(map(is_picture, content)) else _in_words(content)
    return {"type": "function_call_output", "call_id": value_of(call, "call_id"), "output": output}


def _anthropic_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if is_picture(block):
            source = {"type": "base64", "media_type": block.mime_type, "data": block.data}
            return {"type": "image", "source": source}
        return {"type": "text", "text": describe_block(block)}

    return {
        "type": "tool_result",
        "tool_use_id": value_of(call, "id"),
        "content": [item(block) for block in content],
        "is_error": is_error,
    }


def _gemini_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    function = _function_call(call)
    pictures = [
        {"inline_data": {"mime_type": one.mime_type, "data": decode(one.data)}} for one in content if is_picture(one)
    ]
    response: dict[str, Any] = {
        "name": value_of(function, "name"),
        "response": {"error" if is_error else "output": _in_words(content)},
        **({"id": identity} if (identity := value_of(function, "id")) else {}),
        **({"parts": pictures} if pictures else {}),
    }
    return {"function_response": response}
