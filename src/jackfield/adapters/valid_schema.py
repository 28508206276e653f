"""A server's schema as valid JSON Schema 2020-12; invalid parts are removed.

Anthropic's and OpenAI's APIs reject a request because of one invalid keyword in one tool. Keywords of earlier drafts
are rewritten; parts that cannot be understood allow anything, since the server makes the final check.

Source: JSON Schema 2020-12, "Core" and "Validation"; OpenAI API, "Function calling" (an array needs `items`,
references lead to definitions of the root).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, cast

from ..json_schema import target
from ..plain import as_list, as_strings, as_table

TYPES = ("string", "number", "integer", "boolean", "array", "object", "null")
_OTHER_TYPES = {
    "str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number", "double": "number",
    "decimal": "number", "bool": "boolean", "list": "array", "dict": "object", "map": "object", "none": "null",
}  # fmt: skip
_PYTHON_TYPES: dict[type, tuple[str, ...]] = {
    str: ("string",), bool: ("boolean",), int: ("integer", "number"), float: ("integer", "number"), list: ("array",),
    dict: ("object",), type(None): ("null",),
}  # fmt: skip
_IN_PLACE = ("allOf", "anyOf", "oneOf")
_SUBSCHEMAS = ("not", "if", "then", "else", "contains", "propertyNames", "items")
_COUNTS = (
    "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties", "minContains", "maxContains",
)  # fmt: skip
_NUMBERS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum")
_TEXTS = ("title", "description", "format", "contentEncoding", "contentMediaType")
_FLAGS = ("deprecated", "readOnly", "writeOnly", "uniqueItems")
_SCHEMAS_OR_FLAGS = ("additionalProperties", "unevaluatedProperties", "unevaluatedItems")
_NOT_FOR_MODELS = (
    "$defs", "definitions", "id", "additionalItems", "dependencies", "patternProperties", "contentSchema",
    "discriminator",
)  # fmt: skip
_NOT_ECMA = re.compile(r"\(\?[a-zA-Z]|\\[AZz]")
_MAX_DEPTH = 40
_MAX_NODES = 100_000
_MAX_DEFINITIONS = 1_000
_NOTHING: Any = object()

Schema = dict[str, Any]


def valid_schema(schema: object, names: Mapping[str, str]) -> tuple[Schema, dict[str, Schema]]:
    """The schema, and the definitions that its references lead to, as `#/$defs/NAME`.

    Args:
        schema: As the server wrote it.
        names: Other names for properties, by the server's.
    """
    return _Writer(schema, names).written()


class _Writer:
    def __init__(self, schema: object, names: Mapping[str, str]) -> None:
        self._root = as_table(schema)
        self._names = names
        self._nodes_left = _MAX_NODES
        self._definitions: dict[str, Schema] = {}
        self._name_of: dict[str, str] = {}
        self._pending: list[tuple[str, Any]] = []

    def written(self) -> tuple[Schema, dict[str, Schema]]:
        root = self._schema(self._root, 0)
        while self._pending:
            name, node = self._pending.pop()
            self._definitions[name] = self._schema(node, 0)
        return root, self._definitions

    def _schema(self, node: Any, depth: int) -> Schema:
        if node is False:
            return {"not": {}}
        self._nodes_left -= 1
        if not isinstance(node, Mapping) or depth > _MAX_DEPTH or self._nodes_left < 0:
            return {}
        written: Schema = {}
        for word, value in _modern(cast("Mapping[str, Any]", node)).items():
            kept = self._keyword(word, value, depth + 1)
            if kept is not _NOTHING:
                written[word] = kept
        return _completed(written)

    def _keyword(self, word: str, value: Any, depth: int) -> Any:
        if word == "$ref":
            return self._reference(value)
        if word == "propertyNames" and self._names:
            return _NOTHING  # It is about the server's names.
        if word in _SUBSCHEMAS:
            return self._schema(value, depth) if isinstance(value, Mapping | bool) else _NOTHING
        if word in _IN_PLACE or word == "prefixItems":
            return [self._schema(one, depth) for one in as_list(value)] or _NOTHING
        if word in _SCHEMAS_OR_FLAGS:
            return value if isinstance(value, bool) else self._keyword("items", value, depth)
        if word in ("properties", "dependentSchemas"):
            return {
                self._shown(name): self._schema(one, depth) for name, one in as_table(value).items() if one is not False
            }
        if word == "required":
            return list(dict.fromkeys(self._shown(name) for name in as_list(value) if isinstance(name, str)))
        if word == "dependentRequired":
            return {self._shown(name): self._keyword("required", one, depth) for name, one in as_table(value).items()}
        if word == "type":
            return _types(value)
        if word == "enum":
            return _unique(_sendable(as_list(value))) or _NOTHING
        if word == "pattern":
            return value if isinstance(value, str) and is_pattern(value) else _NOTHING
        if word in _COUNTS:
            return int(value) if _is_number(value) and value >= 0 and value == int(value) else _NOTHING
        if word in _NUMBERS:
            return value if _is_number(value) else _NOTHING
        if word == "multipleOf":
            return value if _is_number(value) and value > 0 else _NOTHING
        if word in _TEXTS:
            return _sendable(value) if isinstance(value, str) else _NOTHING
        if word in _FLAGS:
            return value if isinstance(value, bool) else _NOTHING
        if word == "examples":
            return _sendable(value) if isinstance(value, list) else _NOTHING
        return _NOTHING if word.startswith("$") or word in _NOT_FOR_MODELS else _sendable(value)

    def _shown(self, name: str) -> str:
        return self._names.get(name, name)

    def _reference(self, reference: Any) -> Any:
        if not isinstance(reference, str):
            return _NOTHING
        if reference not in self._name_of:
            found = target(reference, self._root)
            if found is None or len(self._name_of) >= _MAX_DEFINITIONS or self._is_loop(found):
                return _NOTHING
            plain = re.sub(r"[^a-zA-Z0-9_.-]", "_", reference.rpartition("/")[2])[:56].strip("_") or "Root"
            name, number, taken = plain, len(self._name_of), set(self._name_of.values())
            while name in taken:
                name, number = f"{plain}_{number}", number + 1
            self._name_of[reference] = name
            self._pending.append((name, found))
        return f"#/$defs/{self._name_of[reference]}"

    def _is_loop(self, start: Any) -> bool:
        """Whether a schema only refers to itself, so that resolving it would never end."""
        seen: set[int] = set()
        left: list[Any] = [start]
        while left:
            node = as_table(left.pop())
            parts = [part for word in _IN_PLACE for part in as_list(node.get(word))]
            if "$ref" in node:
                parts.append(target(node["$ref"], self._root))
            self._nodes_left -= len(parts)
            if self._nodes_left < 0 or any(part is start for part in parts):
                return True
            left += [part for part in parts if id(part) not in seen]
            seen |= set(map(id, parts))
        return False


def _modern(node: Mapping[str, Any]) -> Mapping[str, Any]:
    """The keywords of earlier drafts in the words of 2020-12."""
    changed = {word: value for word, value in node.items() if isinstance(word, str)}  # pyright: ignore[reportUnnecessaryIsInstance]
    if isinstance(items := changed.get("items"), list):
        changed["prefixItems"] = items
        changed["items"] = changed.get("additionalItems", {})
    for bound in ("Minimum", "Maximum"):
        if changed.get(f"exclusive{bound}") is True and bound.lower() in changed:
            changed[f"exclusive{bound}"] = changed.pop(bound.lower())
    for dynamic in ("$recursiveRef", "$dynamicRef"):
        if dynamic in changed:
            changed.setdefault("$ref", changed[dynamic])
    for name, needs in as_table(changed.get("dependencies")).items():
        word = "dependentRequired" if isinstance(needs, list) else "dependentSchemas"
        changed[word] = {**as_table(changed.get(word)), name: needs}
    properties = as_table(changed.get("properties"))
    if marked := [name for name, one in properties.items() if as_table(one).get("required") is True]:
        changed["required"] = [*as_list(changed.get("required")), *marked]
    if patterns := as_table(changed.get("patternProperties")):
        # Anthropic's API takes no `patternProperties`.
        further = list(patterns.values())
        if isinstance(changed.get("additionalProperties"), Mapping):
            further.append(changed["additionalProperties"])
        is_open = changed.get("additionalProperties") is True
        changed["additionalProperties"] = is_open or (further[0] if len(further) == 1 else {"anyOf": further})
    return changed


def _completed(schema: Schema) -> Schema:
    """Without what contradicts itself, an array with its items."""
    for word in ("required", "dependentSchemas", "dependentRequired"):
        if schema.get(word) in ([], {}):
            del schema[word]
    kinds = kinds_of(schema)
    if "array" in kinds:
        schema.setdefault("items", {})
    if kinds and "enum" in schema:
        values = cast("list[object]", schema.pop("enum"))
        if fitting := [value for value in values if not set(kinds).isdisjoint(_PYTHON_TYPES[type(value)])]:
            schema["enum"] = fitting
    return schema


def kinds_of(schema: Mapping[str, Any]) -> list[str]:
    """The types that a valid schema names."""
    kind: Any = schema.get("type", [])
    return [kind] if isinstance(kind, str) else list(kind)


def is_pattern(text: str) -> bool:
    """Whether it is a regular expression, in what ECMA-262 and Python have in common."""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError, Warning):
        return False
    return not _NOT_ECMA.search(text)


def _types(value: Any) -> Any:
    given = [value] if isinstance(value, str) else as_strings(value) or []
    known = [_OTHER_TYPES.get(name.lower(), name.lower()) for name in given]
    known = [name for name in dict.fromkeys(known) if name in TYPES]
    if len(known) < len(set(given)):
        return _NOTHING  # one that is not understood may be any
    return known[0] if len(known) == 1 else known or _NOTHING


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _unique(values: list[Any]) -> list[Any]:
    return list({repr(value): value for value in values}.values())


def _sendable(value: Any, depth: int = 0) -> Any:
    """A value as JSON that every reader takes: Python also reads NaN and halves of surrogate pairs."""
    if depth > _MAX_DEPTH or (isinstance(value, float) and not math.isfinite(value)):
        return None
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, Mapping):
        table = cast("Mapping[Any, Any]", value)
        return {str(_sendable(str(name))): _sendable(one, depth + 1) for name, one in table.items()}
    if isinstance(value, list | tuple):
        return [_sendable(one, depth + 1) for one in cast("list[Any]", value)]
    return value if value is None or isinstance(value, bool | int | float) else str(value)
