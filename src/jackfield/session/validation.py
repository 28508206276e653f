"""JSON Schema: validators, the schema of a tool as its server applies it if that is more lenient than its text, and
problems in words.

Schemas that are made from a server's own types (Zod's, for example) name what has a default as required: they
describe what the tool's code gets, not what a caller has to give. And models write null for what they have nothing to
say to.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, cached_property
from itertools import pairwise
from typing import Any, cast

from jsonschema import validators
from jsonschema.exceptions import ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import Draft202012Validator, validator_for
from referencing import Registry

from ..json_schema import target
from ..names import nearest
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


def compiled(schema: Mapping[str, Any]) -> Validator | None:
    """A validator that fetches nothing; `None` for a schema that is broken."""
    # MCP schemas without $schema are 2020-12 (MCP 2025-11-25, server/tools "Data Types").
    try:
        kind = validator_for(dict(schema), default=Draft202012Validator)
        kind.check_schema(dict(schema))
    except Exception:  # it is none, in one of many ways
        return None
    return _in_decimals(kind)(dict(schema), registry=Registry())


@cache
def _in_decimals(kind: type[Validator]) -> type[Validator]:
    """The validator, with decimal `multipleOf`: in floats, 19.99 is not a multiple of 0.01."""
    return cast("Any", validators).extend(kind, {"multipleOf": _multiple_of})


def _multiple_of(validator: Validator, step: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    if not validator.is_type(instance, "number"):
        return
    try:
        fits = not Decimal(str(instance)) % Decimal(str(step))
    except ArithmeticError:
        return  # more digits than can be told
    if not fits:
        yield ValidationError(f"{instance!r} is not a multiple of {step!r}")


def problem_in_words(error: ValidationError, schema: Mapping[str, Any]) -> str:
    """What is wrong with a value.

    Args:
        error: Of a validator.
        schema: The whole schema.
    """
    where = ".".join(str(part) for part in error.absolute_path)
    instance: Any = error.instance
    if error.validator == "required":
        required = cast("Sequence[str]", error.validator_value)
        missing = next((name for name in required if name not in instance), "a property")
        return f"{where}.{missing} is missing" if where else f"{missing} is missing"
    if error.validator == "additionalProperties" and not where:
        known = list(schema.get("properties", {}))
        extra = [str(name) for name in instance if name not in known]
        close = next((f"; did you mean {found[0]!r}?" for name in extra if (found := nearest(name, known, 1))), "")
        return f"unknown {', '.join(map(repr, extra))}{close}"
    message = error.message if len(error.message) < 160 else f"{error.message[:150]}..."
    return f"{where}: {message}" if where else message


class SchemaCheck:
    """One schema, with its validators compiled at their first use. One that is broken judges nothing.

    Args:
        schema: The schema.
    """

    def __init__(self, schema: Schema) -> None:
        self._schema = schema

    @cached_property
    def _validator(self) -> Validator | None:
        return compiled(self._schema)

    @cached_property
    def _lax(self) -> Validator | None:
        return compiled(relaxed(self._schema)) or self._validator

    def fitted(self, given: dict[str, Any], *, is_lenient: bool) -> tuple[dict[str, Any], list[str]]:
        """The arguments to send, and what is wrong with them; see `ArgumentCheck.check`."""
        if self._validator is None:
            return given, []
        try:
            if self._validator.is_valid(given):
                return given, []
            errors, checked = self._validator.iter_errors, given
            if is_lenient and self._lax is not None:
                errors = self._lax.iter_errors
                checked = without_refused_nulls(given, errors)
                if self._lax.is_valid(checked):
                    return checked, []
            return checked, [problem_in_words(error, self._schema) for error in errors(checked)]
        except Exception:  # the schema cannot be applied, in one of many ways
            return given, []

    def output_problem(self, structured: Any, *, is_given: bool) -> str | None:
        """The problem with structured content, in words; see `OutputCheck.problem`."""
        if self._validator is None:
            return "the tool's outputSchema is not a valid JSON Schema, so structuredContent was not checked"
        if not is_given:
            return "structuredContent is missing, though the tool has an outputSchema"
        try:
            if self._validator.is_valid(structured):
                return None
            found = next(self._validator.iter_errors(structured))
        except Exception:
            return "the tool's outputSchema cannot be applied, so structuredContent was not checked"
        return f"structuredContent does not fit the tool's outputSchema: {problem_in_words(found, self._schema)}"
