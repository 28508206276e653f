"""Plain tool definitions for the model APIs, and the calls that come back, without their client packages.

Source: OpenAI API reference, "Function calling" and "Tool search"; Anthropic API reference, "Tool use" and
"Tool search tool".
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast

from mcp.types import ImageContent, TextContent

from ..errors import ConfigError, JackfieldError
from ..session.results import describe_block
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit

OPENAI_TOOL_SEARCH: dict[str, Any] = {"type": "tool_search"}
ANTHROPIC_TOOL_SEARCH: dict[str, Any] = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


def openai_tools(
    tools: Iterable[Tool], *, api: Literal["responses", "chat"] = "responses", deferred: bool = False
) -> list[dict[str, Any]]:
    """Definitions for OpenAI's APIs; see `Toolkit.openai`."""
    functions = [
        # Servers' schemas seldom fit strict mode, which wants every property required.
        {"name": tool.name, "description": tool.description, "parameters": dict(tool.input_schema), "strict": False}
        for tool in tools
    ]
    if api == "chat":
        return [{"type": "function", "function": function} for function in functions]
    if deferred:
        return [
            *({"type": "function", **function, "defer_loading": True} for function in functions),
            dict(OPENAI_TOOL_SEARCH),
        ]
    return [{"type": "function", **function} for function in functions]


def anthropic_tools(tools: Iterable[Tool], *, deferred: bool = False) -> list[dict[str, Any]]:
    """Definitions for Anthropic's Messages API; see `Toolkit.anthropic`."""
    definitions = [
        {
            "name": tool.name,
            "description": tool.description,
            "input_schema": {"type": "object", **tool.input_schema},
            **({"defer_loading": True} if deferred else {}),
        }
        for tool in tools
    ]
    return [dict(ANTHROPIC_TOOL_SEARCH), *definitions] if deferred else definitions


async def dispatch(toolkit: Toolkit, call: object) -> dict[str, Any]:
    """Make a call that an API asked for; see `Toolkit.dispatch`."""
    match _value(call, "type"):
        case "tool_use":
            name, given, answer = _value(call, "name"), _value(call, "input"), _anthropic_answer
        case "function_call":
            name, given, answer = _value(call, "name"), _value(call, "arguments"), _responses_answer
        case "function":
            function = _value(call, "function")
            name, given, answer = _value(function, "name"), _value(function, "arguments"), _chat_answer
        case other:
            raise ConfigError(
                f"That is no call of a tool: its type is {other!r}.",
                hint="Give OpenAI's function_call or tool call, or Anthropic's tool_use block.",
            )
    try:
        arguments = json.loads(given or "{}") if isinstance(given, str) else dict(given or {})
        result = await toolkit.call(str(name), arguments)
    except ValueError as error:
        if isinstance(error, JackfieldError):
            return answer(call, [TextContent(type="text", text=str(error))], True)
        text = f"The arguments of {name!r} are no JSON object: {error}. Nothing was sent."
        return answer(call, [TextContent(type="text", text=text)], True)
    except JackfieldError as error:
        return answer(call, [TextContent(type="text", text=str(error))], True)
    return answer(call, list(result.content) or [TextContent(type="text", text=result.text)], bool(result.is_error))


def _value(thing: Any, name: str) -> Any:
    return cast("dict[str, Any]", thing).get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _chat_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    # Tool messages of Chat Completions hold text alone.
    text = "\n".join(describe_block(cast("Any", block)) for block in content)
    return {"role": "tool", "tool_call_id": _value(call, "id"), "content": text}


def _responses_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if isinstance(block, ImageContent):
            url = f"data:{block.mime_type};base64,{block.data}"
            return {"type": "input_image", "image_url": url, "detail": "auto"}
        return {"type": "input_text", "text": describe_block(cast("Any", block))}

    items = [item(block) for block in content]
    text_only = all(one["type"] == "input_text" for one in items)
    output = "\n".join(one["text"] for one in items) if text_only else items
    return {"type": "function_call_output", "call_id": _value(call, "call_id"), "output": output}


def _anthropic_answer(call: object, content: Sequence[object], is_error: bool) -> dict[str, Any]:
    def item(block: object) -> dict[str, Any]:
        if isinstance(block, ImageContent):
            source = {"type": "base64", "media_type": block.mime_type, "data": block.data}
            return {"type": "image", "source": source}
        return {"type": "text", "text": describe_block(cast("Any", block))}

    return {
        "type": "tool_result",
        "tool_use_id": _value(call, "id"),
        "content": [item(block) for block in content],
        "is_error": is_error,
    }
