"""Checks of plain schemas that cost next to nothing; what they do not pass is for a JSON Schema validator to judge.

A check only ever says that a value surely fits. Most tools take a few texts and numbers, and most calls fit: for these
a validator's walk through its keywords is most of what checking costs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from ..plain import as_list, as_table

Check = Callable[[object], bool]

_KINDS: Mapping[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
    "array": (list,),
    "object": (dict,),
}
_DRAFTS = ("draft-07/schema", "2019-09/schema", "2020-12/schema")
_ANNOTATIONS: Mapping[str, type] = {"title": str, "description": str, "$comment": str, "format": str, "examples": list}
_SIZES = ("minLength", "maxLength", "minItems", "maxItems")
_LIMITS = ("minimum", "maximum")
_KNOWN = frozenset(
    (
        *(*_ANNOTATIONS, *_SIZES, *_LIMITS, "$schema", "default", "type", "enum", "anyOf"),
        *("properties", "required", "additionalProperties", "items"),
    )
)
_MAX_LEVELS = 20


class _OtherSchemaError(Exception):
    """The schema uses what is not known here, or is none."""


def quick_check(schema: object) -> Check | None:
    """A check that is true only for values that fit the schema; `None` for a schema that is not plain, or is broken."""
    try:
        return _check(schema, _MAX_LEVELS)
    except _OtherSchemaError:
        return None


def _any(value: object) -> bool:
    return True


def _none(value: object) -> bool:
    return False


def _check(schema: object, levels: int) -> Check:
    if isinstance(schema, bool):
        return _any if schema else _none
    if not isinstance(schema, dict) or levels == 0:
        raise _OtherSchemaError
    table = cast("dict[object, Any]", schema)
    _require(_KNOWN.issuperset(table))
    for name, kind in _ANNOTATIONS.items():
        _require(isinstance(table.get(name, kind()), kind))
    draft: object = table.get("$schema", _DRAFTS[-1])
    _require(isinstance(draft, str) and draft.rstrip("#").endswith(_DRAFTS))
    kinds, texts = _kinds(table), _texts(table)
    either = [_check(part, levels - 1) for part in _listed(table, "anyOf")]
    fits_object, fits_array = _object_check(table, levels - 1), _array_check(table, levels - 1)
    least, most = (_limit(table, name) for name in _LIMITS)
    shortest, longest = (_size(table, name) for name in ("minLength", "maxLength"))

    def check(value: object) -> bool:
        kind = type(value)
        if kinds is not None and kind not in kinds:
            return False
        if texts is not None and (kind is not str or value not in texts):
            return False
        if either and not any(fits(value) for fits in either):
            return False
        if kind is str:
            length = len(cast("str", value))
            return (shortest is None or length >= shortest) and (longest is None or length <= longest)
        if kind is dict:
            return fits_object(value)
        if kind is list:
            return fits_array(value)
        if kind is int or kind is float:
            number = cast("float", value)
            return (least is None or number >= least) and (most is None or number <= most)
        return kind is bool or value is None

    return check


def _object_check(table: Mapping[object, Any], levels: int) -> Check:
    properties: object = table.get("properties", {})
    _require(isinstance(properties, dict))
    checks = {name: _check(part, levels) for name, part in as_table(properties).items()}
    required = frozenset[str](_listed(table, "required", str, may_be_empty=True))
    others = _check(table.get("additionalProperties", True), levels)

    def check(value: object) -> bool:
        given = cast("dict[object, object]", value)
        if not required <= given.keys():
            return False
        return all(checks.get(cast("str", name), others)(part) for name, part in given.items())

    return check


def _array_check(table: Mapping[object, Any], levels: int) -> Check:
    items = table.get("items", True)
    fits = _check(items, levels)
    least, most = _size(table, "minItems"), _size(table, "maxItems")

    def check(value: object) -> bool:
        given = cast("list[object]", value)
        if (least is not None and len(given) < least) or (most is not None and len(given) > most):
            return False
        return all(map(fits, given))

    return check


def _kinds(table: Mapping[object, Any]) -> tuple[type, ...] | None:
    named = table.get("type")
    if named is None:
        _require("type" not in table)
        return None
    names: Sequence[Any] = [named] if isinstance(named, str) else as_list(named)
    _require(bool(names) and all(isinstance(name, str) and name in _KINDS for name in names))
    _require(len(set(names)) == len(names))
    return tuple(kind for name in names for kind in _KINDS[name])


def _texts(table: Mapping[object, Any]) -> frozenset[str] | None:
    return frozenset(_listed(table, "enum", str)) if "enum" in table else None


def _listed(
    table: Mapping[object, Any], name: str, kind: type = object, *, may_be_empty: bool = False
) -> Sequence[Any]:
    if name not in table:
        return []
    values = as_list(table[name])
    _require(isinstance(table[name], list) and (bool(values) or may_be_empty))
    _require(all(isinstance(value, kind) for value in values))
    _require(kind is object or len(set(values)) == len(values))
    return values


def _size(table: Mapping[object, Any], name: str) -> int | None:
    size = table.get(name)
    _require(name not in table or (type(size) is int and size >= 0))
    return size


def _limit(table: Mapping[object, Any], name: str) -> float | None:
    limit = table.get(name)
    _require(name not in table or type(limit) in (int, float))
    return limit


def _require(is_plain: bool) -> None:
    if not is_plain:
        raise _OtherSchemaError
