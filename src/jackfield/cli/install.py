"""`jackfield install|uninstall PROGRAM`: puts the gateway into another program's file, and takes it out again; and
`jackfield config export`, which does the same with single servers."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ConfigError
from ..names import did_you_mean, normal
from .exits import UsageError
from .invocation import Invocation
from .output import current_folder, shown_path

if TYPE_CHECKING:
    from ..config.discover import FoundServer
    from ..config.installation import Target
    from ..config.programs.table import Program
    from .output import Output

NAME = "jackfield"

ProgramArgument = Annotated[
    str, typer.Argument(help="Such as claude-code, cursor, vs-code, codex, opencode.", metavar="PROGRAM")
]
ProjectOption = Annotated[bool, typer.Option("--project", help="Use the project's file instead of your own.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Write the entry; without this option, it is only shown.")]
NameOption = Annotated[str, typer.Option("--name", help="The entry's name in the program.", metavar="NAME")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("install")(install)
    app.command("uninstall")(uninstall)


def install(
    context: typer.Context,
    program: ProgramArgument,
    servers: Annotated[
        list[str] | None, typer.Argument(help="Only these servers; all if omitted.", metavar="[SERVER]...")
    ] = None,
    project: ProjectOption = False,
    name: NameOption = NAME,
    yes: YesOption = False,
) -> None:
    """Let another program use all your servers.

    Puts `jackfield serve` into the program's file. Shows what would be written; --yes writes it. `jackfield uninstall`
    takes it out again.
    """
    from ..config.exporting import exported_entry

    invocation = Invocation.of(context)
    for server in servers or ():
        invocation.servers.found(server)
    target = _target(program, is_project=project, name=name)
    # A project's file is for others, too: their Jackfield lies elsewhere.
    command = [NAME] if project else _own_command()
    files = [word for file in invocation.config_files for word in ("--config", str(file.absolute()))]
    entry = {"command": command[0], "args": [*command[1:], *files, "serve", "--stdio", *(servers or ())]}
    entries = {name: exported_entry(name, entry, target.program, target.writing)}
    _write(invocation.output, target, entries, entries, is_wanted=yes)
    if yes:
        invocation.output.note(
            f"Restart {target.program.name}. To undo it: jackfield uninstall {normal(target.program.name)}"
            + (" --project" if project else "")
        )


def uninstall(
    context: typer.Context,
    program: ProgramArgument,
    project: ProjectOption = False,
    name: NameOption = NAME,
    yes: YesOption = False,
) -> None:
    """Undo an install.

    Takes out of another program's file what `jackfield install` or `config export` put there; the file is then as it
    was.
    """
    from ..config.installation import undo, undone

    output = Invocation.of(context).output
    target = _target(program, is_project=project, name=name)
    before = undone(target, name)
    if yes:
        undo(target, name, before)
    if output.as_json:
        output.write_json({"file": str(target.file), "program": target.program.name, "removed": name, "written": yes})
        return
    if yes:
        what = "is removed" if before is None else f"no longer contains {name!r}"
    else:
        what = "would be removed" if before is None else f"would no longer contain {name!r}"
    output.note(f"{shown_path(target.file)} {what}." + ("" if yes else " To apply: --yes"))


def export(
    context: typer.Context,
    program: ProgramArgument,
    servers: Annotated[
        list[str] | None, typer.Argument(help="All that apply if omitted.", metavar="[SERVER]...")
    ] = None,
    project: ProjectOption = False,
    yes: YesOption = False,
) -> None:
    """Write servers for another program, in its words. Shows what would be written; --yes writes it."""
    from ..config.exporting import copied_entry, exported_entry
    from .describe import without_plain_secrets

    invocation = Invocation.of(context)
    known = invocation.servers
    target = _target(program, is_project=project, name=(servers or [NAME])[0])
    chosen = [known.found(name) for name in servers or known.names]
    if not servers:
        chosen = [one for one in chosen if one.source.scope != "project" and one.source.path != target.file]
        chosen = [one for one in chosen if not _is_gateway(one)]
    written: dict[str, dict[str, Any]] = {}
    shown: dict[str, dict[str, Any]] = {}
    for one in chosen:
        known.admit(one)
        ours = copied_entry(one.name, one.entry, one.source)
        written[one.name] = exported_entry(one.name, ours, target.program, target.writing)
        shown[one.name] = exported_entry(one.name, without_plain_secrets(ours), target.program, target.writing)
    _write(invocation.output, target, written, shown, is_wanted=yes)


def _is_gateway(found: FoundServer) -> bool:
    from .upstreams import is_gateway

    try:
        return is_gateway(found.config(None))
    except ConfigError:
        return False  # exported as it is


def _write(
    output: Output,
    target: Target,
    entries: Mapping[str, dict[str, Any]],
    shown: Mapping[str, dict[str, Any]],
    *,
    is_wanted: bool,
) -> None:
    """Write entries, or say what would be written; a file may have secrets, so of it nothing else is shown."""
    from ..config.installation import planned, write

    rows: list[dict[str, Any]] = []
    for name, entry in entries.items():
        plan = planned(target, name, entry)
        backup = write(plan, target, name) if is_wanted and plan is not None else None
        rows.append(
            {
                "server": name,
                "entry": shown[name],
                "is_there": plan is None,
                "written": is_wanted and plan is not None,
                "backup": None if backup is None else str(backup),
            }
        )
    if output.as_json:
        output.write_json(
            {"file": str(target.file), "program": target.program.name, "table": target.table, "servers": rows}
        )
        return
    file = shown_path(target.file)
    for row in rows:
        if row["is_there"]:
            output.note(f"{file} already has {row['server']!r}, with the same entry.")
            continue
        output.write(f"{target.table}: {json.dumps({row['server']: row['entry']}, indent=2, ensure_ascii=False)}")
        if not is_wanted:
            continue
        kept = f" The file as it was: {shown_path(Path(row['backup']))}" if row["backup"] else ""
        output.note(f"Added {row['server']!r} to {file}.{kept}")
    if not is_wanted and not all(row["is_there"] for row in rows):
        output.note(f"Nothing was written yet. To add this to {file}, give --yes.")


def _target(program: str, *, is_project: bool, name: str) -> Target:
    from ..config.installation import target_of
    from .own_file import project_file

    project = project_file(current_folder()).parent
    return target_of(_program(program), is_project=is_project, project=project, name=name, environment=os.environ)


def _program(name: str) -> Program:
    from ..config.programs import PROGRAMS

    written = [one for one in PROGRAMS if one.writing or one.user_writing]
    wanted = normal(name)
    exact = [one for one in written if normal(one.name) == wanted]
    near = exact or [one for one in written if wanted and normal(one.name).startswith(wanted)]
    if len(near) == 1:
        return near[0]
    names: Sequence[str] = [one.name for one in written]
    raise UsageError(
        f"Jackfield does not write the configuration of a program {name!r}.",
        hint=did_you_mean(name, names, "program"),
    )


def _own_command() -> list[str]:
    """How this Jackfield is started from anywhere: hosts with windows do not have the PATH of a shell."""
    found = shutil.which(NAME)
    return [found] if found else [sys.executable, "-m", "jackfield"]
