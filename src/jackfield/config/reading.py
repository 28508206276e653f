"""The servers in a file: where their table is, what in it is no server, and what is wrong with one entry only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from ..errors import ConfigError, did_you_mean
from ..plain import as_list, as_table
from .files import double_key, parse_file
from .programs.apps import ANY
from .programs.table import Program
from .source import Source, is_comment, recognised, writer_of


class Listed(NamedTuple):
    """A server in a file."""

    name: str
    entry: dict[str, Any]
    problem: ConfigError | None = None
    """What is wrong with the entry itself, whatever it says."""
    off_in: Path | None = None
    """The file that turns it off elsewhere than in its entry."""


def listed(data: Mapping[str, Any], source: Source) -> tuple[Source, list[Listed]]:
    """The source with the program that the file turned out to belong to, and its servers.

    A file that was found without being named may have none.

    Raises:
        ConfigError: It was named, and has none of the known shapes.
    """
    part: object = data
    for key in source.under:
        part = as_table(part).get(key)
    tables = _tables(as_table(part), source.row)
    if not tables:
        source, tables = _by_shape(data, source, as_table(part))
    elif not source.row.name and (program := writer_of(tables[0][0])) is not None:
        source = replace(source, owner=program.name)
    top = as_table(part)
    _check_doubles(data, source)
    servers: dict[str, Listed] = {}
    for content, where in tables:
        for server in _of_table(content, where, source):
            if server.name in servers:
                text = f"{source.path}: two servers are named {server.name!r}."
                problem = ConfigError(text, server_name=server.name, problem="two servers have this name.")
                servers[server.name] = server._replace(problem=problem)
            else:
                servers[server.name] = server
    return source, list(_switched(servers.values(), top, source))


def _tables(part: Mapping[str, Any], program: Program) -> list[tuple[object, str]]:
    """The tables of servers in a part of a file, each with its name; the longer of two that lie in one another."""
    found: list[tuple[object, str]] = []
    seen: list[tuple[str, ...]] = []
    for keys in program.tables:
        content: object = part
        for key in keys:
            content = as_table(content).get(key)
        if content is not None and not any(one[: len(keys)] == keys for one in seen):
            seen.append(keys)
            found.append((content, ".".join(keys)))
    return found


def _check_doubles(data: Mapping[str, Any], source: Source) -> None:
    """Refuse a file in which a table of servers stands twice: parsers keep only one of the two."""
    part: object = data
    for key in (*source.under, None):
        twice = double_key(part)
        if twice is not None and (twice == key or any(twice == keys[0] for keys in (*source.row.tables, *ANY.tables))):
            raise ConfigError(
                f"{source.path}: the key {twice!r} stands twice in one table.", hint="Keep one of the two."
            )
        part = as_table(part).get(key) if key is not None else None


def _by_shape(
    data: Mapping[str, Any], source: Source, part: Mapping[str, Any]
) -> tuple[Source, list[tuple[object, str]]]:
    """The tables of a file that is not written as its program would."""
    if tables := _tables(part, ANY):
        return source, tables
    is_of_servers = source.scope == "given" or "mcp" in source.path.name
    shape = recognised(data) if is_of_servers else None
    if shape is not None:
        program, under = shape
        source = replace(source, owner=program.name or source.owner, under=under)
        inner: object = data
        for key in under:
            inner = as_table(inner).get(key)
        if program.name:
            return source, _tables(as_table(inner), program)
        return source, _tables(data, ANY) or [(data, "it")]
    if source.scope == "given":
        nearby = did_you_mean(next(iter(data), ""), [keys[0] for keys in ANY.tables[:4]], "table") if data else ""
        raise ConfigError(
            f"{source.path}: no table of servers in it.",
            hint=f'{nearby} Write {{"mcpServers": {{"name": {{"command": "..."}}}}}}.'.strip(),
        )
    return source, []


def _of_table(content: object, where: str, source: Source) -> Iterator[Listed]:
    twice = double_key(content)
    if isinstance(content, Mapping):
        pairs = [(str(name), entry) for name, entry in cast("Mapping[Any, object]", content).items()]
    elif isinstance(content, Sequence) and not isinstance(content, str):
        pairs = list(_named(cast("Sequence[object]", content), where, source))
    elif isinstance(content, str):  # a plugin of Claude Code
        raise ConfigError(f"{source.path}: {where} is in another file.", hint=f"Load that one: {content}")
    else:
        raise ConfigError(f"{source.path}: {where} must be a table of servers by name.")
    for name, entry in pairs:
        if isinstance(entry, _NoNameError):
            yield Listed(name, {}, entry.error)
        elif isinstance(entry, Mapping):
            table = cast("Mapping[Any, Any]", entry)
            is_note = is_comment(name) and not {"command", "url", "type"} & set(table)
            if is_note or _is_no_server(table, source.row):
                continue
            key = name if name == twice else double_key(table, is_deep=True)
            problem = None if key is None else _double(source, name, key)
            yield Listed(name, {str(key): value for key, value in table.items()}, problem)
        elif entry is not None and not is_comment(name) and not _is_switch_of_table(name):
            message = f"{source.path}: server {name!r} must be a table."
            yield Listed(name, {}, ConfigError(message, server_name=name, problem="it must be a table."))


def _double(source: Source, name: str, key: str) -> ConfigError:
    problem = f"the key {key!r} stands twice in one table."
    return ConfigError(
        f"{source.path}: server {name!r}: {problem}", server_name=name, problem=problem, hint="Keep one of the two."
    )


class _NoNameError:
    def __init__(self, error: ConfigError) -> None:
        self.error = error


def _named(entries: Sequence[object], where: str, source: Source) -> Iterator[tuple[str, object]]:
    for number, entry in enumerate(entries, 1):
        table = as_table(entry)
        names = [table.get(key) for key in ("server_name", "name", "id")]
        name = next((one for one in names if isinstance(one, str)), None)
        if name is not None:
            yield name, {key: value for key, value in table.items() if key not in ("name", "id")}
        elif "uses" not in table and not (source.row.name == "Continue" and isinstance(entry, str)):
            problem = f"entry {number} of {where} has no server_name."
            yield (
                f"entry {number}",
                _NoNameError(ConfigError(f"{source.path}: {problem}", server_name=f"entry {number}", problem=problem)),
            )


def _is_switch_of_table(name: str) -> bool:
    return name in ("disabled", "enabled", "inputs", "version", "schema")


_INSIDE = frozenset({"builtin", "platform", "frontend", "inline_python"})
"""Types of servers that are a part of Goose."""


def _is_no_server(entry: Mapping[Any, Any], program: Program) -> bool:
    """Whether an entry only configures what its program brings itself: there is nothing to start or reach."""
    if program.name == "Goose":
        return entry.get("type") in _INSIDE
    if program.name == "Zed":  # an extension brings the command
        return not {"command", "url"} & set(entry)
    if program.name == "opencode":  # a server of the organization
        return set(entry) <= {"enabled", "disabled"}
    return False


def _switched(servers: Iterable[Listed], top: Mapping[str, Any], source: Source) -> Iterator[Listed]:
    """Servers with what the rest of the file says of them: which are on, and which of their tools."""
    program = source.row
    allowed = [_at(top, keys) for keys in program.allowed_names]
    only = next((set(map(str, as_list(cast("object", names)))) for names in allowed if isinstance(names, list)), None)
    denied = {str(name) for keys in program.denied_names for name in as_list(_at(top, keys))}
    switches = {
        pattern: value
        for keys in program.tool_switches
        for pattern, value in as_table(_at(top, keys)).items()
        if value is False or value == "deny"
    }
    elsewhere = _denied_elsewhere(source)
    for server in servers:
        is_off = server.name in denied or (bool(only) and server.name not in (only or ()))
        off_in = source.path if is_off else elsewhere.get(server.name)
        off = [tool for pattern in switches if (tool := _tool_of(pattern, server.name)) is not None]
        if off:
            server.entry.setdefault("disabledTools", off)
        yield server._replace(off_in=off_in)


def _denied_elsewhere(source: Source) -> dict[str, Path]:
    """The servers of a project's file that another file of the program turns off, and that file."""
    denied: dict[str, Path] = {}
    if source.default_folder is None:
        return denied
    for place in source.row.denied_in:
        file = Path(place.path).expanduser() if place.is_of_user else source.folder / place.path
        try:
            names = _at(parse_file(file), place.under) if file.is_file() else None
        except (ConfigError, OSError):
            continue  # it has no servers
        for name in as_list(names):
            denied.setdefault(str(name), file)
    return denied


def _at(table: Mapping[str, Any], keys: Sequence[str]) -> object:
    value: object = table
    for key in keys:
        value = as_table(value).get(key)
    return value


def _tool_of(pattern: str, server: str) -> str | None:
    """What a pattern of opencode's tool names, which begin with their server's, means for one server's tools."""
    prefix = f"{server}_"
    if pattern.startswith(prefix):
        return pattern.removeprefix(prefix)
    return "*" if pattern.endswith("*") and prefix.startswith(pattern[:-1]) else None
