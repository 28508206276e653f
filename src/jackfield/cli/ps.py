"""`jackfield ps`: the sessions that are kept open between commands, and the process that keeps them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from .invocation import Invocation
from .output import Output
from .text import span

_WATCH_SECONDS = 1.0


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("ps")(ps)


def ps(
    context: typer.Context,
    watch: Annotated[
        bool, typer.Option("--watch", help="Refresh every second, with calls per second, until Ctrl-C.")
    ] = False,
) -> None:
    """Show the sessions that are kept open."""
    from ..daemon.kept import processes

    output = Invocation.of(context).output
    if watch:
        _watch(output)
    else:
        _show(output, processes())


def _watch(output: Output) -> None:
    """Show the sessions until Ctrl-C: on a terminal in one place, elsewhere one after the other."""
    import sys
    import time

    from ..daemon.kept import processes

    before: dict[tuple[str, str], int] = {}
    seen_at = time.monotonic()
    while True:
        found, now = processes(), time.monotonic()
        for session in found["sessions"] if found is not None else ():
            identity = session["server"], session["key"]
            rate = (session["calls"] - before.get(identity, session["calls"])) / max(now - seen_at, 0.001)
            session["calls_per_second"] = round(rate, 1)
            before[identity] = session["calls"]
        seen_at = now
        if output.for_people:
            output.write("\x1b[H\x1b[2J" + time.strftime("%H:%M:%S") + "  Ctrl-C ends this\n")
        _show(output, found)
        sys.stdout.flush()
        time.sleep(_WATCH_SECONDS)


def _show(output: Output, found: Mapping[str, Any] | None) -> None:
    from .shell_sessions import held_sessions

    held = held_sessions.get()
    in_shell = held.names if held is not None else []
    if in_shell:
        output.note(f"Open in this shell: {', '.join(in_shell)}.")
    if output.as_json:
        output.write_json(found or {"process": None, "sessions": []})
        return
    if found is None:
        if not in_shell:
            output.note("No session is open. To keep one: jackfield open SERVER")
        return
    rows = [_row(session) for session in found["sessions"]]
    if output.for_people:  # a program takes a row for a session
        rows.append(_process_row(found["process"]))
    columns = ["SERVER", "KEY", "STATE", "PID", "AGE", "IDLE", "CALLS"]
    if any("calls_per_second" in session for session in found["sessions"]):
        columns.append("CALLS/S")
        rows = [[*row, *["-"] * (len(columns) - len(row))] for row in rows]
    output.write_table(columns, rows, squeeze=0, right=(3, 4, 5, 6, 7)[: len(columns) - 3])


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
        *([f"{session['calls_per_second']:g}"] if "calls_per_second" in session else []),
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
