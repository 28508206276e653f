"""What `tokens` estimates is what a tokenizer counts."""

from __future__ import annotations

import json
from pathlib import Path

from rs_bpe.bpe import openai  # pyright: ignore

from jackfield.catalog.tools import ToolEntry
from jackfield.routing.costs import definition, estimated, routed_definitions

CATALOG = Path(__file__).parents[2] / "benchmarks" / "routing" / "data" / "catalog.json"


def test_estimates_are_near_the_count_by_o200k() -> None:
    count = openai.o200k_base().count  # pyright: ignore
    for server in json.loads(CATALOG.read_text()):
        tools = [
            ToolEntry(server["name"], tool["name"], tool["description"], input_schema=tool.get("inputSchema") or {})
            for tool in server["tools"]
        ]
        guessed = sum(estimated(definition(tool)) for tool in tools)
        counted = sum(count(json.dumps(definition(tool))) for tool in tools)
        assert abs(guessed / counted - 1) < 0.12, server["name"]


def test_the_routers_tools_are_those_it_gives() -> None:
    from jackfield import MCPClientSessionManager, MCPConfig, StdioConfig

    config = MCPConfig(servers=[StdioConfig(server_name="a", command="x"), StdioConfig(server_name="b", command="y")])
    given = MCPClientSessionManager(config).router(mode="search").toolkit()
    assert routed_definitions(["a", "b"]) == [
        {"name": tool.name, "description": tool.description, "parameters": tool.input_schema} for tool in given
    ]
