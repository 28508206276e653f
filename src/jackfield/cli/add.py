"""`jackfield add`: write a server of the registry into your own file, once you have seen what it will run."""

from __future__ import annotations

import os
import shlex
import sys
from typing import Annotated

import typer

from .config_edit import FORCE, PROJECT, accept
from .exits import OK, UsageError
from .invocation import Invocation
from .output import is_terminal, shown_path
from .own_file import file_to_write, read_table, write_table
from .search import RegistryOption
from .text import one_cell


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("add")(add)


def add(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="Its name in the registry, as shown by `search`.", metavar="SERVER")],
    name: Annotated[
        str | None,
        typer.Option("--name", help="Its name here; the last part of its registry name if omitted.", metavar="NAME"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            "--by",
            help="Which way to run or reach it, if there are several: npm, pypi, oci, nuget, http or sse.",
            metavar="WAY",
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    project: Annotated[bool, PROJECT] = False,
    force: Annotated[bool, FORCE] = False,
    registry: RegistryOption = None,
) -> int:
    """Add a server of the MCP registry to your own file.

    Shows what will be started, or which URL will be used, and asks before it writes. Nothing is started.
    """
    from ..config.discover import FoundServer, Source
    from .registry_entries import entry_for
    from .server_registry import ServerRegistry

    invocation = Invocation.of(context)
    output = invocation.output
    listed = ServerRegistry(registry).server(server)
    made = entry_for(listed, by)
    called = name or listed.name.rpartition("/")[2]
    if not called or called.startswith("-") or not called.isprintable() or any(char.isspace() for char in called):
        raise UsageError(f"{called!r} is not a valid server name.", hint="Give another one: --name NAME")
    target = file_to_write(invocation, is_project=project)
    FoundServer(called, made.entry, Source(target, "Jackfield", "user", target.absolute().parent)).prepared(None)
    data, key, table = read_table(target)
    if called in table and not force:
        raise UsageError(
            f"{shown_path(target)} already has a server {called!r}.", hint="Give --force to replace it, or --name."
        )
    if listed.status != "active":
        output.warn(f"The registry says that {listed.name} is {one_cell(listed.status)}.")
    if "command" in made.entry:
        line = shlex.join([made.entry["command"], *made.entry["args"]])
        output.note(f"{called} ({one_cell(listed.name)} {one_cell(listed.version)}) will start: {one_cell(line)}")
    else:
        output.note(f"{called} ({one_cell(listed.name)} {one_cell(listed.version)}) is at: {made.entry['url']}")
    for needed in made.needed:
        state = "it is set" if os.environ.get(needed.variable) else "it is not set yet"
        about = one_cell(needed.description)
        output.note(f"  needs the variable {needed.variable}, {state}{f': {about}' if about else ''}")
    if not yes:
        if not is_terminal(sys.stdin):
            raise UsageError(
                "Nothing was added: there is no terminal to ask for confirmation.", hint="Give --yes to add it."
            )
        if not typer.confirm(f"Add it to {shown_path(target)}?", err=True):
            output.note("Nothing was added.")
            return OK
    write_table(target, data, key, {**table, called: made.entry})
    accept(invocation, target, [called])
    if output.as_json:
        output.write_json({"file": str(target), "added": called, "needs": [one.variable for one in made.needed]})
    else:
        output.note(f"Added {called!r} to {shown_path(target)}. To try it: jackfield doctor {called}")
    return OK
