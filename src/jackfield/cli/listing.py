"""`jackfield list`: the servers, or the tools of one, from the catalog."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .invocation import Invocation
from .output import shown_path


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(list_servers)


def list_servers(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="List the tools of this server.", metavar="SERVER")] = None,
) -> None:
    """List the servers, or one server's tools. Starts none."""
    invocation = Invocation.of(context)
    if server is None:
        _list_servers(invocation)
    else:
        _list_tools(invocation, server)


def _list_servers(invocation: Invocation) -> None:
    servers, output = invocation.servers, invocation.output
    described = [_described(invocation, name) for name in servers.names]
    if output.as_json:
        output.write_json(described)
        return
    rows = [
        [
            one["name"],
            one["transport"] or "?",
            "" if one["tools"] is None else str(one["tools"]),
            one["state"],
            one["from"],
        ]
        for one in described
    ]
    if rows:
        output.write_table(["SERVER", "TRANSPORT", "TOOLS", "STATE", "FROM"], rows)
    else:
        output.note("No server is configured. Where Jackfield looks: jackfield config path")


def _described(invocation: Invocation, name: str) -> dict[str, Any]:
    servers = invocation.servers
    found = servers.found(name)
    described: dict[str, Any] = {
        "name": name,
        "transport": None,
        "tools": None,
        "state": "invalid",
        "from": shown_path(found.source.path),
    }
    try:
        outline = servers.outline(name)
    except ConfigError as error:
        return {**described, "problem": error.message}
    entry = servers.catalog.entry(outline)
    is_listed = entry is not None and entry.fetched_at
    return {
        **described,
        "transport": outline.transport,
        "tools": len(servers.catalog.tools(outline)) if is_listed else None,
        "state": servers.catalog.state(outline),
    }


def _list_tools(invocation: Invocation, server: str) -> None:
    servers, output = invocation.servers, invocation.output
    tools = servers.catalog.tools(servers.outline(server))
    if output.as_json:
        output.write_json([{"name": tool.name, "description": tool.description} for tool in tools])
    elif tools:
        output.write_table(["TOOL", "DESCRIPTION"], [[tool.name, tool.description] for tool in tools])
    else:
        output.note(f"Nothing is known of {server} yet. Ask it: jackfield refresh {server}")
