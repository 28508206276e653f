"""`jackfield call`: one tool call, from the command line to its result."""

from __future__ import annotations

from typing import Annotated

import typer

from .invocation import Invocation
from .request_options import ArgsOption, KeyOption, OutputOption, SaveOption, TimeoutOption
from .server_options import CwdOption, EnvOption, HeaderOption, HttpOption, SseOption, StdioOption


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("call", context_settings={"ignore_unknown_options": True})(call)


def call(
    context: typer.Context,
    tool: Annotated[
        str | None,
        typer.Argument(
            help="The tool to call; SERVER TOOL and 'SERVER.TOOL(key: value)' work as well.",
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
    from .calling import CallLine, make_call

    options = CallLine(tool, words or [], args, output, save, timeout, key, dry_run, stdio, http, sse, header, env, cwd)
    make_call(Invocation.of(context), options)
