"""The servers in a file: where their table is, and which entries are servers; and an entry made ready for the models:
in our words, references replaced, paths absolute. Uses no models.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeGuard, cast

from ..errors import ConfigError
from ..masking import MASK
from ..names import did_you_mean, nearest
from ..plain import as_list, as_table
from .files import Source, double_key, is_comment, parse_file, part_of, recognised, writer_of
from .keys import KEYS, SESSION_SETTINGS, UnclearError, in_our_words, is_off, transport_of_entry, unknown_key
from .programs.apps import ANY
from .programs.table import OF_THE_SDK, Program
from .references import Expanded, ExpansionError, expand, rewritten, runs_shell, template_of, variables_in


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
    top = part_of(data, source.under)
    tables = _tables(top, source.row)
    if not tables:
        source, tables = _by_shape(data, source, top)
    elif not source.row.name and (program := writer_of(tables[0][0])) is not None:
        source = replace(source, owner=program.name)
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


def _tables(part: object, program: Program) -> list[tuple[object, str]]:
    """The tables of servers in a part of a file, each with its name; the longer of two that lie in one another."""
    found: list[tuple[object, str]] = []
    seen: list[tuple[str, ...]] = []
    for keys in program.tables:
        content = part_of(part, keys)
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
                f"{source.path}: the key {twice!r} appears twice in one table.", hint="Keep one of the two."
            )
        part = None if key is None else part_of(part, [key])


def _by_shape(data: Mapping[str, Any], source: Source, part: object) -> tuple[Source, list[tuple[object, str]]]:
    """The tables of a file that is not written as its program would."""
    if tables := _tables(part, ANY):
        return source, tables
    is_of_servers = source.scope == "given" or "mcp" in source.path.name
    shape = recognised(data) if is_of_servers else None
    if shape is not None:
        program, under = shape
        source = replace(source, owner=program.name or source.owner, under=under)
        if program.name:
            return source, _tables(part_of(data, under), program)
        return source, _tables(data, ANY) or [(data, "it")]
    if source.scope == "given":
        nearby = did_you_mean(next(iter(data), ""), [keys[0] for keys in ANY.tables[:4]], "table") if data else ""
        raise ConfigError(
            f"{source.path}: it contains no table of servers.",
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
    problem = f"the key {key!r} appears twice in one table."
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


def _switched(servers: Iterable[Listed], top: object, source: Source) -> Iterator[Listed]:
    """Servers with what the rest of the file says of them: which are on, and which of their tools."""
    program = source.row
    allowed = [part_of(top, keys) for keys in program.allowed_names]
    only = next((set(map(str, as_list(cast("object", names)))) for names in allowed if isinstance(names, list)), None)
    denied = {str(name) for keys in program.denied_names for name in as_list(part_of(top, keys))}
    switches = {
        pattern: value
        for keys in program.tool_switches
        for pattern, value in as_table(part_of(top, keys)).items()
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
            names = part_of(parse_file(file), place.under) if file.is_file() else None
        except (ConfigError, OSError):
            continue  # it has no servers
        for name in as_list(names):
            denied.setdefault(str(name), file)
    return denied


def _tool_of(pattern: str, server: str) -> str | None:
    """What a pattern of opencode's tool names, which begin with their server's, means for one server's tools."""
    prefix = f"{server}_"
    if pattern.startswith(prefix):
        return pattern.removeprefix(prefix)
    return "*" if pattern.endswith("*") and prefix.startswith(pattern[:-1]) else None


# One entry

_ALL_KEYS = frozenset[str]().union(*KEYS.values())
_TYPO = 0.8
"""How like a known key one must be to be a slip rather than another program's own."""


def entry_error(source: str, name: str, key: str, problem: str, hint: str | None = None) -> ConfigError:
    """The error for an invalid entry; names file, server and key."""
    at = f", key {key!r}" if key else ""
    message = f"{source}: server {name!r}{at}: {problem}"
    return ConfigError(message, server_name=name, key=key, problem=problem, hint=hint)


