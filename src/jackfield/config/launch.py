"""`Launch`: what is needed to start the program of a stdio server, and no more.

It can be told from an entry without building the models, so that a program may be started before they are imported.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..plain import as_strings

if TYPE_CHECKING:
    from .servers import StdioConfig

_UNDERSTOOD = {
    *("server_name", "transport", "command", "args", "environment", "env", "inherit_environment", "working_dir", "cwd"),
}
"""With anything else in it, an entry may be wrong in ways that only the models know."""


@dataclass(frozen=True)
class Launch:
    """How the program of a server is started."""

    server_name: str
    command: str
    args: Sequence[str] = field(default=(), repr=False)
    environment: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Variables with their values, which may be secrets."""
    working_dir: Path | None = None
    inherit_environment: bool = False
    inherits_nothing: bool = False
    """It gets nothing of this process's variables: all that it is to have is in `environment`."""

    @classmethod
    def of(cls, config: StdioConfig) -> Launch:
        """That of a whole configuration."""
        folder = None if config.working_dir is None else Path(config.working_dir)
        return cls(
            config.server_name,
            config.command,
            tuple(config.args),
            config.environment_values(),
            folder,
            config.inherit_environment,
            config.inherits_nothing,
        )


def launch_of(prepared: Mapping[str, Any]) -> Launch | None:
    """That of an entry that `prepare()` made ready; `None` where it is no stdio server, or only the models can tell."""
    if not set(prepared) <= _UNDERSTOOD or prepared.get("transport", "stdio") != "stdio":
        return None
    if {"env", "environment"} <= set(prepared) or {"cwd", "working_dir"} <= set(prepared):
        return None
    name, command = prepared.get("server_name"), prepared.get("command")
    args, environment = as_strings(prepared.get("args", [])), _texts(prepared.get("environment", prepared.get("env")))
    folder: object = prepared.get("working_dir", prepared.get("cwd"))
    inherits: object = prepared.get("inherit_environment", False)
    if not isinstance(name, str) or not isinstance(command, str) or not name or not command:
        return None
    if args is None or environment is None or not isinstance(inherits, bool) or not isinstance(folder, str | None):
        return None
    return Launch(name, command, tuple(args), environment, None if folder is None else Path(folder), inherits)


def _texts(value: object) -> dict[str, str] | None:
    """The table if all in it is text; by which rules other values become text, the models know."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        return None
    table = cast("Mapping[object, object]", value)
    if not all(isinstance(word, str) for pair in table.items() for word in pair):
        return None
    return cast("dict[str, str]", dict(table))
