"""Reads configuration files: JSON, TOML and YAML to plain data, the servers in it, a file's owner, and the base of its
relative paths. Does not use the models."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigError, did_you_mean

OF_PROJECTS = {
    "jackfield.json": "Jackfield",
    ".mcp.json": "Claude Code",
    ".vscode/mcp.json": "VS Code",
    ".cursor/mcp.json": "Cursor",
    ".codex/config.toml": "Codex",
    ".gemini/settings.json": "Gemini",
    ".zed/settings.json": "Zed",
    "mcp.json": "any program",
}
"""The files of a project, and whose they are. The last is what a file is called that no program has a name for; it
must come after those of the same name in a program's folder."""

TABLES = ("mcpServers", "servers", "mcp_servers", "context_servers")
"""Claude, Cursor and most others; VS Code and AG2; Codex; Zed."""


def parse_file(file: Path) -> Mapping[str, Any]:
    """Read a file by its ending.

    Raises:
        ConfigError: It cannot be read, or is malformed; tells line and column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
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
    except _DoubleKeyError as error:
        raise ConfigError(f"{file}: {error}.", hint="Keep one of the two.") from None
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{file}: expected a table of servers at the top.", hint='Write {"mcpServers": {"name": {...}}}.'
        )
    return cast("Mapping[str, Any]", data)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


class _DoubleKeyError(ValueError):
    """A table has the same key twice; parsers would silently drop one."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DoubleKeyError(f"the key {twice!r} stands twice in one table")
    return table


_JSONC = re.compile(
    r'"(?:[^"\\\n]|\\.)*"|(?P<comment>//[^\n]*|/\*.*?\*/)|(?P<comma>,)(?=(?:\s|//[^\n]*|/\*.*?\*/)*[}\]])', re.DOTALL
)


def _parse_json(text: str) -> object:
    """Also with the comments and the commas before a closing bracket that editors take."""
    try:
        return json.loads(text, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError:

        def blank(match: re.Match[str]) -> str:
            is_extra_comma = match["comma"] and not text[: match.start()].rstrip().endswith(("{", "[", ","))
            # Blanks instead of nothing: an error still names the right line and column.
            return re.sub(r"[^\n]", " ", match[0]) if match["comment"] or is_extra_comma else match[0]

        return json.loads(_JSONC.sub(blank, text), object_pairs_hook=_each_key_once)


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
            _each_key_once([(key, None) for key in keys])
            self.flatten_mapping(node)
            construct = cast("Callable[..., Any]", self.construct_object)  # pyright: ignore[reportUnknownMemberType]
            return {str(key.value): construct(value, deep=True) for key, value in node.value}

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


def server_entries(data: Mapping[str, Any], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The servers of a file, by name, whichever of the common shapes it has.

    Raises:
        ConfigError: It has none of the shapes.
    """
    tables = [name for name in TABLES if name in data]
    if not tables:
        nearby = did_you_mean(next(iter(data), ""), TABLES, "table") if data else ""
        raise ConfigError(
            f"{source}: no table of servers in it.",
            hint=f'{nearby} Write {{"mcpServers": {{"name": {{"command": "..."}}}}}}.'.strip(),
        )
    for table in tables:
        content = data[table]
        if isinstance(content, Mapping):
            pairs = [(str(name), entry) for name, entry in cast("Mapping[Any, Any]", content).items()]
        elif isinstance(content, Sequence) and not isinstance(content, str):
            pairs = [
                (_listed_name(entry, index, source, table), entry)
                for index, entry in enumerate(cast("Sequence[Any]", content))
            ]
        else:
            raise ConfigError(f"{source}: {table} must be a table of servers by name.")
        for name, entry in pairs:
            if not isinstance(entry, Mapping):
                message = f"{source}: server {name!r} must be a table."
                raise ConfigError(message, server_name=name, problem="it must be a table.")
            yield name, {str(key): value for key, value in cast("Mapping[Any, Any]", entry).items()}


def is_disabled(entry: Mapping[str, Any]) -> bool:
    """Whether its file turns a server off."""
    return entry.get("disabled") is True or entry.get("enabled") is False


def _listed_name(entry: Any, index: int, source: str, table: str) -> str:
    name = cast("Mapping[str, Any]", entry).get("server_name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"{source}: entry {index + 1} of {table} has no server_name.")
    return name


def starting_folder(file: Path) -> Path:
    """The base of relative paths in a file: its folder, or the project if the folder belongs to a program (`.vscode`).

    In the home folder, it is the user's own file, not a project's.
    """
    project, _ = _kept_at(file)
    return file.absolute().parent if project is None or str(project) == os.path.expanduser("~") else project


def program_of(file: Path) -> str:
    """Whose file it is, by the place at which a program keeps its own, or by its name; empty if that tells nothing."""
    return _kept_at(file)[1] or ("LibreChat" if file.name in ("librechat.yaml", "librechat.yml") else "")


def _kept_at(file: Path) -> tuple[Path | None, str]:
    """The folder in which a program keeps such a file for a project, and the program."""
    path = file.absolute()
    for name, program in OF_PROJECTS.items():
        parts = Path(name).parts
        project = path.parents[min(len(parts), len(path.parents)) - 1]
        if project / name == path:
            return project, program
    return None, ""
