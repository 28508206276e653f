"""`jackfield config`: the sources of servers, errors in their entries, and which are trusted."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from . import config_edit
from .invocation import Invocation
from .known import problem_text, server_facts, short_transport, wrong_entries
from .output import current_folder, is_terminal, shown_path
from .text import count
from .trust_store import NotTrustedError

if TYPE_CHECKING:
    from ..config.discover import FoundServer


def register(app: typer.Typer) -> None:
    """Add the commands."""
    config = typer.Typer(rich_markup_mode=None)
    config.callback(invoke_without_command=True)(only_help)
    config.command("path")(path)
    config.command("check")(check)
    config.command("explain")(explain)
    config.command("trust")(trust)
    config_edit.register(config)
    app.add_typer(config, name="config")


def only_help(context: typer.Context) -> None:
    """See and change which servers there are."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def path(
    context: typer.Context,
    everything: Annotated[bool, typer.Option("--all", help="Also show locations without a file.")] = False,
) -> None:
    """Show which files servers are read from, first to last."""
    from ..config.discover import Source, sources, user_file

    invocation = Invocation.of(context)
    output, servers = invocation.output, invocation.servers
    discovery = servers.discovery
    given = [Source.given(file, "--config") for file in invocation.config_files]
    places = given or sources(current_folder(), os.environ)
    rows: list[dict[str, Any]] = []
    for place in places:
        if place.path in discovery.problems:
            state = "unreadable"
        elif place in discovery.sources:
            state = "read"
        elif place.path.exists() or (place.under and place.under[0] == "projects"):
            continue  # read, but the part of it that this place means is not there
        else:
            state = "missing"
        used = [one.name for one in discovery.servers.values() if one.source == place]
        hidden = [one.name for one in discovery.shadowed if one.source == place]
        if state != "missing" or everything:
            rows.append(
                {
                    "file": str(place.path),
                    "program": place.program,
                    "scope": place.scope,
                    "state": state,
                    "servers": used,
                    "shadowed": hidden,
                }
            )
    if output.as_json:
        own = {
            "user_file": str(user_file(os.environ)),
            "catalog": str(servers.catalog.folder),
            "accepted": str(servers.store.path),
        }
        output.write_json({"files": rows, **own})
        return
    table = [
        [
            shown_path(Path(row["file"])),
            row["program"],
            row["scope"],
            count(len(row["servers"]), "server") if row["state"] == "read" else row["state"],
        ]
        for row in rows
    ]
    if table:
        output.write_table(["FILE", "PROGRAM", "SCOPE", "STATE"], table, squeeze=0)
    else:
        output.note("No configuration file was found. Where Jackfield looks: jackfield config path --all")
    output.note(f"Your own file: {shown_path(user_file(os.environ))}. To add a server: jackfield config add")


def check(context: typer.Context) -> int:
    """Check every entry of every file; exits 3 if one is wrong."""
    invocation = Invocation.of(context)
    output, discovery = invocation.output, invocation.servers.discovery
    rows: list[dict[str, Any]] = [
        {
            "file": str(file),
            "server": None,
            "is_shadowed": False,
            "problem": error.message,
            "notes": [],
            "hint": error.hint,
        }
        for file, error in discovery.problems.items()
    ]
    for found in [*discovery.servers.values(), *discovery.shadowed]:
        error = _problem(found)
        rows.append(
            {
                "file": str(found.source.path),
                "server": found.name,
                "is_shadowed": found.shadowed_by is not None,
                "problem": problem_text(error) if error else None,
                "notes": found.notes,
                "hint": error.hint if error else None,
            }
        )
    wrong = [row for row in rows if row["problem"]]
    if output.as_json:
        output.write_json(rows)
    else:
        if rows:
            table = [[shown_path(Path(row["file"])), row["server"] or "", row["problem"] or _well(row)] for row in rows]
            output.write_table(["FILE", "SERVER", "RESULT"], table)
        if output.for_people:
            for row in wrong:
                output.note(f"{row['server'] or shown_path(Path(row['file']))}: {row['problem']}")
                if row["hint"]:
                    output.note(f"  {row['hint']}")
        if not rows:
            output.note("There is nothing to check: no server is configured.")
    return output.failed(ConfigError(wrong_entries(len(wrong)), hint=wrong[0]["hint"]) if wrong else None)


