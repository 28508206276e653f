"""`MCPConfig`: the servers a program knows, from code or from a file."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, PrivateAttr, ValidationError, model_validator

from ..errors import ConfigError, UnknownServerError
from ..masking import MASK
from ..names import did_you_mean
from .entries import entry_error, listed, misplaced_key, prepare
from .files import Source, parse_file
from .keys import UnclearError, is_off, transport_of_entry
from .oauth import AUTH_KINDS, OAuthConfig
from .outline import redact_url, shown_arguments
from .references import Expanded, remarks, template_of
from .servers import (
    WHAT_TO_GIVE,
    BaseServerConfig,
    HttpConfig,
    ServerConfig,
    SseConfig,
    StdioConfig,
    transport_of,
)
from .session_keys import session_key_as_written
from .settings import SecretText, StrictModel

logger: logging.Logger = logging.getLogger("jackfield")

_MODELS: dict[str, type[StdioConfig | SseConfig | HttpConfig]] = {
    "stdio": StdioConfig,
    "sse": SseConfig,
    "streamable-http": HttpConfig,
}


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

    _problems: tuple[ConfigError, ...] = PrivateAttr(default=())

    @property
    def problems(self) -> Sequence[ConfigError]:
        """The problems of the entries that were omitted; each names file, server and key."""
        return self._problems

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        variables: Mapping[str, str] | None = None,
        strict: bool = False,
        inherit_as_program: bool = False,
    ) -> MCPConfig:
        """Read the configuration file of any MCP program: JSON, TOML or YAML.

        The file's location and name identify the program, or else its layout, and the program's rules apply: where the
        table of servers is, which references are replaced, and the unit of timeouts. In a file of an unknown program,
        `${VAR}`, `${VAR:-default}` and `${env:VAR}` are replaced. Relative paths in `command`, `cwd` and `verify` are
        relative to the file's folder, or to the project's if that folder belongs to a program, such as `.vscode`. A
        project's servers are started in the project's folder.

        An invalid entry is omitted, listed in `problems`, and logged as a warning.

        Args:
            path: The file; its extension selects the format.
            variables: Values for `${VAR}`; the environment if omitted.
            strict: Raise the first problem of an entry instead of omitting the entry.
            inherit_as_program: Pass servers the variables that the file's program passes, which may be all, instead
                of a few; `JACKFIELD_INHERIT=program` does the same for all files.

        Raises:
            ConfigError: The file cannot be read, or every entry is invalid; names file, server and key.
        """
        file = Path(path)
        source = replace(Source.given(file, "load()"), inherits_as_program=inherit_as_program)
        return cls._of(parse_file(file), source, variables, strict=strict)

    @classmethod
    def from_dict(
        cls,
        data: Mapping[str, Any],
        *,
        source: str = "configuration",
        folder: Path | None = None,
        variables: Mapping[str, str] | None = None,
    ) -> MCPConfig:
        """Create a config from a mapping in the layout of a file. See `load()`; an invalid entry is an error here.

        Args:
            data: The mapping.
            source: The name of the mapping in errors.
            folder: Where relative paths start; the current directory if omitted.
            variables: Values for `${VAR}`; the environment if omitted.

        Raises:
            ConfigError: An entry is invalid; names source, server and key.
        """
        if not isinstance(data, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(
                f"{source}: expected a mapping in the shape of a file, not {type(data).__name__}.",
                hint="For configurations that are made in Python: MCPConfig(servers=[StdioConfig(...), ...]).",
            )
        return cls._of(data, Source(Path(source), "", "given", folder or Path.cwd()), variables, strict=True)

    @classmethod
    def _of(
        cls, data: Mapping[str, Any], source: Source, variables: Mapping[str, str] | None, *, strict: bool
    ) -> MCPConfig:
        values = os.environ if variables is None else variables
        servers: list[BaseServerConfig] = []
        problems: list[ConfigError] = []
        source, entries = listed(data, source)
        for one in entries:
            try:
                if one.problem is not None:
                    raise one.problem
                if one.off_in is None and not _is_off(one.entry):
                    servers.append(read_server(one.name, one.entry, source, values))
                    for key, follows in remarks(one.entry, source.row, values.__contains__):
                        logger.warning("%s: server %r, key %r: %s", source.path, one.name, key, follows)
            except ConfigError as error:
                problems.append(error)
        if problems and (strict or not servers):
            raise problems[0]
        config = cls(servers=cast("list[Any]", servers))
        for problem in problems:
            logger.warning("Left out: %s", problem.message)
        config._problems = tuple(problems)
        return config

    def __iter__(self) -> Iterator[ServerConfig]:  # type: ignore[override]
        return iter(self.servers)

    def __len__(self) -> int:
        return len(self.servers)

    def __contains__(self, server_name: object) -> bool:
        return any(server.server_name == server_name for server in self.servers)

    def __getitem__(self, server_name: str) -> ServerConfig:
        """The server of that name.

        Raises:
            UnknownServerError: There is none; the hint has the nearest names. Or its entry is wrong: it says how.
        """
        for server in self.servers:
            if server.server_name == server_name:
                return server
        for problem in self._problems:
            if problem.server_name == server_name:
                raise UnknownServerError(
                    f"The server {server_name!r} was left out. {problem.message}",
                    server_name=server_name,
                    sent=False,
                    hint=problem.hint,
                )
        raise UnknownServerError(
            f"There is no server {server_name!r}.",
            server_name=server_name,
            sent=False,
            hint=did_you_mean(server_name, self.names, "server"),
        )

    @property
    def names(self) -> list[str]:
        """The servers' names, in the order given."""
        return [server.server_name for server in self.servers]

    def to_portable(self) -> dict[str, Any]:
        """The config as plain data that can be stored, with templates such as `${TOKEN}` and without secrets.

        A secret that was given literally becomes `**********`; loading this raises an error that says so.
        """
        return {"servers": [_portable(server) for server in self.servers]}


