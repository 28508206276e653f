"""What tools cost in a model's prompt, given one by one and through the router. Lightweight, as `own_tools` is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .own_tools import CALL_DESCRIPTION, CALL_SCHEMA, FIND_SCHEMA, find_description

if TYPE_CHECKING:
    from ..catalog.tools import ToolEntry

CHARACTERS_A_TOKEN = 3.76
"""Of tool definitions as JSON, by OpenAI's o200k; other vocabularies differ. `tests/cli/test_tokens.py` checks it."""


def estimated(definitions: object) -> int:
    """About how many tokens definitions are."""
    return round(len(json.dumps(definitions)) / CHARACTERS_A_TOKEN)


def definition(tool: ToolEntry) -> Mapping[str, Any]:
    """A tool as a model API is given it."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}


def routed_definitions(servers: list[str]) -> list[Mapping[str, Any]]:
    """The router's tools as a model API is given them."""
    return [
        {"name": "find_tools", "description": find_description(servers), "parameters": FIND_SCHEMA},
        {"name": "call_tool", "description": CALL_DESCRIPTION, "parameters": CALL_SCHEMA},
    ]


def routed_tokens(server_name: str) -> int:
    """About how many tokens a server is in the router's own tools, which name it once."""
    return estimated(f"{server_name}, ")
