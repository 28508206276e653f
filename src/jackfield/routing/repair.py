"""Corrects common mistakes of models in a call, and says so."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ..plain import as_table
from ..session.sendable import not_by_name
from ..session.tools import ArgumentCheck

_NUMBERS = {"integer": int, "number": float}
_TRUTH = {"true": True, "false": False}


def repaired_call(
    tool: str, arguments: object, beside: Mapping[str, Any], own_names: frozenset[str]
) -> tuple[str, dict[str, Any], list[str]]:
    """The intended call: its tool, its arguments, and the corrections.

    Args:
        tool: As given.
        arguments: As given: a mapping, JSON in a string, or nothing.
        beside: Fields next to `tool` and `arguments`.
        own_names: Names of the tool's parameters, if known; fields with these names are not changed.

    Raises:
        InvalidArgumentsError: The arguments are not a JSON object. A call without them would be another one: with a
            filter cut off, `delete` deletes everything.
    """
    notes: list[str] = []
    given: object = arguments
    if isinstance(given, str):
        text = given.strip()
        try:
            given = json.loads(text) if text else {}
        except (ValueError, RecursionError):
            raise not_by_name(tool, arguments) from None
        if text:
            notes.append("arguments were given as a JSON string")
    if given is None:
        given = {}
    if not isinstance(given, Mapping):
        raise not_by_name(tool, given)
    values = {str(name): value for name, value in cast("Mapping[Any, Any]", given).items()}
    if set(values) <= {"tool", "name", "arguments", "args"} and not set(values) & own_names:
        inner = values.get("arguments", values.get("args"))
        if isinstance(inner, Mapping | str) or ("arguments" in values and inner is None):
            inner_tool = values.get("tool", values.get("name"))
            notes.append("arguments were nested twice")
            if not tool and isinstance(inner_tool, str):
                tool = inner_tool
            tool, values, more = repaired_call(tool, cast("object", inner), {}, own_names)
            notes += [note for note in more if note not in notes]
    stray = {name: value for name, value in beside.items() if name not in values}
    if stray:
        notes.append(f"{', '.join(stray)} moved into arguments")
        values |= stray
    return tool, values, notes


def converted(arguments: dict[str, Any], schema: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The arguments with values in the types that the schema asks for, where only the writing was wrong."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return arguments, []
    changed = dict(arguments)
    notes: list[str] = []
    for name, value in arguments.items():
        inner: object = cast("Mapping[str, Any]", properties).get(name)
        if not isinstance(value, str) or not isinstance(inner, Mapping):
            continue
        kind: object = cast("Mapping[str, Any]", inner).get("type")
        kinds = cast("list[object]", kind) if isinstance(kind, list) else [kind]
        if "string" in kinds:
            continue
        better = next((other for kind in kinds if (other := _converted(value, kind)) is not None), None)
        if better is not None:
            changed[name] = better
            notes.append(f"{name} was given as text")
    return changed, notes


def _converted(text: str, kind: object) -> Any:
    if isinstance(kind, str) and kind in _NUMBERS:
        try:
            return _NUMBERS[kind](text)
        except ValueError:
            return None
    if kind == "boolean":
        return _TRUTH.get(text.strip().lower())
    if kind in ("object", "array"):
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None
        return value if isinstance(value, dict if kind == "object" else list) else None  # pyright: ignore
    return None


def fitted(name: str, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the types that the schema requires, if only their notation was wrong.

    Args:
        name: The tool's name, for errors.
        arguments: The model's arguments.
        schema: The schema to match, except for enumerations, for which the recipient has better messages.

    Raises:
        InvalidArgumentsError: They do not match.
    """
    # Models write null for what they have nothing to say to.
    given = {key: value for key, value in arguments.items() if value is not None}
    values, _ = converted(given, schema)
    properties = {
        key: {word: part for word, part in as_table(one).items() if word not in ("enum", "maxItems")}
        for key, one in as_table(schema.get("properties")).items()
    }
    for key, one in properties.items():
        if one.get("type") == "array" and isinstance(values.get(key), str):
            values[key] = [values[key]]
    closed = {**schema, "properties": properties, "additionalProperties": False}
    return ArgumentCheck("jackfield", name, closed, "strict").check(values)
