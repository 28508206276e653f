"""The options of `call`, `read` and `prompt`, which `request` reads. Apart from it: a plain call needs no typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .rendering import STYLES

ArgsOption = Annotated[
    str | None, typer.Option("--args", metavar="JSON", help="Its arguments as a JSON object, or @FILE.")
]
OutputOption = Annotated[
    str | None,
    typer.Option(
        "--output", metavar="|".join(STYLES), help="How to print the result; text by default, json with --json."
    ),
]
SaveOption = Annotated[
    Path | None, typer.Option("--save", metavar="FOLDER", help="Write images and other binary results to this folder.")
]
TimeoutOption = Annotated[
    float | None, typer.Option("--timeout", metavar="SECONDS", help="Time limit in seconds, opening included.")
]
KeyOption = Annotated[
    str | None, typer.Option("--key", metavar="KEY", help="Which kept session of the server: see `jackfield open`.")
]
