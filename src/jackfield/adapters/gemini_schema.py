"""A valid schema in the part of JSON Schema that Gemini takes; what is outside of it is told in words.

Source: Gemini API reference, `Schema` and "Supported fields" of a JSON schema: `$id`, `$defs`, `$ref`, `$anchor`,
`type`, `format`, `title`, `description`, `enum` (strings and numbers), `items`, `prefixItems`, `minItems`, `maxItems`,
`minimum`, `maximum`, `anyOf`, `oneOf` (as `anyOf`), `properties`, `additionalProperties`, `required` and
`propertyOrdering`; nothing next to a `$ref`; references in a circle in optional properties alone. `default` is
documented as ignored.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from ..json_schema import references_in
from ..plain import as_list, as_table
from .root_object import both
from .valid_schema import Schema

_KEPT = (
    "type", "format", "title", "description", "minItems", "maxItems", "minimum", "maximum", "default",
    "propertyOrdering",
)  # fmt: skip
_TOLD = (
    "const", "enum", "not", "if", "then", "else", "pattern", "minLength", "maxLength", "exclusiveMinimum",
    "exclusiveMaximum", "multipleOf", "uniqueItems", "contains", "minContains", "maxContains", "minProperties",
    "maxProperties", "propertyNames", "dependentRequired", "dependentSchemas", "allOf", "examples",
)  # fmt: skip
_MAX_CHARS = 200
_MAX_MERGED = 20


def gemini_schema(root: Schema, definitions: Mapping[str, Schema]) -> tuple[Schema, dict[str, Schema]]:
    """A root and its definitions, for Gemini."""
    writer = _Writer(definitions)
    return writer.schema(root), {name: writer.schema(one) for name, one in definitions.items()}


class _Writer:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        direct = {name: references_in(one) & definitions.keys() for name, one in definitions.items()}
        self._in_circle = {name for name in direct if name in _reachable(direct, name)}

    def schema(self, given: Schema) -> Schema:
        """One schema."""
        told: Schema = {}
        node = self._merged(given, told)
        kept: Schema = {word: node[word] for word in _KEPT if word in node}
        told |= {word: node[word] for word in _TOLD if word in node}
        values = [node["const"]] if "const" in node else as_list(node.get("enum"))
        if values and all(isinstance(value, str | int | float) and not isinstance(value, bool) for value in values):
            kept["enum"] = list(values)
            told = {word: one for word, one in told.items() if word not in ("enum", "const")}
        if "properties" in node:
            kept["properties"] = {name: self.schema(one) for name, one in node["properties"].items()}
        known = as_table(kept.get("properties"))
        required = [name for name in as_list(node.get("required")) if name in known]
        if required := [name for name in required if not references_in(known[name]) & self._in_circle]:
            kept["required"] = required
        for word in ("items", "additionalProperties"):
            if word in node:
                kept[word] = node[word] if isinstance(node[word], bool) else self.schema(node[word])
        if "prefixItems" in node:
            kept["prefixItems"] = [self.schema(one) for one in node["prefixItems"]]
        branches = [self.schema(one) for one in (*as_list(node.get("anyOf")), *as_list(node.get("oneOf")))]
        if branches and all(branches):
            kept["anyOf"] = branches
        if told:
            words = json.dumps(told, ensure_ascii=False)
            words = words if len(words) <= _MAX_CHARS else f"{words[:_MAX_CHARS]}..."
            kept["description"] = " ".join(filter(None, [kept.get("description"), f"({words})"]))
        if "$ref" in node:
            reference = {"$ref": node["$ref"]}
            return {**kept, "anyOf": [reference]} if kept and "anyOf" not in kept else reference
        return kept

    def _merged(self, node: Schema, told: Schema) -> Schema:
        """A schema with its `allOf` written into it; what cannot be is for words."""
        left, number = list(as_list(node.get("allOf"))), 0
        merged = {word: value for word, value in node.items() if word != "allOf"}
        while left:
            part, number = left.pop(0), number + 1
            left = [*as_list(part.get("allOf")), *left]
            part = {word: value for word, value in part.items() if word != "allOf"}
            if part.keys() == {"$ref"} and merged.keys() - {"title", "description"} and number <= _MAX_MERGED:
                left.insert(0, self._definitions.get(part["$ref"].rpartition("/")[2], {}))
                continue
            together = both(
                {word: value for word, value in merged.items() if word not in ("properties", "required")},
                {word: value for word, value in part.items() if word not in ("properties", "required")},
            )
            if "allOf" in together:
                told.setdefault("allOf", []).append(part)
                continue
            for word in ("properties", "required"):
                if word in merged or word in part:
                    together[word] = _united(merged.get(word), part.get(word))
            merged = together
        return merged


def _united(one: Any, other: Any) -> Any:
    if isinstance(one or other, dict):
        return {**as_table(other), **as_table(one)}
    return list(dict.fromkeys([*as_list(one), *as_list(other)]))


def _reachable(direct: Mapping[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    left: list[str] = [*direct[start]]
    while left:
        if (name := left.pop()) not in found:
            found.add(name)
            left += direct[name]
    return found
