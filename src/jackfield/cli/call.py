"""`jackfield call`: one tool call, from the command line to its result."""

from __future__ import annotations

from typing import Annotated

import typer

from .invocation import Invocation
from .request import ArgsOption, KeyOption, OutputOption, SaveOption, TimeoutOption, Wishes, make, show
from .targets import (
    HeaderOption,
    HttpOption,
    SseOption,
    StdioOption,
    ad_hoc_target,
    ad_hoc_tool,
    tool_target,
)


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("call", context_settings={"ignore_unknown_options": True})(call)


def call(
    context: typer.Context,
    tool: Annotated[str, typer.Argument(help="The tool to call.", metavar="SERVER.TOOL", show_default=False)],
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
) -> None:
    """Call a tool. Its arguments are checked, and take their types, by the tool's schema."""
    from .steps import call_steps, check_by_catalog, planned
    from .words import read_words

    invocation = Invocation.of(context)
    given = read_words(words or [], args)
    wishes = Wishes.of(invocation.output, output, save, timeout, key)
    target = ad_hoc_target(ad_hoc_tool(tool), stdio, http, sse, header or []) or tool_target(invocation.servers, tool)
    known = check_by_catalog(target, given, invocation.output.warn)
    warn = None if known else invocation.output.warn
    if dry_run:
        result = planned(*known) if known else make(target, call_steps(target, given, dry_run=True, warn=warn), wishes)
        invocation.output.write_json(result)
        invocation.output.note("Nothing was called.")
        return
    show(make(target, call_steps(target, given, warn=warn), wishes), target, wishes)