def _well(row: dict[str, Any]) -> str:
    return "; ".join(["ok, but shadowed" if row["is_shadowed"] else "ok", *row["notes"]])


def _problem(found: FoundServer) -> ConfigError | None:
    try:
        found.config(os.environ)
    except ConfigError as error:
        return error
    return None


def explain(context: typer.Context, server: Annotated[str, typer.Argument(help="Its name.", metavar="SERVER")]) -> None:
    """Show where a server comes from, what it is, and what it shadows."""
    from .describe import described

    invocation = Invocation.of(context)
    output, servers = invocation.output, invocation.servers
    found = servers.found(server)
    facts = server_facts(servers, server)
    shadowed = [one for one in servers.discovery.shadowed if one.name == server]
    says = list(described(found))
    problem = _problem(found)
    if output.as_json:
        output.write_json(
            {
                **facts,
                "entry": [{"key": key, "value": value} for key, value in says],
                "problem": problem_text(problem) if problem else facts["problem"],
                "shadows": [{"file": str(one.source.path), "program": one.source.program} for one in shadowed],
            }
        )
        return
    source = found.source
    pairs = [
        ("from", f"{shown_path(source.path)} ({source.program})"),
        ("scope", {"given": "given by --config", "project": "the project", "user": "you"}[source.scope]),
        (
            "trust",
            {"trusted": "trusted", "new": "not accepted yet", "changed": "changed since accepted"}[facts["trust"]],
        ),
        ("transport", short_transport(facts["transport"])),
        *says,
    ]
    if facts["transport"] == "stdio" and not any(label in ("cwd", "working_dir") for label, _ in says):
        folder = found.source.default_folder
        pairs.append(("folder", "where you call it from" if folder is None else shown_path(folder)))
    pairs += [("shadows", f"{shown_path(one.source.path)} ({one.source.program})") for one in shadowed]
    if problem:
        pairs.append(("problem", problem_text(problem)))
        if problem.hint:
            pairs.append(("", problem.hint))
    output.write_wrapped([(server, "bold")])
    for label, text in pairs:
        output.write_wrapped([(f"  {label:<10} ", "dim"), (text, "")], continued=13)


def trust(
    context: typer.Context,
    servers: Annotated[
        list[str] | None, typer.Argument(help="All servers of the project if omitted.", metavar="[SERVER]...")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept without being asked.")] = False,
    revoke: Annotated[bool, typer.Option("--revoke", help="Withdraw the acceptance.")] = False,
) -> None:
    """Accept servers of project files, once you have looked at them."""
    from .describe import asked_about, show

    invocation = Invocation.of(context)
    output, known = invocation.output, invocation.servers
    chosen = [known.found(name) for name in (servers or known.names)]
    project = [found for found in chosen if found.source.scope == "project"]
    if revoke:
        taken = [found for found in project if known.store.trust(found) != "new"]
        known.store.revoke(taken)
        _tell(invocation, "revoked", taken)
        return
    open_ones = [found for found in project if known.store.trust(found) != "trusted"]
    if not open_ones:
        if output.as_json:
            output.write_json({"accepted": []})
        output.note("Nothing to accept: every server here is trusted.")
        return
    if not yes:
        if output.as_json or not (is_terminal(sys.stdin) and is_terminal(sys.stderr)):
            show(open_ones, output)
            raise NotTrustedError(
                f"Not accepted: {count(len(open_ones), 'server')} of project files. There is no terminal to ask on.",
                hint="Check them, then run the command on a terminal or with --yes.",
            )
        if not asked_about("These servers of project files are not accepted yet:", open_ones, output):
            raise NotTrustedError("Nothing was accepted.")
    known.store.accept(open_ones)
    _tell(invocation, "accepted", open_ones)


def _tell(invocation: Invocation, what: str, servers: list[FoundServer]) -> None:
    names = [found.name for found in servers]
    if invocation.output.as_json:
        invocation.output.write_json({what: names})
    else:
        invocation.output.note(f"{what.capitalize()}: {', '.join(names) or 'nothing'}.")
