"""Properties that a schema names only under conditions, named among its properties as well.

Not every API shows a model `if`, `then`, `else` and `dependentSchemas`, and strict mode closes objects: what only these
name could not be given there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from .root_object import one_of
from .valid_schema import Schema

_ONE = ("items", "additionalProperties", "unevaluatedProperties", "unevaluatedItems", "contains")
_MANY = ("anyOf", "oneOf", "prefixItems")
_MAX_PARTS = 5_000


def name_conditional(root: Schema, definitions: Mapping[str, Schema]) -> None:
    """Add them, in place, to each schema of a whole value. In a member of an `allOf` they would always hold.

    Args:
        root: A valid schema.
        definitions: What its references lead to.
    """
    reader = _Reader(definitions)
    nodes = list(_of_whole_values([root, *definitions.values()]))
    members = [one for node in nodes if len(node.get("allOf", ())) > 1 for one in node["allOf"]]
    parts = {id(definitions.get(_name(one))) for one in members if "$ref" in one}
    for node in reversed(nodes):
        if id(node) not in parts:
            reader.complete(node)


class _Reader:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._parts_left = _MAX_PARTS

    def complete(self, node: Schema) -> None:
        found: dict[str, list[Schema]] = {}
        for name, one in self._conditional(node, ()):
            loose = {word: value for word, value in one.items() if word not in ("enum", "const")}
            found.setdefault(name, []).append(loose)
        known = {name for name, _ in self._named(node, ())} if found else set[str]()
        if further := {name: one_of(schemas) for name, schemas in found.items() if name not in known}:
            node["properties"] = {**node.get("properties", {}), **further}

    def _conditional(self, node: Schema, within: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
        """What is named under conditions."""
        for part in (node.get("then"), node.get("else"), *node.get("dependentSchemas", {}).values()):
            if part is not None:
                yield from self._named(part, within)
                yield from self._conditional(part, within)
        yield from ((name, {}) for names in node.get("dependentRequired", {}).values() for name in names)
        for part, inside in self._parts(node, within, ("allOf",)):
            yield from self._conditional(part, inside)

    def _named(self, node: Schema, within: tuple[str, ...]) -> Iterator[tuple[str, Schema]]:
        """What is named without one."""
        yield from node.get("properties", {}).items()
        yield from ((name, {}) for name in node.get("required", ()) if name not in node.get("properties", {}))
        for part, inside in self._parts(node, within, ("allOf", "anyOf", "oneOf")):
            yield from self._named(part, inside)

    def _parts(
        self, node: Schema, within: tuple[str, ...], words: tuple[str, ...]
    ) -> Iterator[tuple[Schema, tuple[str, ...]]]:
        """What is said of the same value elsewhere."""
        self._parts_left -= 1
        if self._parts_left < 0:
            return
        yield from ((part, within) for word in words for part in node.get(word, ()))
        if "$ref" in node and (name := _name(node)) in self._definitions and name not in within:
            yield self._definitions[name], (*within, name)


def _name(reference: Schema) -> str:
    return str(reference["$ref"]).rpartition("/")[2]


def _of_whole_values(schemas: list[Any]) -> Iterator[Schema]:
    """These schemas and those within them, from the outermost; without such as say only a part of something."""
    left = schemas
    while left:
        node = left.pop()
        if isinstance(node, dict):
            schema = cast("Schema", node)
            yield schema
            left += [schema[word] for word in _ONE if word in schema]
            left += [one for word in _MANY for one in schema.get(word, ())]
            for part in (schema, *schema.get("allOf", ()), schema.get("then", {}), schema.get("else", {})):
                left += part.get("properties", {}).values()
