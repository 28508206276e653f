"""Adds an entry to the text of a configuration file, which otherwise stays as it is: comments, order, line ends."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

from ..plain import as_table
from .files import PARTS


class _Place(NamedTuple):
    """Where something can be inserted into an object of a JSON text."""

    start: int
    """Behind the last member, or behind the opening brace."""
    is_empty: bool
    has_comma: bool
    """Whether a comma stands behind the last member."""
    depth: int
    """How many of the keys lead to this object."""


def with_entry(text: str, table: Sequence[str], name: str, entry: Mapping[str, Any], ending: str) -> str:
    """The text with one more entry in a table of servers, which is made if it is not there.

    Args:
        text: The file; for JSON at least `{}`.
        table: The keys that lead to the table.
        name: The server.
        entry: Its entry.
        ending: Of the file's name: `.toml`, `.yaml`, or JSON.
    """
    if ending in (".yaml", ".yml"):
        return _with_yaml(text, table, name, entry)
    if ending == ".toml":
        return _with_toml(text, table, name, entry)
    newline = "\r\n" if "\r\n" in text else "\n"
    place = _place(text, table)
    missing = [*table[place.depth :], name]
    value = entry
    for key in reversed(missing[1:]):
        value = {key: value}
    indent = _indent(text)
    margin = indent * (place.depth + 1)
    member = f"{json.dumps(missing[0], ensure_ascii=False)}: {json.dumps(value, indent=indent, ensure_ascii=False)}"
    member = newline.join(margin + line for line in member.splitlines())
    comma = "" if place.is_empty or place.has_comma else ","
    rest = text[place.start :]
    close = newline + indent * place.depth if place.is_empty and rest.lstrip(" \t").startswith("}") else ""
    if close:
        rest = rest.lstrip(" \t")
    return f"{text[: place.start]}{comma}{newline}{member}{',' if place.has_comma else ''}{close}{rest}"


def _place(text: str, table: Sequence[str]) -> _Place:
    """The end of the innermost object that there is of those that the keys lead to."""
    path: list[str | None] = []  # the key that each open bracket is the value of
    best: _Place | None = None
    key: str | None = None
    before = ""
    ends: list[
        tuple[int, bool, bool]
    ] = []  # of each open bracket: behind its last part, whether empty, ends in a comma
    for match in PARTS.finditer(text):
        part = match[0]
        if part.startswith(("//", "/*")) or not part.strip() or part == "\ufeff":
            continue
        if part in "}]":
            end, is_empty, has_comma = ends.pop()
            inner = path[1:]
            if part == "}" and inner == list(table[: len(inner)]) and (best is None or len(inner) > best.depth):
                best = _Place(end, is_empty, has_comma, len(inner))
            path.pop()
        if ends and part not in "}]":
            ends[-1] = (match.end(), False, part == ",")
        if part in "{[":
            path.append(key if before == ":" or not path else None)
            ends.append((match.end(), True, False))
            key = None
        elif part in "}]":
            if ends:
                ends[-1] = (match.end(), False, False)
        elif part.startswith('"'):
            key = json.loads(part) if before != ":" else key
        before = ":" if part.startswith(":") or part.endswith(":") else part
        if part == ",":
            key = None
    assert best is not None
    return best


def _indent(text: str) -> str:
    found = re.search(r'\n([ \t]+)"', text)
    return found[1] if found else "  "


def _with_yaml(text: str, table: Sequence[str], name: str, entry: Mapping[str, Any]) -> str:
    """Behind the last line of the table, which is written with indentation; a table in braces is only replaced if it is
    empty."""
    newline = "\r\n" if "\r\n" in text else "\n"
    (key,) = table
    lines = text.splitlines(keepends=True)
    head = next((number for number, line in enumerate(lines) if re.match(rf"{re.escape(key)}[ \t]*:", line)), None)
    if head is None:
        gap = "" if not text or text.endswith("\n") else newline
        return f"{text}{gap}{key}:{newline}{_yaml({name: entry}, '  ', newline)}"
    after, margin = head + 1, "  "
    for number, line in enumerate(lines[head + 1 :], head + 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        indent = line[: len(line) - len(line.lstrip())]
        if not indent:
            break
        margin = indent if after == head + 1 else margin
        after = number + 1
    lines[head] = re.sub(r":[ \t]*(\{[ \t]*\}|null|~)", ":", lines[head], count=1)
    if not lines[after - 1].endswith("\n"):
        lines[after - 1] += newline
    return "".join([*lines[:after], _yaml({name: entry}, margin, newline), *lines[after:]])


def _yaml(table: Mapping[str, Any], margin: str, newline: str) -> str:
    """A table with indentation; texts, numbers, truth values and lists of them are written alike in JSON and YAML."""
    pieces: list[str] = []
    for key, value in table.items():
        word = key if re.fullmatch(r"[A-Za-z]\w*", key) and key.lower() not in _YAML_WORDS else json.dumps(key)
        if isinstance(value, Mapping) and value:
            inner = _yaml(as_table(cast("object", value)), margin + "  ", newline)
            pieces.append(f"{margin}{word}:{newline}{inner}")
        else:
            pieces.append(f"{margin}{word}: {_toml(cast('object', value))}{newline}")
    return "".join(pieces)


_YAML_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def _with_toml(text: str, table: Sequence[str], name: str, entry: Mapping[str, Any]) -> str:
    newline = "\r\n" if "\r\n" in text else "\n"
    lines: list[str] = []
    head = [*table, name]
    inner = {key: as_table(cast("object", value)) for key, value in entry.items() if isinstance(value, Mapping)}
    lines.append(_header(head))
    lines += [f"{_key(key)} = {_toml(value)}" for key, value in entry.items() if key not in inner]
    for key, value in inner.items():
        lines += ["", _header([*head, key]), *(f"{_key(one)} = {_toml(item)}" for one, item in value.items())]
    gap = "" if not text else newline if text.endswith("\n") else newline * 2
    return f"{text}{gap}{newline.join(lines)}{newline}"


def _header(keys: Sequence[str]) -> str:
    return f"[{'.'.join(map(_key, keys))}]"


def _key(key: str) -> str:
    return key if _BARE.fullmatch(key) else json.dumps(key, ensure_ascii=False)


def _toml(value: object) -> str:
    # Strings, numbers, truth values and lists of them are written alike in JSON and TOML.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
