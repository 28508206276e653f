"""The typer app: the options that all commands share, and the commands of the modules it is given."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_command

from .._version import __version__
from .coercion import make_cheap
from .helping import make_readable
from .invocation import Invocation
from .output import Output


def command_of(modules: Iterable[str]) -> Any:
    """What runs: the app with the commands of some modules of this package."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback(invoke_without_command=True)(jackfield)
    for module in dict.fromkeys(modules):
        import_module(f".{module}", __package__).register(app)
    command = get_command(app)
    make_cheap(command)
    make_readable(command)
    return command


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"jackfield {__version__}")
        raise typer.Exit


def jackfield(
    context: typer.Context,
    config: Annotated[
        list[Path] | None,
        typer.Option("--config", help="Use only the servers in this file; can be repeated.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print data, and errors, as JSON.")] = False,
    no_color: Annotated[bool, typer.Option("--no-color", help="Print no colours.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print no notes.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Print details.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """Use MCP servers from the command line. Each is opened when it is needed and closed afterwards."""
    output = Output(as_json=as_json, color=False if no_color else None, quiet=quiet, verbose=verbose)
    context.obj = Invocation(output, list(config or []))
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
