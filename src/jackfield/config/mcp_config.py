"""`MCPConfig`: the servers a program knows, from code or from a file."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, TypeAdapter, ValidationError, model_validator

from ..errors import ConfigError, UnknownServerError, did_you_mean, nearest
from .expand import MASK, Expanded, ExpansionError, expand, template_of
from .servers import (
    BaseServerConfig,
    HttpConfig,
    SecretText,
    ServerConfig,
    SseConfig,
    StdioConfig,
    redact_url,
    transport_of,
)
from .settings import StrictModel

_TABLES = ("mcpServers", "servers", "mcp_servers")
"""Claude, Cursor and most others; VS Code and AG2; Codex."""

_IGNORED = frozenset(
    {
        "alwaysAllow",
        "autoApprove",
        "description",
        "icon",
        "gallery",
        "version",
        "trust",
        "dev",
        "tools",
        "inputs",
        "$schema",
    }
)
"""What other programs keep beside a server's own settings and what means nothing here."""

_SERVER: TypeAdapter[ServerConfig] = TypeAdapter(ServerConfig)


class MCPConfig(StrictModel):
    """A set of servers with unique names.

    Iterate over it, look a server up with `config["name"]`, or read it from a file with `load()`.
    """

    servers: list[ServerConfig]

    @model_validator(mode="after")
    def _names_are_unique(self) -> MCPConfig:
        seen: set[str] = set()
        for server in self.servers:
            if server.server_name in seen:
                raise ValueError(f"two servers are named {server.server_name!r}; server names must be unique")
            seen.add(server.server_name)
        return self

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, variables: Mapping[str, str] | None = None) -> MCPConfig:
        """Read a JSON, TOML or YAML file in one of the field's common shapes.

        Understood are `mcpServers` (Claude, Cursor, ...), `servers` (VS Code, or a list with names)
        and `mcp_servers` (Codex). `${VAR}`, `${VAR:-default}` and `${env:VAR}` are replaced; relative
        paths in `command`, `cwd` and `verify` are taken from the file's folder.

        Args:
            path: The file; its ending tells the format.
            variables: Where `${VAR}` values come from; the environment if omitted.

        Raises:
            ConfigError: The file cannot be read, or an entry is wrong; names file, server and key.
        """
        file = Path(path)
        return cls.from_dict(_parse(file), source=str(file), folder=file.absolute().parent, variables=variables)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        source: str = "configuration",
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> MCPConfig:
        """Make a config of a mapping in the shape of a file. See `load()`.

        Args:
            data: The mapping.
            source: Its name in errors.
            folder: Where relative paths start; the current directory if omitted.
            variables: Where `${VAR}` values come from; the environment if omitted.

        Raises:
            ConfigError: An entry is wrong; names source, server and key.
        """
        values = os.environ if variables is None else variables
        servers: list[BaseServerConfig] = []
        for name, entry in _entries(data, source):
            if entry.get("disabled") is True or entry.get("enabled") is False:
                continue
            servers.append(_read_server(name, entry, source, folder or Path.cwd(), values))
        try:
            return cls(servers=cast("list[Any]", servers))
        except ValidationError as error:
            raise ConfigError(f"{source}: {first_problem(error)}") from None

    def __iter__(self) -> Iterator[ServerConfig]:  # type: ignore[override]
        return iter(self.servers)

    def __len__(self) -> int:
        return len(self.servers)

    def __contains__(self, server_name: object) -> bool:
        return any(server.server_name == server_name for server in self.servers)

    def __getitem__(self, server_name: str) -> ServerConfig:
        """The server of that name.

        Raises:
            UnknownServerError: There is none; the hint has the nearest names.
        """
        for server in self.servers:
            if server.server_name == server_name:
                return server
        raise UnknownServerError(
            f"No server is named {server_name!r}.",
            server_name=server_name,
            sent=False,
            hint=did_you_mean(server_name, self.names, "server"),
        )

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order given."""
        return [server.server_name for server in self.servers]

    def to_portable(self) -> dict[str, Any]:
        """The config as plain data that can be stored: templates such as `${TOKEN}` stay, secrets do not.

        A secret that was given in full becomes `**********`; reading it back is an error that says so.
        """
        return {"servers": [_portable(server) for server in self.servers]}


def _portable(server: BaseServerConfig) -> dict[str, Any]:
    given = {name: getattr(server, name) for name in type(server).model_fields if name in server.model_fields_set}
    given.pop("auth", None)
    stored = {name: _stored(value) for name, value in given.items()}
    if isinstance(url := given.get("url"), str) and not isinstance(url, Expanded):
        stored["url"] = template_of(redact_url(url, userinfo=f"{MASK}@"))
    return {**stored, "server_name": server.server_name, "transport": transport_of(server)}


def _stored(value: object) -> Any:
    """A field's value as a file would have it."""
    if isinstance(value, SecretText):
        return value.template or MASK
    if isinstance(value, str | Path):
        return template_of(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_unset=True)
    if isinstance(value, dict):
        return {name: _stored(item) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_stored(item) for item in cast("list[object]", value)]
    return value


