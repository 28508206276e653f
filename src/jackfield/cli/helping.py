"""The help of commands as people write it: no types of Python, no doubled brackets, and examples.

Typer (0.29) adds a type to each argument and brackets to each metavar; `tests/cli/test_help.py` fails when what is
replaced here moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .examples import shown


def make_readable(command: Any, path: str = "") -> None:
    """Give a command and its subcommands such a help.

    Args:
        command: Of typer.
        path: The names of the commands that lead to it.
    """
    its_own: Callable[[Any], list[Any]] = command.get_params

    def get_params(context: Any) -> list[Any]:
        params = its_own(context)
        for param in params:
            if param.param_type_name == "argument" and hasattr(param, "_usage_display_name"):
                param.display_type_rich = _no_type
                param._usage_display_name = lambda param=param: _usage(param)
        return params

    command.get_params = get_params
    command.epilog = command.epilog or shown(path)
    for name, inner in getattr(command, "commands", {}).items():
        make_readable(inner, f"{path} {name}".strip())


def _no_type(ctx: Any) -> None:
    """Whatever an argument's metavar says is enough."""


def _usage(param: Any) -> str:
    """An argument in the line of the usage."""
    name = str(param.metavar or param.name)
    if name.startswith("[") or name.endswith("..."):  # says itself how often it may be given
        return name
    name = name if param.required else f"[{name}]"
    return f"{name}..." if param.nargs == -1 else name
