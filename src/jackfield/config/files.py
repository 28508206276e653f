"""Reads configuration files: JSON, TOML and YAML to plain data. Does not use the models."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError


def parse_file(file: Path, text: str | None = None) -> Mapping[str, Any]:
    """Read a file by its ending.

    Args:
        file: The file.
        text: Its content; what is there if omitted.

    Raises:
        ConfigError: It cannot be read, or is malformed; tells line and column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig") if text is None else text
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.", hint="Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: this is a folder.", hint="Name the file in it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({_reason(error)}).") from None
    ending = file.suffix.lower()
    try:
        if ending == ".toml":
            data: object = _parse_toml(text, file)
        elif ending in (".yaml", ".yml"):
            data = _parse_yaml(text, file)
        else:
            data = _parse_json(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{file}: expected a table of servers at the top.", hint='Write {"mcpServers": {"name": {...}}}.'
        )
    return cast("Mapping[str, Any]", data)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


class _Table(dict[str, Any]):
    """A table that tells which of its keys stands twice; parsers silently drop one."""

    __slots__ = ("double",)
    double: str

    @classmethod
    def marked(cls, table: Mapping[str, Any], double: str) -> _Table:
        self = cls(table)
        self.double = double
        return self


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) == len(pairs):
        return table
    keys = [key for key, _ in pairs]
    return _Table.marked(table, next(key for key in keys if keys.count(key) > 1))


def double_key(value: object, *, is_deep: bool = False) -> str | None:
    """A key that stands twice in a table, or with `is_deep` in one of the tables in it."""
    if isinstance(value, _Table):
        return value.double
    if not is_deep:
        return None
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    return next((key for item in inner if (key := double_key(item, is_deep=True)) is not None), None)


PARTS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|[,{}\[\]]|[^\s",/{}\[\]]+|.')
"""The parts of a JSON text with comments: strings, comments, brackets, commas, all else, blanks."""


def _parse_json(text: str) -> object:
    """Also with the comments and the commas before a closing bracket that editors take."""
    try:
        return json.loads(text, object_pairs_hook=_table)
    except json.JSONDecodeError:
        return json.loads(_strict(text), object_pairs_hook=_table)


def _strict(text: str) -> str:
    """The text with blanks in place of comments and extra commas, so that an error names the right line and column."""
    blanks: list[tuple[int, int]] = []
    before, comma = "", None
    for match in PARTS.finditer(text):
        part = match[0]
        if part.startswith(("//", "/*")):
            blanks.append(match.span())
            continue
        if part == ",":
            comma = None if before in ("", "{", "[", ",") else match.span()
        elif part.strip():
            if part in ("}", "]") and comma is not None:
                blanks.append(comma)
            comma = None
        else:
            continue
        before = part
    pieces: list[str] = []
    position = 0
    for start, end in sorted(blanks):
        pieces += [text[position:start], re.sub(r"[^\n]", " ", text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])


def _parse_toml(text: str, file: Path) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, where = str(error).removesuffix(")").partition(" (at ")
        raise ConfigError(f"{file}: {where}: {problem}.") from None


def _parse_yaml(text: str, file: Path) -> object:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ConfigError(
            f"{file}: reading YAML needs the package 'pyyaml'.", hint="Install it with: pip install 'jackfield[yaml]'"
        ) from None

    class Loader(yaml.SafeLoader):
        """Takes keys as they are written: `ON` is the name of a variable, not a truth value."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [str(key.value) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            self.flatten_mapping(node)
            construct = cast("Callable[..., Any]", self.construct_object)  # pyright: ignore[reportUnknownMemberType]
            table = {str(key.value): construct(value, deep=True) for key, value in node.value}
            twice = next((key for key in keys if keys.count(key) > 1), None)
            return table if twice is None else _Table.marked(table, twice)

    def construct(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        return loader.construct_mapping(node)

    Loader.add_constructor("tag:yaml.org,2002:map", construct)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{file}: {where}{error.problem}.") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        raise ConfigError(f"{file}: {where}: the character {chr(error.character)!r} is not allowed.") from None
