"""`jackfield tokens`: what the tools cost in a model's prompt, given one by one and through the router."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .invocation import Invocation
from .known import server_facts, unlisted_note

if TYPE_CHECKING:
    from ..catalog.search import ToolEntry

CHARACTERS_A_TOKEN = 3.76
"""Of tool definitions as JSON, by OpenAI's o200k; other vocabularies differ. `tests/cli/test_tokens.py` checks it."""

ANSWER_TOKENS = 250
"""What one answer of `find_tools` with five tools stays below."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("tokens")(tokens)


def tokens(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="By tool, for this server.", metavar="SERVER")] = None,
) -> None:
    """Estimate what tools cost in a prompt.

    Given eagerly, one by one, and routed, by two tools that find and call the others. Starts no server.
    """
    invocation = Invocation.of(context)
    if server is None:
        _by_server(invocation)
    else:
        _by_tool(invocation, server)
    if note := unlisted_note(invocation.servers, [server] if server else invocation.servers.names):
        invocation.output.note(note)


def estimated(definitions: object) -> int:
    """About how many tokens definitions are."""
    return round(len(json.dumps(definitions)) / CHARACTERS_A_TOKEN)


def definition(tool: ToolEntry) -> Mapping[str, Any]:
    """A tool as a model API is given it."""
    return {"name": tool.name, "description": tool.description, "parameters": tool.input_schema}


def routed_definitions(servers: list[str]) -> list[Mapping[str, Any]]:
    """The router's tools as a model API is given them."""
    from ..routing.own_tools import CALL_DESCRIPTION, CALL_SCHEMA, FIND_SCHEMA, find_description

    return [
        {"name": "find_tools", "description": find_description(servers), "parameters": FIND_SCHEMA},
        {"name": "call_tool", "description": CALL_DESCRIPTION, "parameters": CALL_SCHEMA},
    ]


def _by_server(invocation: Invocation) -> None:
    servers, output = invocation.servers, invocation.output
    names = [name for name in servers.names if server_facts(servers, name)["tools"] is not None]
    tools = {name: servers.catalog.tools(servers.outline(name)) for name in names}
    own = estimated(routed_definitions([]))
    costs = [
        {
            "name": name,
            "tools": len(tools[name]),
            "eager": sum(estimated(definition(tool)) for tool in tools[name]),
            # The router names each server in a description, and no more.
            "routed": estimated(f"{name}, "),
        }
        for name in names
    ]
    costs.sort(key=lambda one: -int(one["eager"]))
    total = {
        "tools": sum(int(one["tools"]) for one in costs),
        "eager": sum(int(one["eager"]) for one in costs),
        "routed": own + sum(int(one["routed"]) for one in costs),
    }
    if output.as_json:
        output.write_json({"servers": costs, "router": own, **total, "search": ANSWER_TOKENS})
        return
    rows = [[str(one["name"]), *(f"{one[key]:,}" for key in ("tools", "eager", "routed"))] for one in costs]
    rows.append(["(find_tools, call_tool)", "", "", f"{own:,}"])
    rows.append(["(all)", *(f"{total[key]:,}" for key in ("tools", "eager", "routed"))])
    output.write_table(["SERVER", "TOOLS", "EAGER", "ROUTED"], rows, squeeze=0, right=(1, 2, 3))
    output.note(f"Tokens in every prompt, estimated. Routed, a search adds less than {ANSWER_TOKENS} once.")


def _by_tool(invocation: Invocation, server: str) -> None:
    servers, output = invocation.servers, invocation.output
    costs = {tool.name: estimated(definition(tool)) for tool in servers.catalog.tools(servers.outline(server))}
    if output.as_json:
        output.write_json([{"name": name, "tokens": cost} for name, cost in costs.items()])
    elif costs:
        ordered = sorted(costs.items(), key=lambda item: -item[1])
        output.write_table(["TOOL", "TOKENS"], [[name, f"{cost:,}"] for name, cost in ordered], squeeze=0, right=(1,))
