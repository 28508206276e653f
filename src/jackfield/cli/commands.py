"""The commands, and what all of them share on the command line. Imports nothing, so that Ctrl-C works early."""

from __future__ import annotations

from collections.abc import Sequence

COMMANDS = {
    "list": "listing",
    "find": "find",
    "show": "show",
    "call": "call",
    "search": "search",
    "add": "add",
    "read": "read",
    "prompt": "prompt",
    "open": "opening",
    "close": "closing",
    "ps": "ps",
    "top": "top",
    "shell": "shell",
    "refresh": "refresh",
    "tokens": "tokens",
    "doctor": "doctor",
    "lint": "lint",
    "bench": "bench",
    "generate": "generate",
    "config": "config",
    "auth": "auth",
    "install": "install",
    "uninstall": "install",
    "serve": "serve",
    "record": "record",
    "replay": "replay",
    "serve-token": "serve_token",
    "serving": "serving",
    "completion": "completion",
}
"""Each command and its module, in the order of the help."""

_FLAGS = {"--json", "--no-color", "--quiet", "--verbose"}
_TAKES_VALUE = "--config"


def hoisted(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options that all commands share, wherever they stand, and the other arguments.

    Nothing behind `--` is looked at. An option's value that looks like one of them is written with `=`.
    """
    shared: list[str] = []
    others: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            return shared, [*others, argument, *rest]
        if argument in _FLAGS or argument.startswith(f"{_TAKES_VALUE}="):
            shared.append(argument)
        elif argument == _TAKES_VALUE:
            value = next(rest, None)
            if value is None:
                return [*shared, argument], []  # alone, so that it does not take the command for its value
            shared += [argument, value]
        else:
            others.append(argument)
    return shared, others
