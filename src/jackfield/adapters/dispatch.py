"""Makes the calls that a model API asked for, and answers in that API's own shape."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

from mcp.types import TextContent

from ..errors import ConfigError
from ..session.boundary import as_error
from ..session.results import decode, describe_block
from ..toolkit.toolkit import Toolkit
from .definitions import gemini_name
from .model_calls import is_picture, json_arguments
from .model_schema import server_arguments
from .strict import without_nulls

Answer = Callable[[object, Sequence[object], bool], dict[str, Any]]


async def dispatch(toolkit: Toolkit, call: object) -> dict[str, Any]:
    """Make a call that an API asked for; see `Toolkit.dispatch`."""
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


def _read(call: object) -> tuple[str, Any, Answer]:
    """The tool's name, its arguments as given, and how the API is answered."""
    match _value(call, "type"):
        case "tool_use":
            return str(_value(call, "name")), _value(call, "input"), _anthropic_answer
        case "function_call":
            return str(_value(call, "name")), _value(call, "arguments"), _responses_answer
        case "function":
            function = _value(call, "function")
            return str(_value(function, "name")), _value(function, "arguments"), _chat_answer
        case None:
            function = _function_call(call)
            if _value(function, "name") is not None:
                return str(_value(function, "name")), _value(function, "args"), _gemini_answer
        case _:
            pass
    raise ConfigError(
        f"This is not a tool call: its type is {_value(call, 'type')!r}.",
        hint="Give OpenAI's function_call or tool call, Anthropic's tool_use block, or Gemini's function_call.",
    )


def _function_call(call: object) -> object:
    """Gemini's call, which may still be in its part."""
    return _value(call, "function_call") or _value(call, "functionCall") or call


def _value(thing: Any, name: str) -> Any:
    return cast("dict[str, Any]", thing).get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _text(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def _in_words(content: Sequence[object]) -> str:
    return "\n".join(describe_block(block) for block in content)


def _chat_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    # Tool messages of Chat Completions hold text alone.
    return {"role": "tool", "tool_call_id": _value(call, "id"), "content": _in_words(content)}


def _responses_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if is_picture(block):
            url = f"data:{block.mime_type};base64,{block.data}"
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        return {"type": "input_text", "text": describe_block(block)}

    output = [item(block) for block in content] if any(map(is_picture, content)) else _in_words(content)
    return {"type": "function_call_output", "call_id": _value(call, "call_id"), "output": output}


def _anthropic_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if is_picture(block):
            source = {"type": "base64", "media_type": block.mime_type, "data": block.data}
            return {"type": "image", "source": source}
        return {"type": "text", "text": describe_block(block)}

    return {
        "type": "tool_result",
        "tool_use_id": _value(call, "id"),
        "content": [item(block) for block in content],
        "is_error": is_error,
    }


def _gemini_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    function = _function_call(call)
    pictures = [
        {"inline_data": {"mime_type": one.mime_type, "data": decode(one.data)}} for one in content if is_picture(one)
    ]
    response: dict[str, Any] = {
        "name": _value(function, "name"),
        "response": {"error" if is_error else "output": _in_words(content)},
        **({"id": identity} if (identity := _value(function, "id")) else {}),
        **({"parts": pictures} if pictures else {}),
    }
    return {"function_response": response}
