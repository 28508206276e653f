"""Converts plain values from the command line without pydantic.

Typer (0.29) converts every value, texts too, by pydantic, whose import takes longer than all else that a short command
does. This gives the parameters whose values are texts, numbers and paths a converter of their own through the method
that typer asks for one, `get_runtime_param`; all others keep typer's. `tests/cli/test_imports.py` fails when it moves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast, get_args, get_origin

import typer

_KINDS: dict[Any, tuple[Callable[[str], Any], str]] = {
    bool: (bool, "truth value"),  # of flags, whose values are none of the command line's
    str: (str, "text"),
    int: (int, "whole number"),
    float: (float, "number"),
    Path: (Path, "path"),
}


class _Plain:
    """Converts the values of one parameter."""

    def __init__(self, convert: Callable[[str], Any], what: str, *, is_list: bool) -> None:
        self._convert = convert
        self._what = what
        self._is_list = is_list

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """The value in its type, as typer's own converters give it."""
        if value is None:
            return () if self._is_list else None
        if self._is_list:
            return [self._one(item, param, ctx) for item in cast("Sequence[Any]", value)]
        return self._one(value, param, ctx)

    def _one(self, value: Any, param: Any, ctx: Any) -> Any:
        if not isinstance(value, str):
            return value  # a default
        try:
            return self._convert(value)
        except ValueError:
            raise typer.BadParameter(f"{value!r} is not a {self._what}.", ctx=ctx, param=param) from None


def make_cheap(command: Any) -> None:
    """Give the plain parameters of a command and its subcommands converters that need no pydantic."""
    its_own: Callable[[Any], list[Any]] = command.get_params

    def get_params(context: Any) -> list[Any]:
        # Asked for each time because the option --help is only made then.
        params = its_own(context)
        for param in params:
            _make_parameter_cheap(param)
        return params

    command.get_params = get_params
    for inner in getattr(command, "commands", {}).values():
        make_cheap(inner)


def _make_parameter_cheap(param: Any) -> None:
    plain = _plain(getattr(param, "type_descriptor", None))
    if plain is not None and hasattr(param, "get_runtime_param"):
        param.get_runtime_param = lambda: plain


def _plain(descriptor: Any) -> _Plain | None:
    if descriptor is None or descriptor.is_ranged or descriptor.is_choice or descriptor.is_file:
        return None
    annotation, info = descriptor.annotation, descriptor.parameter_info
    if any(getattr(info, check, False) for check in ("exists", "writable", "resolve_path", "parser", "envvar")):
        return None
    is_list = get_origin(annotation) is list
    kind = _KINDS.get(get_args(annotation)[0] if is_list else annotation)
    return None if kind is None else _Plain(*kind, is_list=is_list)
