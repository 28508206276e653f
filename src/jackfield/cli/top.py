"""`jackfield top`: the sessions of all processes of this user that hold some, with their calls, errors and memory."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from .invocation import Invocation
from .output import Output, is_terminal
from .processes import NOTHING, HeldSession, HoldingProcess, Processes, process_facts, session_cells


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("top")(top)


def top(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Print the current table and exit.")] = False,
) -> int | None:
    """Watch sessions of gateways, programs and those kept open.

    Shows calls a second, errors, the memory of the server, and the last minute. Keys: arrows choose a session, c closes
    it, r reopens it, q quits. In a pipe, or with --json, it prints what is there once.
    """
    output, processes = Invocation.of(context).output, Processes()
    if once or not output.for_people or not is_terminal(sys.stdin) or os.environ.get("TERM") == "dumb":
        _show(output, processes.look())
        return None
    processes.look()
    from .top_screen import TopScreen

    return TopScreen(processes, color=output.colors(sys.stdout)).run()


def _show(output: Output, found: list[HoldingProcess]) -> None:
    if output.as_json:
        output.write_json({"processes": [process_facts(process) for process in found]})
        return
    if not found:
        output.note(NOTHING)
    for process in found:
        if process.silent_since is not None:
            output.warn(f"The {process.title} does not answer.")
        elif not process.sessions:
            output.note(f"The {process.title} has no session open.")
    rows = [_row(process, session) for process in found for session in process.sessions]
    if rows:
        columns = ["PROCESS", "PID", "SERVER", "KEY", "STATE", "CALLS", "CALLS/S", "ERRORS", "MEMORY", "LAST ERROR"]
        output.write_table(columns, rows, right=(1, 5, 6, 7, 8))


def _row(process: HoldingProcess, session: HeldSession) -> list[str]:
    error = session.facts.get("last_error")
    return [
        process.name,
        "-" if process.pid is None else str(process.pid),
        *session_cells(session),
        "-" if error is None else error["text"],
    ]
