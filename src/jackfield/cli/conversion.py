"""Gives text of the command line the type that a JSON schema asks for.

The rule, which needs no guess: of the types that a schema allows, the text becomes the narrowest that it can be
written as (one of an enum, null, a number, true or false, a JSON array or object) and stays text where none fits and
text is allowed. Where text is allowed, a number must be written as JSON writes it, so that `007` stays text. An array
can also be given as its single element, or element by element.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from ..json_schema import target
from ..plain import as_list

Schema = Mapping[str, Any]

_MISSING: Any = object()
_JSON_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_JSON_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_MAX_DIGITS = 4000
_MAX_DEPTH = 20

_TYPES = {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
    "prefixItems": "array",
}
"""The type of a schema without `type`, inferred from its other keywords."""


class MisfitError(ValueError):
    """The text cannot be written as what the schema allows; says why in a few words."""


def converted(texts: Sequence[str], schema: object, root: Schema) -> Any:
    """Convert a text from the command line to the value that the schema expects.

    Args:
        texts: The text, or several where the argument was given several times.
        schema: Of the argument.
        root: The schema that references start from.

    Raises:
        MisfitError: It fits nothing that the schema allows.
    """
    allowed = list(alternatives(schema, root))
    if len(texts) > 1:
        for part in allowed:
            if _kind(part) in ("array", "any"):
                return _elements(texts, part, root)
        raise MisfitError(f"it was given {len(texts)} times, but accepts one value")
    text = texts[0]
    is_text = any(_kind(part) in ("string", "any") for part in allowed)
    reasons: list[str] = []
    for reader in _READERS:
        for part in allowed:
            value = reader(text, part, root, is_text, reasons)
            if value is not _MISSING:
                return value
    raise MisfitError(reasons[0] if reasons else f"{_shown(text)} does not fit")


def alternatives(schema: object, root: Schema, depth: int = 0) -> Iterator[Schema]:
    """The alternatives of a schema: references resolved, unions and lists of types expanded.

    A schema that cannot be expanded is returned unchanged; the value is later checked against the whole schema.
    """
    if schema is False:
        return
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        yield {}
        return
    parts = cast("Schema", schema)
    if isinstance(reference := parts.get("$ref"), str):
        referred = target(reference, root)
        # Anything goes where there is none.
        yield from alternatives(True if referred is None else referred, root, depth + 1)
        return
    # Next to a `type`, the union only narrows that type.
    for union in ("anyOf", "oneOf", "allOf"):
        branches = parts.get(union)
        if isinstance(branches, list) and branches and not {"type", "enum", "const"} & set(parts):
            some = cast("list[object]", branches)
            if union != "allOf" or len(some) == 1:
                for branch in some:
                    yield from alternatives(branch, root, depth + 1)
                return
    kinds = parts.get("type")
    if isinstance(kinds, list) and not {"enum", "const"} & set(parts):
        for kind in cast("list[object]", kinds):
            yield {**parts, "type": kind}
        return
    yield parts


def _kind(part: Schema) -> str:
    if "enum" in part or "const" in part:
        return "enum"
    kind = part.get("type")
    if isinstance(kind, str):
        return kind
    return next((type_ for keyword, type_ in _TYPES.items() if keyword in part), "any")


# Readers: each tries to read the text as one kind of value. In the order of their narrowness.


def _read_choice(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    if _kind(part) != "enum":
        return _MISSING
    listed = part.get("enum", [part["const"]] if "const" in part else [])
    choices = as_list(listed)
    if text in choices:
        return text
    value = _json(text)
    for choice in choices:
        # In Python 1 == True, in JSON not.
        if value is not _MISSING and choice == value and isinstance(choice, bool) == isinstance(value, bool):
            return choice
    from ..names import nearest

    close = nearest(text, [choice for choice in choices if isinstance(choice, str)], 1)
    meant = f"; did you mean {close[0]!r}?" if close else ""
    reasons.append(f"{_shown(text)} is not one of its values{meant}")
    return _MISSING


def _read_null(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    return None if _kind(part) == "null" and text == "null" else _MISSING


def _read_number(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    kind = _kind(part)
    if kind not in ("integer", "number"):
        return _MISSING
    if (_JSON_INTEGER if is_text else _INTEGER).fullmatch(text) and len(text) < _MAX_DIGITS:
        return int(text)
    if kind == "number" and (_JSON_NUMBER if is_text else _NUMBER).fullmatch(text) and math.isfinite(float(text)):
        return float(text)
    reasons.append(f"{_shown(text)} is not {'an' if kind[0] in 'aeio' else 'a'} {kind}")
    return _MISSING


def _read_truth(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    if _kind(part) != "boolean":
        return _MISSING
    word = text if is_text else text.lower()
    if word in ("true", "false"):
        return word == "true"
    reasons.append(f"{_shown(text)} is neither true nor false")
    return _MISSING


def _read_json(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    kind = _kind(part)
    if kind not in ("array", "object"):
        return _MISSING
    value = _json(text)
    if isinstance(value, list if kind == "array" else dict):
        return cast("Any", value)
    opening = "[" if kind == "array" else "{"
    if kind == "object" or text.lstrip().startswith(opening):
        reasons.append(
            f"{_shown(text)} is not a JSON {kind}{_where(text) if text.lstrip().startswith(opening) else ''}"
        )
    return _MISSING


def _read_text(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    return text if _kind(part) == "string" else _MISSING


def _read_element(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    if _kind(part) != "array" or text.lstrip().startswith("["):
        return _MISSING
    try:
        return _elements([text], part, root)
    except MisfitError as error:
        reasons.append(str(error))
        return _MISSING


def _read_anything(text: str, part: Schema, root: Schema, is_text: bool, reasons: list[str]) -> Any:
    if _kind(part) != "any":
        return _MISSING
    value = _json(text)
    return text if value is _MISSING else value


_READERS: Sequence[Callable[[str, Schema, Schema, bool, list[str]], Any]] = (
    _read_choice,
    _read_null,
    _read_number,
    _read_truth,
    _read_json,
    _read_text,
    _read_element,
    _read_anything,
)


def _elements(texts: Sequence[str], part: Schema, root: Schema) -> list[Any]:
    first = cast("list[object]", part["prefixItems"]) if isinstance(part.get("prefixItems"), list) else []
    rest = part.get("items", True)
    return [
        converted([text], first[number] if number < len(first) else rest, root) for number, text in enumerate(texts)
    ]


def _json(text: str) -> Any:
    try:
        return loads(text)
    except ValueError:
        return _MISSING


def loads(text: str) -> Any:
    """Read JSON; only what JSON knows, without `NaN` and the like.

    Raises:
        ValueError: It is none.
    """

    def no_constant(name: str) -> Any:
        raise ValueError(f"{name} is not JSON")

    def finite(number: str) -> float:
        if math.isfinite(value := float(number)):
            return value
        raise ValueError(f"{number} is too large")

    try:
        return json.loads(text, parse_constant=no_constant, parse_float=finite)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def _where(text: str) -> str:
    try:
        loads(text)
    except json.JSONDecodeError as error:
        at = f"character {error.pos + 1}" if "\n" not in text else f"line {error.lineno}, column {error.colno}"
        return f" ({error.msg} at {at})"
    except ValueError as error:
        return f" ({error})"
    return ""


def _shown(text: str) -> str:
    return repr(text) if len(text) <= 60 else f"{text[:50]!r}..."
