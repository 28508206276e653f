"""`jackfield record`: the traffic between a client and a server, in a file; see `replay`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import serve_options as options
from .invocation import Invocation
from .serve_run import serve_bridge
from .text import count
from .upstreams import upstreams


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("record")(record)


def record(
    context: typer.Context,
    server: Annotated[
        str, typer.Argument(help="A configured server, a URL, or a command in quotes.", metavar="SERVER")
    ],
    file: Annotated[
        Path,
        typer.Option("--output", "-o", help="Write the messages to this file, one line of JSON each.", metavar="FILE"),
    ],
    http: options.HttpOption = None,
) -> int:
    """Write down what a client and a server say.

    Stands between them: serves the program that starts it, over a pipe, or with --http any client. Secrets are masked:
    those of the configuration, and values whose names say that they are secret.
    """
    from ..gateway.traces.recording import Recording

    invocation = Invocation.of(context)
    [config] = upstreams(invocation, [server], is_command=False, sse=None, headers=[]).configs
    with Recording(file, config.server_name) as recording:
        code = serve_bridge(invocation.output, config, http, recording)
    if recording.error is not None:
        invocation.output.warn(f"{file} is not complete: {recording.error.strerror or recording.error}.")
        return code or 1
    invocation.output.note(f"{count(recording.messages, 'message')} recorded in {file}.")
    return code
