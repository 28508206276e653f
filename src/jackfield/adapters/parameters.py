"""A tool's parameters for frameworks: its schema or, for frameworks without JSON Schema, a list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from ..json_schema import target
from ..plain import as_list, as_table
from .valid_schema import TYPES

_TYPE_OF = {str: "string", bool: "boolean", int: "integer", float: "number", list: "array", dict: "object"}
_VALUES = ("enum", "const", "default", "examples", "example", "required")
_MAX_NODES = 5_000


@dataclass(frozen=True)
class Parameter:
    """One parameter of a tool."""

    schema: Mapping[str, Any]
    """With every `$ref` expanded; recursive references allow anything."""

    types: tuple[str, ...]
    """JSON's names of the types that fit."""

    required: bool

    @property
    def takes_null(self) -> bool:
        """Whether `null` fits."""
        return "null" in self.types


def parameters_of(schema: Mapping[str, Any]) -> dict[str, Parameter] | None:
    """The parameters by name; `None` if the arguments are more than a list of names, or the list is endless."""
    try:
        whole = _Writer(schema).whole()
    except (_TooMuchError, RecursionError):
        return None
    properties, required = as_table(whole.get("properties")), as_list(whole.get("required"))
    open_ended = whole.get("additionalProperties") or whole.get("patternProperties")
    alternatives = any(word in whole for word in ("anyOf", "oneOf", "allOf"))
    if any(name not in list(properties) for name in required) or (not properties and (open_ended or alternatives)):
        return None
    return {name: Parameter(as_table(one), _types(one), name in required) for name, one in properties.items()}


class _TooMuchError(Exception):
    pass


class _Writer:
    """Writes references out, within bounds: a few lines that refer to each other can stand for any amount."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._root = dict(schema)
        self._nodes_left = _MAX_NODES

    def whole(self) -> dict[str, Any]:
        return dict(as_table(self._schema(self._root, ())))

    def _schema(self, node: Any, within: tuple[str, ...]) -> Any:
        self._nodes_left -= 1
        if self._nodes_left < 0:
            raise _TooMuchError
        if isinstance(node, list):
            return [self._schema(item, within) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        written: dict[str, Any] = {}
        for word, part in cast("dict[str, Any]", node).items():
            if word in _VALUES:
                written[word] = part
            elif word in ("properties", "patternProperties"):
                written[word] = {name: self._schema(one, within) for name, one in as_table(part).items()}
            elif word == "$ref" and isinstance(part, str):
                if part not in within:
                    written = {**as_table(self._schema(target(part, self._root), (*within, part))), **written}
            elif word not in ("$defs", "definitions"):
                written[word] = self._schema(part, within)
        return written


def _types(schema: Any) -> tuple[str, ...]:
    parts = as_table(schema)
    found: list[str] = []
    kind: Any = parts.get("type")
    values: Any = parts.get("enum") or ([parts["const"]] if "const" in parts else None)
    if isinstance(kind, str | list):
        found = [kind] if isinstance(kind, str) else cast("list[str]", kind)
    elif isinstance(values, list):
        found = ["null" if value is None else _TYPE_OF[type(value)] for value in cast("list[Any]", values)]
    else:
        branches = parts.get("anyOf") or parts.get("oneOf")
        if isinstance(branches, list):
            found = [name for branch in cast("list[Any]", branches) for name in _types(branch)]
    return tuple(dict.fromkeys(name for name in found if name in TYPES)) or TYPES
