"""A server's configuration on its way to the daemon, with its surroundings.

The caller's configuration is sent expanded with the caller's variables; expanded values keep their template, so
that no error or log of the daemon shows a secret. The caller's surroundings are sent as well (folder, the
variables a child inherits, `MCP_SESSION_*`): the server is started as the caller would have started it. Only the
configuration, not its surroundings, decides which session a call belongs to.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..config.launch import inherited_environment, withheld_variables
from ..config.references import Expanded, ExpandedPath
from ..errors import ConfigError
from ..plain import as_list, as_table

if TYPE_CHECKING:
    from pydantic import TypeAdapter

    from ..config.servers import BaseServerConfig
    from ..config.settings import SessionConfig

DAEMON_MARK = "JACKFIELD_KEPT_BY"
"""Carries the daemon's id in the environment of everything it starts, to find processes that a killed daemon left."""

SETTINGS = "MCP_SESSION_"
_EXPANDED = "$expanded"
_NO_PART_OF_A_SESSION = {"transport", "include", "exclude", "keep_alive", "volatile", "credentials"}


# On the caller's side: nothing here may import pydantic.


def to_wire(config: BaseServerConfig | Mapping[str, Any], origin: str | None = None) -> dict[str, Any]:
    """A configuration and its surroundings as JSON. Never print it: it contains secrets.

    Args:
        config: A configuration, or a mapping of its fields.
        origin: Its source. The same name and text in two places are two servers: a relative path in
            `args` means different things there.

    Raises:
        ConfigError: It has an `auth` object, which cannot be sent.
    """
    given = config if isinstance(config, Mapping) else _fields_set(config)
    # Those of a gateway's users: here there is one user.
    fields = {name: value for name, value in given.items() if name != "credentials"}
    auth = fields.get("auth")
    # Tokens of a sign-in are found by both; only an object of the caller's own stays with the caller.
    if auth is not None and not (isinstance(auth, str | bool | Mapping) or hasattr(auth, "model_fields_set")):
        raise ConfigError(
            f"Server {fields.get('server_name')!r} has an `auth` object, which cannot be passed to the background "
            "process.",
            server_name=str(fields.get("server_name")),
            hint="Give headers instead, or call it without a kept session.",
        )
    folder = None
    with contextlib.suppress(OSError):  # it may have been removed
        folder = os.getcwd()
    is_child, has_folder = "command" in fields, bool(fields.get("working_dir") or fields.get("cwd"))
    return {
        "config": _plain(fields),
        "origin": origin or (folder if is_child and not has_folder else None),
        "settings": {
            name.removeprefix(SETTINGS).lower(): text.strip()
            for name, text in os.environ.items()
            if name.startswith(SETTINGS) and text.strip()
        },
        "folder": folder if is_child else None,
        **(_surroundings(fields) if is_child else {"environment": {}, "withheld": []}),
    }


def _surroundings(fields: Mapping[str, Any]) -> dict[str, Any]:
    more: bool | list[str] = fields.get("inherit_environment", False)
    command, args = str(fields["command"]), [str(text) for text in as_list(fields.get("args"))]
    given = as_table(fields.get("environment", fields.get("env")))
    return {
        "environment": inherited_environment(command, args, given, more=more),
        "withheld": withheld_variables(command, args, given, more),
    }


def _fields_set(config: Any) -> dict[str, Any]:
    return {name: getattr(config, name) for name in config.model_fields_set} | {"server_name": config.server_name}


def _plain(value: Any, *, templates: bool = True) -> Any:
    """The value as JSON, with expanded values and, with `templates`, the templates that they were expanded from."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, str | Path):
        text = str.__str__(value) if isinstance(value, str) else str(value)
        return {_EXPANDED: [text, value.template]} if templates and isinstance(value, Expanded | ExpandedPath) else text
    if hasattr(value, "model_fields_set"):
        value = {name: getattr(value, name) for name in value.model_fields_set}
    if isinstance(value, Mapping):
        items = cast("Mapping[Any, Any]", value).items()
        return {str(name): _plain(item, templates=templates) for name, item in items}
    if isinstance(value, Sequence):
        return [_plain(item, templates=templates) for item in cast("Sequence[Any]", value)]
    return value


# In the background process.


def from_wire(message: Mapping[str, Any], daemon_id: str) -> tuple[BaseServerConfig, str]:
    """The configuration to open, and a fingerprint that is the same for the same configuration.

    Raises:
        ConfigError: It is wrong.
    """
    from pydantic import ValidationError

    from ..config.mcp_config import first_problem
    from ..config.servers import StdioConfig

    data = _revived(message["config"])
    name = data.get("server_name")
    try:
        given = _adapter().validate_python(data)
    except ValidationError as error:
        raise ConfigError(f"Server {name!r}: {first_problem(error)}.", server_name=name) from None
    config = given.model_copy(update={"session": _settings(given.session, message["settings"])})
    if isinstance(config, StdioConfig):
        config = _surrounded(config, message, daemon_id)
    return config, _fingerprint(given)


def _settings(given: SessionConfig, variables: Mapping[str, str]) -> SessionConfig:
    """The settings of a configuration, with defaults from the caller's `MCP_SESSION_*`."""
    from pydantic import ValidationError

    from ..config.mcp_config import first_problem
    from ..config.settings import CAN_BE_OFF, variable_text

    def text_of(field: str) -> str:
        return variables.get(field, "").strip()

    texts = {field: variable_text(field, text_of).lower() for field in type(given).model_fields}
    defaults = {
        field: None if text in ("none", "off") and field in CAN_BE_OFF else text
        for field, text in texts.items()
        if text
    }
    explicit = {field: getattr(given, field) for field in given.model_fields_set}
    try:
        return type(given).model_validate({**defaults, **explicit})
    except ValidationError as error:
        field, _, problem = first_problem(error).partition(": ")
        raise ConfigError(
            f"The environment variable {SETTINGS}{field.upper()} is wrong: {problem}.", hint="Fix or unset it."
        ) from None


@cache
def _adapter() -> TypeAdapter[BaseServerConfig]:
    from pydantic import TypeAdapter

    from ..config.servers import ServerConfig

    return TypeAdapter(ServerConfig)


def _surrounded(config: Any, message: Mapping[str, Any], daemon_id: str) -> BaseServerConfig:
    from .started_config import StartedConfig

    folder = message.get("folder")
    update: dict[str, Any] = {
        "environment": {**message["environment"], **config.environment, DAEMON_MARK: daemon_id},
        "inherit_environment": False,
        "working_dir": config.working_dir or (Path(folder) if folder else None),
    }
    return StartedConfig.of(config, update, message["withheld"])


def _revived(value: Any) -> Any:
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        if set(table) == {_EXPANDED}:
            text, template = table[_EXPANDED]
            return Expanded(text, template)
        return {name: _revived(item) for name, item in table.items()}
    if isinstance(value, list):
        return [_revived(item) for item in cast("list[Any]", value)]
    return value


def opens_alike(one: BaseServerConfig, other: BaseServerConfig) -> bool:
    """Whether two configurations from callers open the same, their surroundings included."""
    fields = type(one).model_fields
    return type(one) is type(other) and all(getattr(one, name) == getattr(other, name) for name in fields)


def _fingerprint(config: BaseServerConfig) -> str:
    import hashlib
    import json

    fields = {name: value for name, value in _fields_set(config).items() if name not in _NO_PART_OF_A_SESSION}
    text = json.dumps([type(config).__name__, _plain(fields, templates=False)], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
