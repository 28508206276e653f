"""`jackfield list`: the servers, or the tools of one, from the catalog."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..errors import ConfigError
from .ad_hoc_servers import GivenOptions
from .invocation import Invocation
from .known import first_line, server_facts, short_transport, state_text, tool_facts, where, wrong_entries
from .output import NO_SERVER
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("list")(list_servers)


def list_servers(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Argument(help="List the tools of this server; a Python file or a URL also works.", metavar="SERVER"),
    ] = None,
    live: Annotated[bool, typer.Option("--live", help="Ask the servers now instead of using the catalog.")] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """List the servers, or one server's tools.

    Reads the catalog; --live asks the servers. A server that is not configured is always asked.
    """
    invocation, server = Invocation.of(context).at(server, GivenOptions(stdio, http, sse, header, env, cwd))
    failure = None
    if live or (server is not None and invocation.servers.is_given):
        from .asking import ask_servers

        # It tells of those that failed.
        failure = ask_servers(invocation, [server] if server else None).first_error
        if server and failure:
            return invocation.output.failed(failure)
    if server is None:
        wrong = _list_servers(invocation, with_problems=not live)
        failure = failure or wrong
    else:
        _list_tools(invocation, server)
    return invocation.output.failed(failure)


def _list_servers(invocation: Invocation, *, with_problems: bool) -> ConfigError | None:
    """Write the servers; the error if the entry of one is wrong."""
    servers, output = invocation.servers, invocation.output
    facts = [server_facts(servers, name) for name in servers.names]
    wrong = sum(not one["is_valid"] for one in facts)
    error = ConfigError(wrong_entries(wrong), hint="To see all of them: jackfield config check") if wrong else None
    if output.as_json:
        output.write_json(facts)
        return error
    if not facts:
        output.note(NO_SERVER)
        return None
    output.write_table(["SERVER", "TRANSPORT", "TOOLS", "STATE", "FROM"], [_row(one) for one in facts], right=(2,))
    if not with_problems:
        return error
    for one in facts:
        if one["problem"]:
            output.note(f"{one['name']}: {one['problem']}")
    if untrusted := [one["name"] for one in facts if one["state"] == "untrusted"]:
        output.note(f"Not accepted yet: {', '.join(untrusted)}. Check what they start: jackfield config trust")
    return error


def _row(facts: dict[str, Any]) -> list[str]:
    tools = "-" if facts["tools"] is None else str(facts["tools"])
    return [facts["name"], short_transport(facts["transport"]), tools, state_text(facts), where(facts)]


def _list_tools(invocation: Invocation, server: str) -> None:
    servers, output = invocation.servers, invocation.output
    outline = servers.outline(server)
    entry = servers.catalog.entry(outline)
    tools = [tool_facts(tool, entry) for tool in servers.catalog.tools(outline)]
    if output.as_json:
        output.write_json(tools)
    elif tools:
        rows = [
            [one["name"], ", ".join(one["marks"]), first_line(one["description"] or one["title"] or "")]
            for one in tools
        ]
        output.write_table(["TOOL", "MARKS", "DESCRIPTION"], rows)
    elif entry is None or not entry.fetched_at:
        output.note(f"The tools of {server!r} are not known yet. To ask it: jackfield list {server} --live")
    else:
        output.note(f"The server {server!r} offers no tools.")
