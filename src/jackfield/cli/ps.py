"""`jackfield ps`: the sessions that are kept open between commands, and the process that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from .invocation import Invocation
from .text import span


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ps")(ps)


def ps(context: typer.Context) -> None:
    """Show the sessions that are kept open."""
    from ..daemon.kept import processes
    from .held import held_sessions

    output = Invocation.of(context).output
    found = processes()
    held = held_sessions.get()
    in_shell = held.names if held is not None else []
    if in_shell:
        output.note(f"Open in this shell: {', '.join(in_shell)}.")
    if output.as_json:
        output.write_json(found or {"process": None, "sessions": []})
        return
    if found is None:
        if not in_shell:
            output.note("No session is kept. To keep one: jackfield open SERVER")
        return
    rows = [_row(session) for session in found["sessions"]]
    if output.for_people:  # a program takes a row for a session
        rows.append(_process_row(found["process"]))
    columns = ["SERVER", "KEY", "STATE", "PID", "AGE", "IDLE", "CALLS"]
    output.write_table(columns, rows, squeeze=0, right=(3, 4, 5, 6))


def _row(session: Mapping[str, Any]) -> list[str]:
    state = session["state"] + (", old" if session["replaced"] else "")
    idle = "-" if session["state"] in ("busy", "opening", "closing") else span(session["idle"])
    if session["idle_timeout"] is not None and idle != "-":
        idle += f" of {span(session['idle_timeout'])}"
    return [
        session["server"],
        session["key"],
        state,
        "-" if session["pid"] is None else str(session["pid"]),
        "-" if session["age"] is None else span(session["age"]),
        idle,
        str(session["calls"]),
    ]


def _process_row(process: Mapping[str, Any]) -> list[str]:
    """The background process's own line; no server can have its name, which has a space."""
    return [
        f"(jackfield {process['version']})",
        "-",
        "running",
        str(process["pid"]),
        span(process["age"]),
        "-",
        "-",
    ]
