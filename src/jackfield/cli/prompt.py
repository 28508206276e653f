"""`jackfield prompt`: one prompt of a server, filled in."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import UsageError
from .invocation import Invocation
from .request import KeyOption, OutputOption, SaveOption, TimeoutOption, Wishes, make, show
from .targets import (
    AD_HOC_NAME,
    HeaderOption,
    HttpOption,
    SseOption,
    StdioOption,
    ad_hoc_config,
    ad_hoc_target,
    server_target,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prompt", context_settings={"ignore_unknown_options": True})(prompt)


def prompt(
    context: typer.Context,
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="SERVER NAME [KEY=VALUE]...",
            help="The prompt, and its arguments: key=text, key=@file; - for a JSON object on stdin.",
            show_default=False,
        ),
    ],
    args: Annotated[
        str | None, typer.Option("--args", metavar="JSON", help="Its arguments as a JSON object, or @FILE.")
    ] = None,
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
    config = ad_hoc_config(stdio, http, sse, header or [])
    if config is not None:
        name, rest = words[0], words[1:]
        if name == AD_HOC_NAME and rest and "=" not in rest[0]:
            name, rest = rest[0], rest[1:]
        given = read_words(rest, args)
        target = ad_hoc_target(config, name)
    elif len(words) < 2:
        raise UsageError("Missing argument 'NAME'.", hint=f"Write: jackfield prompt {words[0]} NAME [KEY=VALUE]...")
    else:
        given = read_words(words[2:], args)
        target = server_target(invocation.servers, words[0], words[1])
    show(make(target, prompt_steps(target, given), wishes), target, wishes)
