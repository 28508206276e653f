"""`jackfield prompt`: one prompt of a server, filled in, or which there are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ..plain import as_list, as_table
from .ad_hoc_servers import GivenOptions
from .invocation import Invocation
from .known import first_line
from .request import Wishes, make, show
from .request_options import ArgsOption, KeyOption, OutputOption, SaveOption, TimeoutOption
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption
from .targets import named


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("prompt", context_settings={"ignore_unknown_options": True})(prompt)


def prompt(
    context: typer.Context,
    server: Annotated[str | None, typer.Argument(help="The server.", metavar="SERVER", show_default=False)] = None,
    name: Annotated[
        str | None, typer.Argument(help="The prompt; lists them if omitted.", metavar="PROMPT", show_default=False)
    ] = None,
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
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> None:
    """Fill in a prompt of a server, or list its prompts."""
    from .argument_syntax import read_words
    from .request_steps import list_prompts_steps, prompt_steps

    invocation = Invocation.of(context)
    wishes = Wishes.of(invocation.output, output, save, timeout, key)
    said = [*(word for word in (server, name) if word is not None), *(words or [])]
    target, rest = named(lambda: invocation.servers, said, GivenOptions(stdio, http, sse, header, env, cwd))
    if not target.name:
        _list(invocation, make(target, list_prompts_steps(), wishes), target.server_name)
        return
    given = read_words(rest, args)
    show(make(target, prompt_steps(target, given), wishes), target, wishes)


def _list(invocation: Invocation, listing: Mapping[str, Any], server_name: str) -> None:
    output = invocation.output
    if output.as_json:
        output.write_json(listing)
        return
    prompts = [as_table(one) for one in as_list(listing.get("prompts"))]
    if not prompts:
        output.note(f"The server {server_name!r} offers no prompts.")
        return
    output.write_table(
        ["PROMPT", "DESCRIPTION"],
        [[prompt_signature(one), first_line(str(one.get("description") or one.get("title") or ""))] for one in prompts],
    )


def prompt_signature(prompt: Mapping[str, Any]) -> str:
    """A prompt's arguments in one line: `plan(day, place?)`."""
    arguments = [as_table(argument) for argument in as_list(prompt.get("arguments"))]
    shown = [f"{argument.get('name')}{'' if argument.get('required') else '?'}" for argument in arguments]
    return f"{prompt.get('name')}({', '.join(shown)})"
