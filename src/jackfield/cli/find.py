"""`jackfield find`: search the tools of all servers in the catalog."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from .ad_hoc_servers import GivenOptions
from .exits import OK, UsageError
from .invocation import Invocation
from .known import first_line, server_marks, tool_facts, unlisted_note
from .output import NO_SERVER
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("find")(find)


def find(
    context: typer.Context,
    query: Annotated[
        list[str] | None, typer.Argument(help="A task in words, or a tool's name.", metavar="QUERY...")
    ] = None,
    server: Annotated[str | None, typer.Option("--server", help="Search this server only.", metavar="SERVER")] = None,
    limit: Annotated[int, typer.Option("--limit", help="Maximum number of tools.", metavar="NUMBER")] = 5,
    forget: Annotated[
        bool,
        typer.Option(
            "--forget", help="Delete what was learned about which words lead to which tools; see docs/routing.md."
        ),
    ] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> int:
    """Find tools by what they do, or by name.

    From the catalog; starts no server but one that is not configured.
    """
    if forget:
        return _forget(Invocation.of(context), query)
    if not query:
        raise UsageError("Find what?", hint="Such as: jackfield find read a file. See: jackfield find --help")
    invocation, server = Invocation.of(context).at(server, GivenOptions(stdio, http, sse, header, env, cwd))
    if invocation.servers.is_given:
        from .asking import ask_servers

        if (failure := ask_servers(invocation).first_error) is not None:
            return invocation.output.failed(failure)
    servers, output = invocation.servers, invocation.output
    only = None if server is None else [servers.found(server).name]
    outlines = servers.outlines()
    hits = servers.catalog.search(outlines).find(
        " ".join(query), max(1, limit), servers=only, learned=servers.catalog.learned
    )
    entries = {outline.server_name: servers.catalog.entry(outline) for outline in outlines}
    found: list[dict[str, Any]] = []
    for hit in hits:
        entry = entries[hit.tool.server_name]
        facts = tool_facts(hit.tool, entry)
        marks = [*(["weak match"] if hit.is_weak else []), *facts["marks"], *server_marks(entry)]
        found.append({**facts, "marks": marks, "score": round(hit.score, 3)})
    if output.as_json:
        output.write_json(found)
    elif output.for_people:
        for one in found:
            _write(invocation, one)
    else:
        for one in found:
            output.write_row([one["reference"], one["signature"], first_line(one["description"])])
    if not servers.names:
        output.note(NO_SERVER)
    elif not found and any(servers.catalog.is_listed(outline) for outline in outlines):
        output.note("No tool matches. Try other words.")
    if note := unlisted_note(servers, only or servers.names):
        output.note(note)
    return OK


def _forget(invocation: Invocation, query: list[str] | None) -> int:
    if query:
        raise UsageError("--forget accepts no query.", hint="Write: jackfield find --forget")
    was_there = invocation.servers.catalog.learned.forget()
    invocation.output.note("Forgotten." if was_there else "Nothing has been learned yet.")
    return OK


def _write(invocation: Invocation, hit: dict[str, Any]) -> None:
    output = invocation.output
    parameters = hit["signature"].removeprefix(hit["name"])
    marks = "".join(f" [{mark}]" for mark in hit["marks"])
    output.write_wrapped([(hit["reference"], "bold"), (parameters, "dim"), (marks, "yellow")], continued=4)
    if summary := first_line(hit["description"]):
        output.write_wrapped([(summary, "")], indent=4, continued=4, lines=2)
