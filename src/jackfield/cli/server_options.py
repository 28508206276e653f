"""The options that give a server, which `given` reads. Apart from it: a plain call needs no typer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

StdioOption = Annotated[
    str | None, typer.Option("--stdio", metavar="COMMAND", help="Use the server that this command starts.")
]
HttpOption = Annotated[
    str | None, typer.Option("--http", metavar="URL", help="Use the server at this URL, over Streamable HTTP.")
]
SseOption = Annotated[str | None, typer.Option("--sse", metavar="URL", help="Use the server at this URL, over SSE.")]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="With a URL: send this header; ${VAR} works."),
]
EnvOption = Annotated[
    list[str] | None,
    typer.Option("--env", metavar="NAME=VALUE", help="With --stdio: set this variable; ${VAR} works."),
]
CwdOption = Annotated[
    Path | None, typer.Option("--cwd", metavar="FOLDER", help="With --stdio: start the server in this folder.")
]
