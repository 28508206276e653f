"""`jackfield close`: ends kept sessions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any

import typer

from ..daemon import DEFAULT_KEY
from .exits import UsageError
from .invocation import Invocation
from .output import Output


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("close")(close)


def close(
    context: typer.Context,
    server: Annotated[
        str | None, typer.Argument(help="The server whose sessions to close.", metavar="SERVER", show_default=False)
    ] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="KEY", help="Only the session of this key.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Close all sessions and stop the background process that holds them.")
    ] = False,
) -> None:
    """Close kept sessions."""
    invocation = Invocation.of(context)
    if everything:
        if server is not None or key is not None:
            raise UsageError("--all closes the sessions of all servers and keys: omit SERVER and --key.")
        from ..daemon.ending import end_process

        closed = [*_close_held(None), *(end_process() or [])]
        _tell(invocation.output, closed, "No session is open.")
        return
    if server is None:
        raise UsageError("Say which server, or --all.", hint="To see the open sessions: jackfield ps")
    from ..daemon.kept import close_sessions

    closed = [*([] if key else _close_held(server)), *close_sessions(server, key)]
    if not closed:
        invocation.servers.found(server)
    what = f"session of {server}" if key is None else f"session of {server} under the key {key!r}"
    _tell(invocation.output, closed, f"No {what} is kept.")


def _close_held(server: str | None) -> list[dict[str, str]]:
    """Close what the shell holds, if this is a line of it: of a server, or all."""
    from .shell_sessions import held_sessions

    held = held_sessions.get()
    names = [] if held is None else held.names if server is None else [server]
    return [{"server": name, "key": DEFAULT_KEY} for name in names if held is not None and held.close(name)]


def _tell(output: Output, closed: Sequence[Mapping[str, Any]], nothing: str) -> None:
    if output.as_json:
        output.write_json(list(closed))
        return
    for session in closed:
        key = "" if session["key"] == DEFAULT_KEY else f" ({session['key']})"
        output.note(f"Closed {session['server']}{key}.")
    if not closed:
        output.note(nothing)
