"""`jackfield lint`: what a server's author should change, for people and for CI."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from .ad_hoc_servers import GivenOptions
from .exits import OK, TOOL_ERROR, UsageError
from .invocation import Invocation
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .text import count

_COLORS = {"error": "red", "warning": "yellow", "note": "dim"}


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("lint")(lint)


def lint(
    context: typer.Context,
    server: Annotated[
        str | None,
        typer.Argument(help="The server; a Python file or a URL also works.", metavar="SERVER", show_default=False),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 for warnings as well as errors.")] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Check what a server offers to models.

    Names and schemas that model APIs refuse, missing descriptions and annotations, tokens, flaws of listings. Exits
    with 1 if there is an error.
    """
    from ..routing.costs import definition, estimated
    from .asking import ask_servers
    from .lint_rules import Linted, findings

    invocation, server = Invocation.of(context).at(server, GivenOptions(stdio, http, sse, header, env, cwd))
    if server is None:
        raise UsageError("Missing argument 'SERVER'.", hint="To see all servers: jackfield list")
    asked = ask_servers(invocation, [server], needs_flaws=True)
    output, catalog = invocation.output, invocation.servers.catalog
    if asked.first_error is not None:
        return output.failed(asked.first_error)
    outline = invocation.servers.outline(server)
    entry = catalog.entry(outline)
    tools = catalog.tools(outline)
    wire = {str(tool["name"]): tool for tool in (entry.tools if entry is not None else ())}
    found = findings(
        Linted(
            server,
            [wire[tool.name] for tool in tools],
            [estimated(definition(tool)) for tool in tools],
            entry.protocol_version if entry is not None else "",
            entry.instructions if entry is not None else None,
            asked.flaws.get(server, []),
        )
    )
    if output.as_json:
        output.write_json([asdict(one) for one in found])
    elif output.for_people:
        for one in found:
            output.write_wrapped(
                [(f"{one.level:<8}", _COLORS[one.level]), (f"{one.where}: ", "bold"), (f"{one.problem}.", "")],
                continued=8,
            )
            output.write_wrapped([(f"-> {one.hint}", "cyan")], indent=8, continued=11)
    else:
        for one in found:
            output.write_row([one.level, one.rule, one.where, one.problem, one.hint])
    counts = {level: sum(one.level == level for one in found) for level in _COLORS}
    told = ", ".join(count(number, level) for level, number in counts.items())
    output.note(f"{count(len(tools), 'tool')}: {told}.")
    return TOOL_ERROR if counts["error"] or (strict and counts["warning"]) else OK