def prepare(name: str, entry: Mapping[str, Any], source: Source, variables: Mapping[str, str] | None) -> dict[str, Any]:
    """The entry in the form that the models accept.

    Args:
        name: The server.
        entry: As written in the file.
        source: Where it stands.
        variables: Values for `${VAR}`; `None` is the environment, and keeps references that are not set.

    Raises:
        ConfigError: A variable is not set, a key is not known, or it has neither a command nor a url.
    """
    file = str(source.path)
    try:
        is_off(entry)
    except UnclearError as error:
        raise entry_error(file, name, error.key, f"{error}.", "Write true or false.") from None
    values = os.environ if variables is None else variables
    folder, folders, row = source.file_folder, source.known_folders, source.row

    def expanded(value: Any, key: str) -> Any:
        if isinstance(value, str):
            if MASK in value and variables is not None:
                raise entry_error(
                    file, name, key, "the secret was not stored.", "Write it as ${VAR} and set that variable."
                )
            try:
                in_shell = has_shell and key.startswith("args")
                return expand(rewritten(value, row, folder, values.__contains__, in_shell=in_shell), values, folders)
            except ExpansionError as error:
                if variables is None:
                    return value
                raise entry_error(file, name, key, f"{error}.", error.hint) from None
        if isinstance(value, Mapping):
            return {str(k): expanded(v, f"{key}.{k}") for k, v in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [expanded(item, f"{key}[{index}]") for index, item in enumerate(cast("list[Any]", value))]
        return value

    ours = kept_keys(in_our_words(entry, row), source)
    has_shell = runs_shell(ours)
    data = {key: _anchored(key, expanded(value, key), source.folder) for key, value in ours.items()}
    if FROM_VARIABLES in data:
        _set_headers(data, values)
    if ENV_FILE in data:
        try:
            _set_variables(data)
        except ExpansionError as error:
            raise entry_error(file, name, ENV_FILE, f"{error}.", error.hint) from None
    data["server_name"] = name
    transport = transport_of_entry(data)
    if transport is None:
        unknown = next((key for key in data if key not in _ALL_KEYS), "")
        hint = did_you_mean(unknown, _ALL_KEYS, "key") if nearest(unknown, _ALL_KEYS) else None
        raise entry_error(file, name, unknown, "it has neither a command (stdio) nor a url (sse, http).", hint)
    if transport == "stdio" and source.default_folder is not None and not {"cwd", "working_dir"} & set(data):
        data["cwd"] = str(source.default_folder)
    if transport == "stdio" and "inherit_environment" not in data and (more := inherited(source)):
        data["inherit_environment"] = more
    return data


def inherited(source: Source) -> bool | list[str]:
    """What a server of a file inherits in addition to what all do, as `inherit_environment` has it: what its program
    names; what its program does not name only if that was asked for, since secrets may be among it."""
    given = source.row.inherits
    if isinstance(given, tuple):
        return sorted(set(given).difference(OF_THE_SDK))
    is_asked_for = source.inherits_as_program or os.environ.get("JACKFIELD_INHERIT", "").strip().lower() == "program"
    if not is_asked_for or given is None:
        return False
    return True if given == "everything" else ["*"]


FROM_VARIABLES = "env_http_headers"
"""Codex's table of headers and the variables that they come from. It stays in an entry that is imported: one whose
variable is not set is not sent, which no reference says."""

ENV_FILE = "env_file"
"""A file of variables for the server; those in its entry take precedence. It stays in an entry that is imported."""

_NOT_OF_MODELS = frozenset({FROM_VARIABLES, ENV_FILE})


def _set_variables(data: dict[str, Any]) -> None:
    given: object = data.pop(ENV_FILE)
    if not isinstance(given, str):
        raise ExpansionError("it must be the path of one file", "Give one path.")
    path = str.__str__(given)
    key = "environment" if "environment" in data else "env"
    found = {name: Expanded(value, f"${{file:{path}#{name}}}") for name, value in variables_in(path).items()}
    data[key] = {**found, **as_table(data.get(key))}


def _set_headers(data: dict[str, Any], values: Mapping[str, str]) -> None:
    names = as_table(data.pop(FROM_VARIABLES))
    headers = {
        name: Expanded(values[variable], f"${{{variable}}}")
        for name, variable in names.items()
        if isinstance(variable, str) and values.get(variable)
    }
    data["headers"] = {**headers, **as_table(data.get("headers"))}


def kept_keys(ours: Mapping[str, Any], source: Source) -> dict[str, Any]:
    """The keys of an entry in our words without those that its program passes over, and without those of another
    transport, which generators write."""
    kept = {key: value for key, value in ours.items() if _is_kept(key, source)}
    transport = transport_of_entry(kept)
    if transport not in KEYS or source.row.name == "Jackfield":
        return kept
    known = {*KEYS[transport], ENV_FILE if transport == "stdio" else FROM_VARIABLES}
    return {key: value for key, value in kept.items() if key in known or key not in _ALL_KEYS | _NOT_OF_MODELS}


# In a file of nobody knows which program, what may say how a server is started or used, such as `arguments`.
_MAY_MATTER = re.compile(
    r"(?<![a-z])(arg|env)|header|folder|(?<![a-z])(work|dir)|directory|command|cmd|ur[li](?![a-z])|auth(?!or)|token"
    r"|timeout|allow|deny|denied|disabl|enabl|exclu|inclu|tools",
    re.IGNORECASE,
)


def _is_kept(key: str, source: Source) -> bool:
    """Whether a key is ours or must be refused as a slip; others are another program's own, or comments."""
    if key in _ALL_KEYS | _NOT_OF_MODELS:
        return True
    if not source.row.name and (key in SESSION_SETTINGS or _MAY_MATTER.search(key)):
        return True
    return not is_comment(key) and (not source.is_foreign or _is_slip(key))


def misplaced_key(prepared: Mapping[str, Any], transport: str) -> str | None:
    """The problem with the first key of an entry that its transport does not have, if any."""
    unknown = next((key for key in prepared if key not in KEYS[transport]), None)
    if unknown is None:
        return None
    if {"command", "url"} <= set(prepared):
        return "it has both a command (stdio) and a url (sse, http); leave one out."
    if unknown in SESSION_SETTINGS:
        return f'{unknown!r} is a setting of its session: write "session": {{"{unknown}": ...}}.'
    return unknown_key([unknown], KEYS[transport])


_SLIPPED_FROM = [*_ALL_KEYS, "disabled", "enabled"]


def _is_slip(key: str) -> bool:
    key = key.lower()
    if any(_is_misspelt(key, known) for known in _SLIPPED_FROM):
        return True
    import difflib

    return bool(difflib.get_close_matches(key, _SLIPPED_FROM, n=1, cutoff=_TYPO))


def _is_misspelt(key: str, known: str) -> bool:
    """Whether two neighbours are swapped, or one letter is missing or too many: `evn`, `agrs`, `urll`."""
    if len(key) < 3 or abs(len(key) - len(known)) > 1:
        return False
    if len(key) == len(known):
        pairs = [(one, other) for one, other in zip(key, known, strict=True) if one != other]
        return len(pairs) == 2 and pairs[0] == pairs[1][::-1]
    longer, shorter = (key, known) if len(key) > len(known) else (known, key)
    return any(longer[:place] + longer[place + 1 :] == shorter for place in range(len(longer)))


_PLACES = (ENV_FILE, "working_dir", "cwd", "verify", "private_key_file", "client_assertion_file", "file")


def is_place(key: str, value: object) -> TypeGuard[str]:
    """Whether a value of an entry names a place, which is relative to the file; a bare command is one of the PATH."""
    return isinstance(value, str) and (key in _PLACES or (key == "command" and "/" in value))


def _anchored(key: str, value: Any, folder: Path) -> Any:
    """Take a relative path from the file's folder, as its author meant it."""
    if key in ("auth", "credentials", "oauth") and isinstance(value, dict):
        return {name: _anchored(name, item, folder) for name, item in cast("dict[str, Any]", value).items()}
    if not is_place(key, value):
        return value
    path = Path(value).expanduser()
    if path.is_absolute() and not value.startswith("~"):
        return value
    absolute = str(folder / path)
    if not isinstance(value, Expanded):
        return absolute
    template = value.template if path.is_absolute() else f"{template_of(folder)}/{value.template}"
    return Expanded(absolute, template)
