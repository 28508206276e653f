"""`jackfield replay`: serves again what `record` wrote down."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import serve_options as options
from .exits import UsageError
from .invocation import Invocation
from .serve_run import serve_bridge


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("replay")(replay)


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file written by `jackfield record`.", metavar="FILE")],
    http: options.HttpOption = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            help="Speed relative to the recording; 1 is the server's own speed. Without delays by default.",
            metavar="TIMES",
        ),
    ] = None,
) -> int:
    """Be the server that was recorded.

    A request gets the answer to the same request in the file; of several answers, the next one each time.
    """
    from ..gateway.traces.replay import ReplayConfig
    from ..gateway.traces.trace import Trace

    if speed is not None and speed <= 0:
        raise UsageError("--speed must be a number above 0.", hint="For example --speed 10, for a tenth of the time.")
    name = Trace.load(file).server_name
    return serve_bridge(Invocation.of(context).output, ReplayConfig(server_name=name, trace=file, speed=speed), http)
