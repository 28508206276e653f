"""Checks whether a caller's values can be sent as JSON unchanged, before anything is sent.

Serialisers do not agree on the rest. Some write `null` for NaN, some turn sets into lists and keys into strings, and
some find half a surrogate pair only when the message is on its way, where it would cost the whole session.

Source: RFC 8259; JSON-RPC 2.0, section 4.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from ..errors import InvalidArgumentsError

# What common readers take of a message (pydantic: 200 levels), less what stands around the arguments.
_MAX_DEPTH = 190
# As a number of digits, about 4,300: Python writes no longer ones, and hardly any server reads them.
_MAX_INTEGER_BITS = 14_000


# Less deep, and made of JSON's own types, is nearly all that is ever given.
_PLAIN_DEPTH = 20
_PLAIN_INTEGERS = 1 << 62


def require_json(server_name: str, what: str, given: Mapping[str, Any]) -> None:
    """Do nothing if all values can be sent.

    Args:
        server_name: The server, for the error.
        what: Whose values they are, such as `tool 'add'`.
        given: The values by their names, which begin the path in the error.

    Raises:
        InvalidArgumentsError: One cannot; it says which, and why.
    """
    values = dict(given)
    problem = None if _is_plain(values, _PLAIN_DEPTH) else _problem(values)
    if problem is not None:
        raise InvalidArgumentsError(
            f"What was given for {what} cannot be sent as JSON: {problem}. Nothing was sent.",
            server_name=server_name,
            sent=False,
            hint="Give dictionaries with text keys, lists, texts, finite numbers, booleans and None only.",
        )


def _is_plain(value: object, depth: int) -> bool:
    """Whether a value can certainly be sent; faster than finding the problem."""
    kind = type(value)
    if isinstance(value, str) and kind is str:
        return value.isascii() or _wrong(value) is None
    if value is None or kind is bool:
        return True
    if kind is int:
        return -_PLAIN_INTEGERS < cast("int", value) < _PLAIN_INTEGERS
    if kind is float:
        return math.isfinite(cast("float", value))
    if not depth:
        return False
    if kind is dict:
        for name, item in cast("dict[object, object]", value).items():
            if type(name) is not str or not (name.isascii() or _wrong(name) is None):
                return False
            if not _is_plain(item, depth - 1):
                return False
        return True
    return kind is list and all(_is_plain(item, depth - 1) for item in cast("list[object]", value))


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


def _problem(given: dict[str, Any]) -> str | None:
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
            return f"{at} is nested more than {_MAX_DEPTH} levels deep, or holds itself"
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
