"""`jackfield tokens`: what the tools cost in a model's prompt, given one by one and through the router."""

from __future__ import annotations

from typing import Annotated

import typer

from .invocation import Invocation
from .known import server_facts, unlisted_note

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


def _by_server(invocation: Invocation) -> None:
    from ..routing.costs import definition, estimated, routed_definitions, routed_tokens

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
            "routed": routed_tokens(name),
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
    if output.for_people:  # a program adds them up itself, and takes a row for a server
        rows.append(["(find_tools, call_tool)", "", "", f"{own:,}"])
        rows.append(["(all)", *(f"{total[key]:,}" for key in ("tools", "eager", "routed"))])
    else:
        output.note(
            f"All: {total['eager']:,} offered directly, {total['routed']:,} routed, {own:,} of them by the router."
        )
    output.write_table(["SERVER", "TOOLS", "EAGER", "ROUTED"], rows, squeeze=0, right=(1, 2, 3))
    output.note(f"Estimated tokens in every prompt. When routed, a search adds less than {ANSWER_TOKENS} once.")


def _by_tool(invocation: Invocation, server: str) -> None:
    from ..routing.costs import definition, estimated

    servers, output = invocation.servers, invocation.output
    costs = {tool.name: estimated(definition(tool)) for tool in servers.catalog.tools(servers.outline(server))}
    if output.as_json:
        output.write_json([{"name": name, "tokens": cost} for name, cost in costs.items()])
    elif costs:
        ordered = sorted(costs.items(), key=lambda item: -item[1])
        output.write_table(["TOOL", "TOKENS"], [[name, f"{cost:,}"] for name, cost in ordered], squeeze=0, right=(1,))
