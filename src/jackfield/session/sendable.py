"""What cannot be sent as JSON unchanged, in words: arguments that are not given by name, and values that JSON does not
have.

Serialisers do not agree on the rest of JSON. Some write `null` for NaN, some turn sets into lists and keys into
strings, and some find half a surrogate pair only when the message is on its way, where it would cost the whole
session.

Source: RFC 8259; JSON-RPC 2.0, section 4.2.
"""

from __future__ import annotations

import json
import math
from typing import Any, cast

from ..errors import InvalidArgumentsError

# What common readers take of a message (pydantic: 200 levels), less what stands around the arguments.
_MAX_DEPTH = 190
# As a number of digits, about 4,300: Python writes no longer ones, and hardly any server reads them.
_MAX_INTEGER_BITS = 14_000


def not_by_name(tool_name: str, given: object, *, server_name: str | None = None) -> InvalidArgumentsError:
    """The error for arguments that are not a mapping.

    Args:
        tool_name: The tool's name.
        given: The arguments, of any kind.
        server_name: The server, where it is known.
    """
    return not_an_object(f"The arguments of {tool_name!r}", given, server_name=server_name)


def not_an_object(what: str, given: object, *, server_name: str | None = None) -> InvalidArgumentsError:
    """The error for named values that are not a mapping.

    Args:
        what: Which they are.
        given: Of any kind.
        server_name: The server, where it is known.
    """
    try:
        written = json.dumps(given)
    except (ValueError, TypeError, RecursionError):
        written = type(given).__name__
    shown = written if len(written) <= 80 else f"{written[:77]}..."
    return InvalidArgumentsError(
        f"{what} are not a JSON object: they are {shown}. Nothing was sent.",
        server_name=server_name,
        sent=False,
        hint='Give them by name, such as {"name": "value"}.',
    )


def not_text(what: str, given: object, *, server_name: str) -> InvalidArgumentsError:
    """The error for a name that is none.

    Args:
        what: What it should be, such as `The name of a tool`.
        given: Of any kind.
        server_name: The server.
    """
    shown = "empty" if given == "" else f"of the type {type(given).__name__}"
    return InvalidArgumentsError(
        f"{what} is a text, and the given one is {shown}. Nothing was sent.", server_name=server_name, sent=False
    )


class _At:
    """The path of a value; only formatted if it is invalid."""

    def __init__(self, within: _At | None, key: object, depth: int) -> None:
        self.within, self.key, self.depth = within, key, depth

    def __str__(self) -> str:
        steps: list[str] = []
        at = self
        while at.within is not None:
            steps.append(f"[{at.key}]" if isinstance(at.key, int) else f".{at.key}")
            at = at.within
        path = "".join(reversed(steps)).removeprefix(".")
        shown = path if len(path) <= 100 else f"{path[:80]}...{path[-17:]}"
        return ascii(shown)[1:-1]


def sending_problem(given: dict[str, Any]) -> str | None:
    """Where in values by their names the first is that cannot be sent, and why it cannot."""
    to_do: list[tuple[object, _At]] = [(given, _At(None, "", 0))]
    while to_do:
        value, at = to_do.pop()
        if isinstance(value, dict):
            items = cast("dict[object, object]", value).items()
            for key, _ in items:
                if not isinstance(key, str):
                    return f"{at} has the key {key!r:.60}, which is not text"
                if (wrong := _wrong(key)) is not None:
                    return f"{at} has a key that is {wrong}"
            inner = [(item, _At(at, key, at.depth + 1)) for key, item in items]
        elif isinstance(value, list | tuple):
            elements = cast("list[object]", value)
            inner = [(item, _At(at, index, at.depth + 1)) for index, item in enumerate(elements)]
        elif (wrong := _wrong(value)) is not None:
            return f"{at} is {wrong}"
        else:
            continue
        if at.depth > _MAX_DEPTH:
            return f"{at} is nested more than {_MAX_DEPTH} levels deep, or contains itself"
        to_do.extend(reversed(inner))
    return None


def _wrong(value: object) -> str | None:
    """The problem with a scalar value."""
    if isinstance(value, str):
        if value.isascii():
            return None
        try:
            value.encode()
        except UnicodeEncodeError as error:
            return f"text with half a surrogate pair ({ascii(value[error.start])[1:-1]} at {error.start})"
    elif isinstance(value, float):
        if not math.isfinite(value):
            return f"{value}, which JSON does not have"
    elif isinstance(value, int):
        if value.bit_length() > _MAX_INTEGER_BITS:
            return "a number of thousands of digits"
    elif value is not None:
        return f"a {type(value).__name__}"
    return None
