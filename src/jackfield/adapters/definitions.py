"""Plain tool definitions for the model APIs, without their client packages.

Source: OpenAI API reference, "Function calling" and "Tool search"; Anthropic API reference, "Tool use" and
"Tool search tool".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ..toolkit.tool import Tool

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