def _parse(file: Path) -> Mapping[str, Any]:
    """Read the file by its ending; errors tell line and column."""
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
            data: object = tomllib.loads(text)
        elif ending in (".yaml", ".yml"):
            data = _parse_yaml(text, file)
        else:
            data = json.loads(text, object_pairs_hook=_each_key_once)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    except tomllib.TOMLDecodeError as error:
        problem, _, where = str(error).removesuffix(")").partition(" (at ")
        raise ConfigError(f"{file}: {where}: {problem}.") from None
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
    """A table has the same key twice, of which readers would silently drop one."""


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DoubleKeyError(f"the key {twice!r} stands twice in one table")
    return table


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


def _entries(data: Mapping[str, Any], source: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The servers of a file, whichever of the common shapes it has."""
    tables = [name for name in _TABLES if name in data]
    if not tables:
        nearby = did_you_mean(next(iter(data), ""), _TABLES, "table") if data else ""
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
                raise ConfigError(f"{source}: server {name!r} must be a table.", server_name=name)
            yield name, {str(key): value for key, value in cast("Mapping[Any, Any]", entry).items()}


def _listed_name(entry: Any, index: int, source: str, table: str) -> str:
    name = cast("Mapping[str, Any]", entry).get("server_name") if isinstance(entry, Mapping) else None
    if not isinstance(name, str):
        raise ConfigError(f"{source}: entry {index + 1} of {table} has no server_name.")
    return name


def _read_server(
    name: str, entry: dict[str, Any], source: str, folder: Path, variables: Mapping[str, str]
) -> BaseServerConfig:
    def wrong(key: str, problem: str, hint: str | None = None) -> ConfigError:
        at = f", key {key!r}" if key else ""
        return ConfigError(f"{source}: server {name!r}{at}: {problem}", server_name=name, hint=hint)

    folders = {"workspaceFolder": str(folder), "userHome": str(Path.home()), "pathSeparator": os.sep, "/": os.sep}

    def expanded(value: Any, key: str) -> Any:
        if isinstance(value, str):
            if MASK in value:
                raise wrong(key, "the secret was not stored.", "Write it as ${VAR} and set that variable.")
            try:
                return expand(value, variables, folders)
            except ExpansionError as error:
                raise wrong(key, f"{error}.", error.hint) from None
        if isinstance(value, Mapping):
            return {str(k): expanded(v, f"{key}.{k}") for k, v in cast("Mapping[Any, Any]", value).items()}
        if isinstance(value, list):
            return [expanded(item, f"{key}[{index}]") for index, item in enumerate(cast("list[Any]", value))]
        return value

    kept = {key: value for key, value in entry.items() if key not in _IGNORED | {"disabled", "enabled"}}
    if "type" in kept:
        kept.setdefault("transport", kept.pop("type"))
    if "serverUrl" in kept:  # Windsurf
        kept["url"] = kept.pop("serverUrl")
    data = {key: _anchored(key, expanded(value, key), folder) for key, value in kept.items()}
    data["server_name"] = name
    if transport_of(data) is None:
        known = StdioConfig.known_keys() | SseConfig.known_keys() | HttpConfig.known_keys()
        unknown = next((key for key in data if key not in known), "")
        hint = did_you_mean(unknown, known, "key") if nearest(unknown, known) else None
        raise wrong(unknown, "it has neither a command (stdio) nor a url (sse, http).", hint)
    try:
        return _SERVER.validate_python(data)
    except ValidationError as error:
        key, problem = _first_key_and_problem(error)
        raise wrong(key, f"{problem}.") from None


def _anchored(key: str, value: Any, folder: Path) -> Any:
    """Take a relative path from the file's folder, as its author meant it."""
    # A bare word is looked up on the PATH; only what names a place is relative to the file.
    is_path = key in ("working_dir", "cwd", "verify") or (key == "command" and isinstance(value, str) and "/" in value)
    if not is_path or not isinstance(value, str):
        return value
    path = Path(value).expanduser()
    if path.is_absolute() and not value.startswith("~"):
        return value
    absolute = str(folder / path)
    if not isinstance(value, Expanded):
        return absolute
    template = value.template if path.is_absolute() else f"{template_of(folder)}/{value.template}"
    return Expanded(absolute, template)


def first_problem(error: ValidationError) -> str:
    """The first problem in one line, in the words of a file, without any value."""
    key, problem = _first_key_and_problem(error)
    return f"{key}: {problem}" if key else problem


def _first_key_and_problem(error: ValidationError) -> tuple[str, str]:
    """Where and what the first problem is, in the words of the file rather than of the models."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = [str(part) for part in first["loc"] if part not in ("stdio", "sse", "streamable-http")]
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "missing":
        message = "this key is missing"
    return ".".join(path), message[:1].lower() + message[1:]
