"""The search for deferred definitions as a tool of our own: the API keeps definitions out of the prompt, and `dispatch`
answers calls of the search with those that it loads.

Source: OpenAI API reference, "Tool search", "Client-executed tool search"; Anthropic API reference, "Tool search tool",
"Custom tool search implementation".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from ..routing.own_tools import FIND_SCHEMA
from ..toolkit.tool import Tool

Deferred = bool | Literal["ranked"]
"""Whether definitions stay out of the prompt, to be found by an API's own search, or, `ranked`, by Jackfield's."""

_SEARCH = "find_tools"
_OWN_SERVER = "jackfield"

SEARCH_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {name: FIND_SCHEMA["properties"][name] for name in ("queries", "limit")},
    "required": ["queries"],
}


def is_deferred(tool: Tool) -> bool:
    """Whether a tool is found by a search: those that Jackfield itself answers are always in the prompt."""
    return tool.server_name != _OWN_SERVER


def search_name(names: Iterable[str]) -> str:
    """The name of the tool that searches; one that no other tool has."""
    taken, name = set(names), _SEARCH
    while name in taken:
        name += "_"
    return name


def search_description(tools: Sequence[Tool]) -> str:
    """What the search is for; the same from turn to turn for the same tools."""
    servers = ", ".join(dict.fromkeys(tool.server_name for tool in tools if is_deferred(tool)))
    return f"Search the tools of these servers; those found can be called: {servers}."
