"""`jackfield prompt`: one prompt of a server, filled in."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import UsageError
from .invocation import Invocation
from .request import ArgsOption, KeyOption, OutputOption, SaveOption, TimeoutOption, Wishes, make, show
from .targets import AD_HOC_NAME, HeaderOption, HttpOption, SseOption, StdioOption, ad_hoc_target, server_target


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prompt", context_settings={"ignore_unknown_options": True})(prompt)


def prompt(
    context: typer.Context,
    server: Annotated[str, typer.Argument(help="The server.", metavar="SERVER", show_default=False)],
    name: Annotated[str | None, typer.Argument(help="The prompt.", metavar="NAME", show_default=False)] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=TEXT",
            help="Its arguments: key=text, key=@file; - for a JSON object on stdin.",
            show_default=False,
        ),
    ] = None,
    args: ArgsOption = None,
    output: OutputOption = None,
    save: SaveOption = None,
    timeout: TimeoutOption = None,
    key: KeyOption = None,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
) -> None:
    """Fill in a prompt of a server."""
    from .steps import prompt_steps
    from .words import read_words

    invocation = Invocation.of(context)
    wishes = Wishes.of(invocation.output, output, save, timeout, key)
    rest = words or []
    if stdio is not None or http is not None or sse is not None:
        # The server is given otherwise, so that all stands one place further to the front.
        if name is not None and not (server == AD_HOC_NAME and "=" not in name and name != "-"):
            rest, name = [name, *rest], server
        name = name or server
    target = ad_hoc_target(name or "", stdio, http, sse, header or [])
    if target is None:
        if name is None:
            raise UsageError("Missing argument 'NAME'.", hint=f"Write: jackfield prompt {server} NAME [KEY=TEXT]...")
        target = server_target(invocation.servers, server, name)
    given = read_words(rest, args)
    show(make(target, prompt_steps(target, given), wishes), target, wishes)
