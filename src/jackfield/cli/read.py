"""`jackfield read`: one resource of a server."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import UsageError
from .invocation import Invocation
from .request import OutputOption, SaveOption, TimeoutOption, Wishes, make, show
from .targets import HeaderOption, HttpOption, SseOption, StdioOption, ad_hoc_target, server_target


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("read")(read)


def read(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="The server.", metavar="SERVER", show_default=False)],
    uri: Annotated[str | None, typer.Argument(help="The resource.", metavar="URI", show_default=False)] = None,
    output: OutputOption = None,
    save: SaveOption = None,
    timeout: TimeoutOption = None,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
) -> None:
    """Read a resource of a server."""
    from .steps import read_steps

    invocation = Invocation.of(context)
    wishes = Wishes.of(invocation.output, output, save, timeout)
    target = ad_hoc_target(uri or server, stdio, http, sse, header or [])
    if target is None:
        if uri is None:
            raise UsageError("Missing argument 'URI'.", hint=f"Write: jackfield read {server} URI")
        target = server_target(invocation.servers, server, uri)
    show(make(target, read_steps(target), wishes), target, wishes)
