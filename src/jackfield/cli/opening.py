"""`jackfield open`: a session that stays open between commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from ..config.keys import WEEK, implausible
from ..daemon import DEFAULT_KEY
from ..errors import ConfigError
from .exits import UsageError
from .invocation import Invocation
from .text import count, duration, span


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("open")(open_session)


def open_session(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="The server.", metavar="SERVER", show_default=False)],
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="Open an additional session of the server, used with `call --key KEY`."
        ),
    ] = None,
    idle: Annotated[
        float | None,
        typer.Option("--idle", metavar="SECONDS", help="Close it after this time without use; 15 min if omitted."),
    ] = None,
) -> None:
    """Keep a server open between commands."""
    from ..daemon.kept import KeptSession

    if idle is not None and not 0 < idle < float("inf"):
        raise UsageError(f"--idle: {idle:g} is not a positive number of seconds.")
    if idle is not None and (problem := implausible(idle, WEEK)):
        raise UsageError(f"--idle: {problem}")
    if key == "":
        raise UsageError("--key: it is empty.")
    invocation = Invocation.of(context)
    fields, origin = invocation.servers.fields(server)
    try:
        opened = KeptSession(fields, key=key, origin=origin).open(idle)
    except ConfigError:
        invocation.servers.config(server)  # says where it stands
        raise
    output = invocation.output
    if opened["note"]:
        output.warn(opened["note"])
    if output.as_json:
        output.write_json(opened)
    else:
        output.note(_words(opened))


def _words(opened: dict[str, Any]) -> str:
    session = opened["session"]
    name = session["server"] if session["key"] == DEFAULT_KEY else f"{session['server']} ({session['key']})"
    is_open = f"is open now ({duration(opened['seconds'])})" if opened["opened"] else "was already open"
    idle = session["idle_timeout"]
    end = "It stays open until" if idle is None else f"It closes after {span(idle)} without use, or by"
    return f"{name} {is_open}: {count(opened['tools'], 'tool')}.\n{end}: jackfield close {session['server']}"
