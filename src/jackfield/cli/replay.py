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
    file: Annotated[Path, typer.Argument(help="What `jackfield record` wrote.", metavar="FILE")],
    http: options.HttpOption = None,
    speed: Annotated[
        float | None,
        typer.Option(
            "--speed",
            help="How many times as fast as recorded; 1 takes the server's own time. At once by default.",
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
        raise UsageError("--speed takes a number above 0.", hint="Such as --speed 10, for a tenth of the time.")
    name = Trace.load(file).server_name
    return serve_bridge(Invocation.of(context).output, ReplayConfig(server_name=name, trace=file, speed=speed), http)