def _portable(server: BaseServerConfig) -> dict[str, Any]:
    given = {name: getattr(server, name) for name in type(server).model_fields if name in server.model_fields_set}
    if not isinstance(given.get("auth"), str | OAuthConfig):
        given.pop("auth", None)
    stored = {name: _stored(value) for name, value in given.items()}
    if isinstance(url := given.get("url"), str) and not isinstance(url, Expanded):
        stored["url"] = template_of(redact_url(url, userinfo=f"{MASK}@"))
    if args := cast("list[str]", given.get("args")):
        hidden = shown_arguments(args)
        stored["args"] = [
            template_of(text if isinstance(text, Expanded) else rest) for text, rest in zip(args, hidden, strict=True)
        ]
    return {**stored, "server_name": server.server_name, "transport": transport_of(server)}


def _stored(value: object) -> Any:
    """A field's value as a file would have it."""
    if isinstance(value, SecretText):
        return value.template or MASK
    if isinstance(value, str | Path):
        return template_of(value)
    if isinstance(value, BaseModel):
        return {
            name: _stored(getattr(value, name)) for name in type(value).model_fields if name in value.model_fields_set
        }
    if isinstance(value, dict):
        return {name: _stored(item) for name, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_stored(item) for item in cast("list[object]", value)]
    return value


def _is_off(entry: Mapping[str, Any]) -> bool:
    try:
        return is_off(entry)
    except UnclearError:
        return False  # an error when it is read


def read_server(
    name: str, entry: Mapping[str, Any], source: Source, variables: Mapping[str, str] | None
) -> ServerConfig:
    """Create one server's configuration from its entry in a file.

    Args:
        name: The server.
        entry: As written in the file.
        source: Where it stands.
        variables: Values for `${VAR}`; `None` is the environment, and keeps references that are not set.

    Raises:
        ConfigError: The entry is wrong; names source, server and key.
    """
    return checked_server(name, prepare(name, entry, source, variables), str(source.path))


def checked_server(name: str, prepared: Mapping[str, Any], source: str) -> ServerConfig:
    """Make one server's configuration of an entry that `prepare()` made ready.

    Args:
        name: The server.
        prepared: Its entry.
        source: The file's name in errors.

    Raises:
        ConfigError: The entry is wrong; names source, server and key.
    """
    # The model that is meant, not the union of all: only what is used is built.
    transport = transport_of_entry(prepared)
    if transport == "in-process":
        problem = "'in-process' is for server objects in code; a file cannot hold one."
        hint = "Give InProcessConfig(server_name=..., server=...) to MCPConfig or open_session()."
        raise entry_error(source, name, "transport", problem, hint)
    if transport is None or (model := _MODELS.get(transport)) is None:
        raise entry_error(source, name, "transport", WHAT_TO_GIVE + ".")
    try:
        return model.model_validate(prepared)
    except ValidationError as error:
        if (problem := misplaced_key(prepared, transport)) is not None:
            raise entry_error(source, name, "", problem) from None
        key, problem = _first_key_and_problem(error)
        key = session_key_as_written(key, prepared)
        if key.startswith("sessionConfig"):
            problem = problem.removesuffix(": is it milliseconds?")
        raise entry_error(source, name, key, problem if problem.endswith("?") else f"{problem}.") from None


def first_problem(error: ValidationError) -> str:
    """The first problem in one line, in the words of a file, without any value."""
    key, problem = _first_key_and_problem(error)
    return f"{key}: {problem}" if key else problem


def _first_key_and_problem(error: ValidationError) -> tuple[str, str]:
    """Where and what the first problem is, in the words of the file rather than of the models."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    path = [str(part) for part in first["loc"] if part not in ("stdio", "sse", "streamable-http", *AUTH_KINDS)]
    message = first["msg"].removeprefix("Value error, ").partition(", unable to ")[0].replace("be a valid ", "be a ")
    if first["type"] == "missing":
        message = "this key is missing"
    return ".".join(path), message[:1].lower() + message[1:]
