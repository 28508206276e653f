"""Plain data (JSON, TOML, YAML) whose shape nobody has promised: looked into without being checked before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast


def as_table(value: object) -> Mapping[str, Any]:
    """The value if it is a table, else an empty one."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def as_list(value: object) -> Sequence[Any]:
    """The value if it is a list, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else ()


def as_strings(value: object) -> list[str] | None:
    """The value if it is a list of texts alone."""
    if isinstance(value, list) and all(isinstance(item, str) for item in cast("list[object]", value)):
        return cast("list[str]", value)
    return None
