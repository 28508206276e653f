"""`jackfield search`: find servers in the official MCP registry."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import OK, UsageError
from .invocation import Invocation
from .text import ago

RegistryOption = Annotated[
    str | None,
    typer.Option(
        "--registry", help="The registry to ask; by default JACKFIELD_REGISTRY, or the official one.", metavar="URL"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("search")(search)


def search(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(help="Words from a server's name or description.", metavar="WORD...")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", help="Maximum number of servers.", metavar="NUMBER")] = 20,
    registry: RegistryOption = None,
) -> int:
    """Find servers in the MCP registry, to add them.

    The registry looks for parts of names. Nothing is started or added: for that, see `jackfield add`.
    """
    from .server_registry import ServerRegistry

    if not words:
        raise UsageError("Search for what?", hint="Such as: jackfield search github")
    invocation = Invocation.of(context)
    output, asked = invocation.output, ServerRegistry(registry)
    found = asked.search(words, max(1, limit))
    if output.as_json:
        output.write_json(
            [
                {
                    "name": one.name,
                    "version": one.version,
                    "title": one.title,
                    "description": one.description,
                    "by": one.ways,
                    "status": one.status,
                }
                for one in found
            ]
        )
    else:
        rows = [[one.name, one.version, " ".join(one.ways), one.description] for one in found]
        if rows:
            output.write_table(["SERVER", "VERSION", "BY", "DESCRIPTION"], rows, squeeze=3)
    if asked.answered_at is not None:
        import time

        output.warn(f"The registry cannot be reached; this is its answer from {ago(time.time() - asked.answered_at)}.")
    if found:
        output.note("To add one: jackfield add NAME")
    else:
        output.note("No server matches. Try part of its name.")
    return OK
