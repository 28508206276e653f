"""Arguments of a call as people may see them, in questions and in the audit: secrets masked, within bounds."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, pairwise
from typing import Any, cast

from ..masking import AMOUNT_NAME, MASK, SECRET_NAME, argument_secrets, mask, secrets_within

VALUE_CHARS = 256
"""Of one argument, unless told otherwise."""

_LOOKED_AT_CHARS = 4096
"""What is behind that is not shown, and not looked at."""
_MOST_ITEMS = 50
_DEEPEST = 6
_SHORTEST_CREDENTIAL_CHARS = 8
_ELSE = "..."


def shown_arguments(arguments: Mapping[str, Any], *, value_chars: int = VALUE_CHARS) -> dict[str, Any]:
    """The arguments by name, as plain JSON.

    Masked is what is known to be a secret, what has the name of one, and credentials in URLs, headers and commands.

    Args:
        arguments: As the client gave them.
        value_chars: How much is shown of one; the rest is told as a number of characters.
    """
    shown = {
        _text(name, _LOOKED_AT_CHARS)[:VALUE_CHARS]: _cut(_masked(name, value), value, value_chars)
        for name, value in islice(arguments.items(), _MOST_ITEMS)
    }
    if len(arguments) > _MOST_ITEMS:
        shown[_ELSE] = f"{len(arguments) - _MOST_ITEMS} more"
    return shown


def readable(value: object) -> str:
    """JSON in which every character can be seen: none that is invisible, or turns the direction of the text."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _cut(shown: Any, value: object, limit: int) -> Any:
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    length = len(value) if isinstance(value, str) else len(text)
    return shown if length <= limit else f"{text[:limit]}{_ELSE} ({length:,} characters)"


def _masked(name: str, value: object, depth: int = 0) -> Any:
    """A value without its secrets; `name` is its own, or the nearest that says that it is one."""
    if isinstance(value, bool) or value is None:
        return value
    is_secret = SECRET_NAME.search(name) is not None
    if isinstance(value, int | float):
        return MASK if is_secret and not AMOUNT_NAME.search(name) else value
    if isinstance(value, str):
        return MASK if is_secret and value else _text(value, _LOOKED_AT_CHARS)
    if depth == _DEEPEST:
        return _ELSE
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        shown = {
            _text(str(key), VALUE_CHARS): _masked(name if is_secret else str(key), item, depth + 1)
            for key, item in islice(table.items(), _MOST_ITEMS)
        }
        return {**shown, _ELSE: _ELSE} if len(table) > _MOST_ITEMS else shown
    if isinstance(value, Sequence):
        row = cast("Sequence[Any]", value)
        return [_masked(name, item, depth + 1) for item in row[:_MOST_ITEMS]] + [_ELSE] * (len(row) > _MOST_ITEMS)
    return _ELSE


def _text(text: str, limit: int) -> str:
    is_cut = len(text) > limit
    text = mask(text[:limit], is_cut=is_cut)
    for secret in sorted(set(_secrets(text)), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secrets(text: str) -> Iterator[str]:
    yield from secrets_within("", text)
    words = [word.strip("\"'`,;()[]{}") for word in text.split()]
    yield from (value.strip("\"'`,;") for _, value in argument_secrets(words))
    for before, word in pairwise(words):
        if before.lower() in ("bearer", "basic") and len(word) >= _SHORTEST_CREDENTIAL_CHARS:
            yield word
