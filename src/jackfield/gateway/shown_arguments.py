"""Arguments of a call as people may see them, in questions and in the audit: secrets masked, within bounds."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, cast

from ..masking import AMOUNT_NAME, MASK, SECRET_NAME, mask

VALUE_CHARS = 256
"""Of one argument, unless told otherwise."""

_MOST_ITEMS = 50
_DEEPEST = 6
_ELSE = "..."

# In text: `token=X`, `"token": "X"`; `--token X`; `Bearer X`; `https://user:X@host`; a private key. Each begins where a
# word does, so that no text takes long.
_PAIR = re.compile(r"""(?<![\w.-])([\w.-]+)["']?\s*[:=](?!//)\s*["']?([^\s"',;&}\])]+)""")
_OPTION = re.compile(r"(?<!\S)(--?[\w-]+)\s+(?!-)(\S+)")
_SCHEME = re.compile(r"(?i)\b(bearer|basic)\s+([^\s\"',;]{8,})")
_USER = re.compile(r"(?<!\w)(\w+://)([^\s/@]+)(?=@)")
_KEY = re.compile(r"(-----BEGIN [A-Z ]*PRIVATE KEY-----)(.*?)(?=-----END|\Z)", re.DOTALL)


def shown_arguments(arguments: Mapping[str, Any], *, value_chars: int = VALUE_CHARS) -> dict[str, Any]:
    """The arguments by name, as plain JSON.

    Masked is what is known to be a secret, what has the name of one, and credentials in URLs, headers and commands.

    Args:
        arguments: As the client gave them.
        value_chars: How much is shown of one; the rest is told as a number of characters.
    """
    shown = {
        _text(name, VALUE_CHARS): _cut(_masked(name, value, value_chars), value, value_chars)
        for name, value in islice(arguments.items(), _MOST_ITEMS)
    }
    if len(arguments) > _MOST_ITEMS:
        shown[_ELSE] = f"{len(arguments) - _MOST_ITEMS} more"
    return shown


def without_secrets(text: str) -> str:
    """A text without its secrets: those that are known, and what looks like one."""
    return _text(text, len(text))


def readable(value: object) -> str:
    """JSON in which every character can be seen: none that is invisible, or turns the direction of the text."""
    text = json.dumps(value, ensure_ascii=False)
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _cut(shown: Any, value: object, limit: int) -> Any:
    text = shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False)
    length = len(value) if isinstance(value, str) else len(text)
    return shown if length <= limit else f"{text[:limit]}{_ELSE} ({length:,} characters)"


def _masked(name: str, value: object, limit: int, depth: int = 0) -> Any:
    """A value without its secrets; `name` is its own, or the nearest that says that it is one."""
    if isinstance(value, bool) or value is None:
        return value
    is_secret = SECRET_NAME.search(name) is not None
    if isinstance(value, int | float):
        return MASK if is_secret and not AMOUNT_NAME.search(name) else value
    if isinstance(value, str):
        return MASK if is_secret and value else _text(value, limit)
    if depth == _DEEPEST:
        return _ELSE
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        shown = {
            _text(str(key), VALUE_CHARS): _masked(name if is_secret else str(key), item, limit, depth + 1)
            for key, item in islice(table.items(), _MOST_ITEMS)
        }
        return {**shown, _ELSE: _ELSE} if len(table) > _MOST_ITEMS else shown
    if isinstance(value, Sequence):
        row = cast("Sequence[Any]", value)
        return [_masked(name, item, limit, depth + 1) for item in row[:_MOST_ITEMS]] + [_ELSE] * (
            len(row) > _MOST_ITEMS
        )
    return _ELSE


def _text(text: str, limit: int) -> str:
    """At most this many characters of a text, without its secrets, also where one is cut off."""
    is_cut = len(text) > limit
    text = mask(text[:limit], is_cut=is_cut)
    text = _PAIR.sub(lambda found: _hidden(found, found[2].lower() not in ("bearer", "basic")), text)
    text = _OPTION.sub(_hidden, text)
    for pattern in (_SCHEME, _USER, _KEY):
        text = pattern.sub(lambda found: f"{_before(found)}{MASK}", text)
    return text


def _hidden(found: re.Match[str], may_be: bool = True) -> str:
    """A name and a value, without the value if the name says that it is a secret."""
    name, value = found[1], found[2]
    is_amount = value.isdigit() and AMOUNT_NAME.search(name) is not None
    is_secret = may_be and SECRET_NAME.search(name) is not None and not is_amount
    return f"{_before(found)}{MASK}" if is_secret else found[0]


def _before(found: re.Match[str]) -> str:
    return found[0][: found.start(2) - found.start()]
