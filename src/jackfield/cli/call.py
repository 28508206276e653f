"""`jackfield call`: one tool call, from the command line to its result."""

from __future__ import annotations

from typing import Annotated

import typer

from .exits import UsageError
from .given import CwdOption, EnvOption, GivenOptions, HeaderOption, HttpOption, SseOption, StdioOption
from .invocation import Invocation
from .request import ArgsOption, KeyOption, OutputOption, SaveOption, TimeoutOption, Wishes, make, show
from .targets import called
from .words import Given


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("call", context_settings={"ignore_unknown_options": True})(call)


def call(
    context: typer.Context,
    tool: Annotated[
        str | None,
        typer.Argument(
            help="The tool to call; SERVER TOOL and 'SERVER.TOOL(key: value)' work, too.",
            metavar="SERVER.TOOL",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="KEY=VALUE",
            help="Its arguments: key=text, key:=json, key=@file; - for a JSON object on stdin.",
            show_default=False,
        ),
    ] = None,
    args: ArgsOption = None,
    output: OutputOption = None,
    save: SaveOption = None,
    timeout: TimeoutOption = None,
    key: KeyOption = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the arguments and print the call; do not make it.")
    ] = False,
    stdio: StdioOption = None,
    http: HttpOption = None,
    sse: SseOption = None,
    header: HeaderOption = None,
    env: EnvOption = None,
    cwd: CwdOption = None,
) -> None:
    """Call a tool. Its arguments are checked, and take their types, by the tool's schema."""
    from .steps import call_steps, check_by_catalog, planned
    from .words import read_words

    invocation = Invocation.of(context)
    reference, rest, expressed = _read_expression(tool, words or [])
    wishes = Wishes.of(invocation.output, output, save, timeout, key)
    options = GivenOptions(stdio, http, sse, header, env, cwd)
    target, rest = called(lambda: invocation.servers, reference, rest, options)
    given = expressed or read_words(rest, args)
    if expressed is not None and (rest or args is not None):
        raise UsageError("Arguments are given in parentheses, and behind them.", hint="Give all of them in one way.")
    known = check_by_catalog(target, given, invocation.output.warn)
    warn = None if known else invocation.output.warn
    if dry_run:
        result = planned(*known) if known else make(target, call_steps(target, given, dry_run=True, warn=warn), wishes)
        invocation.output.write_json(result)
        invocation.output.note("Nothing was called.")
        return
    show(make(target, call_steps(target, given, warn=warn), wishes), target, wishes)


def _read_expression(tool: str | None, words: list[str]) -> tuple[str | None, list[str], Given | None]:
    """The tool, the other words, and the arguments of `TOOL(...)`, which is the first or the second word."""
    if tool is not None and "(" in tool:
        from .expression import read_arguments, split_expression

        if (parts := split_expression(tool)) is not None:
            return parts[0], words, read_arguments(parts[1])
    elif words and "(" in words[0]:
        from .expression import read_arguments, split_expression

        if (parts := split_expression(words[0])) is not None:
            return tool, [parts[0], *words[1:]], read_arguments(parts[1])
    return tool, words, None
