"""Plain tool definitions for the model APIs, without their client packages.

Source: OpenAI API reference, "Function calling" and "Tool search"; Anthropic API reference, "Tool use" and
"Tool search tool"; Gemini API reference, "Function calling".
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ..errors import ConfigError
from ..toolkit.tool import Tool
from .deferred import SEARCH_SCHEMA, Deferred, is_deferred, search_description, search_name
from .model_schema import model_tool
from .strict import StrictRoom, strict_schema

OPENAI_TOOL_SEARCH: dict[str, Any] = {"type": "tool_search"}
ANTHROPIC_TOOL_SEARCH: dict[str, Any] = {"type": "tool_search_tool_bm25_20251119", "name": "tool_search_tool_bm25"}


def openai_tools(
    tools: Iterable[Tool],
    *,
    api: Literal["responses", "chat"] = "responses",
    deferred: Deferred = False,
    strict: bool = False,
) -> list[dict[str, Any]]:
    """Definitions for OpenAI's APIs; see `Toolkit.openai`."""
    tools = list(tools)
    if deferred == "ranked" and api == "responses":
        if strict:
            raise ConfigError("Definitions found by a search are not strict.", hint="Omit strict=True or deferred.")
        parameters = dict(SEARCH_SCHEMA)
        search = {**OPENAI_TOOL_SEARCH, "execution": "client", "description": search_description(tools)}
        return [*openai_tools(tool for tool in tools if not is_deferred(tool)), {**search, "parameters": parameters}]
    functions: list[dict[str, Any]] = []
    for tool in map(model_tool, tools):
        constrained = strict_schema(tool.input_schema, "openai") if strict else None
        functions.append(
            {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.input_schema if constrained is None else constrained,
                "strict": constrained is not None,
            }
        )
    if api == "chat":
        return [{"type": "function", "function": function} for function in functions]
    if deferred:
        return [
            *({"type": "function", **function, "defer_loading": True} for function in functions),
            dict(OPENAI_TOOL_SEARCH),
        ]
    return [{"type": "function", **function} for function in functions]


def anthropic_tools(tools: Iterable[Tool], *, deferred: Deferred = False, strict: bool = False) -> list[dict[str, Any]]:
    """Definitions for Anthropic's Messages API; see `Toolkit.anthropic`."""
    tools = list(tools)
    definitions: list[dict[str, Any]] = []
    room = StrictRoom()
    for tool in map(model_tool, tools):
        constrained = room.taken_by(strict_schema(tool.input_schema, "anthropic")) if strict else None
        definitions.append(
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.input_schema if constrained is None else constrained,
                **({"strict": True} if constrained is not None else {}),
                **({"defer_loading": True} if deferred and (deferred != "ranked" or is_deferred(tool)) else {}),
            }
        )
    if deferred == "ranked":
        name = search_name(tool.name for tool in tools)
        search = {"name": name, "description": search_description(tools), "input_schema": dict(SEARCH_SCHEMA)}
        return [search, *definitions]
    return [dict(ANTHROPIC_TOOL_SEARCH), *definitions] if deferred else definitions


def gemini_tools(tools: Iterable[Tool]) -> list[dict[str, Any]]:
    """Definitions for the Gemini API; see `Toolkit.gemini`."""
    declarations: list[dict[str, Any]] = [
        {
            # Gemini wants a letter or an underscore at the beginning.
            "name": gemini_name(tool.name),
            "description": tool.description,
            "parameters_json_schema": tool.input_schema,
        }
        for tool in (model_tool(tool, "gemini") for tool in tools)
    ]
    return [{"function_declarations": declarations}] if declarations else []


def gemini_name(name: str) -> str:
    """A tool's name as Gemini takes it."""
    return name if name[0].isalpha() or name[0] == "_" else f"_{name[:63]}"
