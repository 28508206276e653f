"""A tool's schema as its server applies it, if that is more lenient than its text. Pure.

Schemas that are made from a server's own types (Zod's, for example) name what has a default as required: they describe
what the tool's code gets, not what a caller has to give. And models write null for what they have nothing to say to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

from jsonschema.exceptions import ValidationError

from ..json_schema import target
from ..plain import as_list, as_table

Schema = Mapping[str, Any]

_NAMED = ("properties", "patternProperties", "$defs", "definitions")
"""Keywords with schemas by name."""
_SINGLE = ("items", "additionalItems", "contains", "additionalProperties", "unevaluatedItems", "unevaluatedProperties")
_LISTED = ("items", "prefixItems")
_IN_PLACE = ("allOf", "anyOf", "oneOf")
"""Keywords whose schemas are about the same value. What is inside of `not` and `if` is left as it is: laxer there would
be stricter as a whole."""

_MAX_REFERENCES = 10
_MAX_ROUNDS = 10


def relaxed(schema: Schema) -> dict[str, Any]:
    """The schema in which a default counts as given, and `nullable` (as OpenAPI has it) lets null in."""
    return _Relaxing(schema).relaxed(schema, frozenset())


class _Relaxing:
    def __init__(self, root: Schema) -> None:
        self._root = root

    def relaxed(self, schema: Schema, given: frozenset[str]) -> dict[str, Any]:
        """A part of the schema.

        Args:
            schema: The part.
            given: Names that count as given by what else there is about the same value.
        """
        properties = as_table(schema.get("properties"))
        given |= {name for name, part in properties.items() if self._has_default(part)}
        lax = dict(schema)
        for key in _NAMED:
            if isinstance(schema.get(key), Mapping):
                lax[key] = self._each(schema[key], frozenset())
        for key in _SINGLE:
            if isinstance(schema.get(key), Mapping):
                lax[key] = self.relaxed(schema[key], frozenset())
        for key in _LISTED:
            if isinstance(schema.get(key), list):
                lax[key] = [self._one(part, frozenset()) for part in schema[key]]
        for key in _IN_PLACE:
            if isinstance(schema.get(key), list):
                lax[key] = [self._one(part, given) for part in schema[key]]
        for key in ("then", "else"):
            if key in schema:
                lax[key] = self._one(schema[key], given)
        for key in ("dependentSchemas", "dependencies"):
            if isinstance(schema.get(key), Mapping):
                lax[key] = self._each(schema[key], given)
        if isinstance(schema.get("dependentRequired"), Mapping):
            lax["dependentRequired"] = self._each(schema["dependentRequired"], given)
        if isinstance(schema.get("required"), list):
            lax["required"] = _but(schema["required"], given)
        if lax.get("oneOf") != schema.get("oneOf"):
            # With laxer branches more than one may fit, of which the server's own would have been one.
            lax["allOf"] = [*as_list(lax.get("allOf")), {"anyOf": lax.pop("oneOf")}]
        return _with_null(lax) if schema.get("nullable") is True else lax

    def _each(self, parts: Mapping[str, Any], given: frozenset[str]) -> dict[str, Any]:
        return {name: self._one(part, given) for name, part in parts.items()}

    def _one(self, part: Any, given: frozenset[str]) -> Any:
        if isinstance(part, Mapping):
            return self.relaxed(cast("Schema", part), given)
        return _but(cast("list[Any]", part), given) if isinstance(part, list) else part

    def _has_default(self, part: object) -> bool:
        for _ in range(_MAX_REFERENCES):
            schema = as_table(part)
            if "default" in schema:
                return True
            if any("default" in as_table(each) for each in as_list(schema.get("allOf"))):
                return True
            part = target(schema.get("$ref"), self._root)
        return False


def _but(required: Sequence[Any], given: frozenset[str]) -> list[Any]:
    return [name for name in required if not isinstance(name, str) or name not in given]


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    kind = schema.get("type")
    if isinstance(kind, str | list):
        schema["type"] = [*(cast("list[Any]", kind) if isinstance(kind, list) else [kind]), "null"]
        schema["type"] = list(dict.fromkeys(schema["type"]))
    if isinstance(values := schema.get("enum"), list) and None not in values:
        schema["enum"] = [*cast("list[Any]", values), None]
    return schema


def without_refused_nulls(
    arguments: dict[str, Any], errors: Callable[[Any], Iterator[ValidationError]]
) -> dict[str, Any]:
    """The arguments without nulls that the schema rejects for declared properties.

    Args:
        arguments: By name.
        errors: Returns the problems of a value.
    """
    pruned = copy.deepcopy(arguments)
    for _ in range(_MAX_ROUNDS):
        paths = {path for error in errors(pruned) for path in _nulls(error)}
        if not paths:
            break
        for path in paths:
            _remove(pruned, path)
    return pruned


def _nulls(error: ValidationError) -> Iterator[tuple[str | int, ...]]:
    path, rule = tuple(error.absolute_path), list(error.absolute_schema_path)
    if error.instance is None and path and ("properties", path[-1]) in pairwise(rule):
        yield path
    for inner in error.context or ():
        yield from _nulls(inner)


def _remove(value: Any, path: Sequence[str | int]) -> None:
    for step in path[:-1]:
        value = value[step]
    value.pop(path[-1], None)
