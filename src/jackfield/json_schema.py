"""JSON schemas of servers: resolves references (`$ref`) within the schema, and writes a signature in one line.

A schema may have any shape: invalid parts resolve to nothing and raise no error.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from .plain import as_list, as_table

_BELOW = ("$defs", "definitions")


def target(reference: object, root: Mapping[str, Any]) -> Any:
    """What a reference refers to; `None` where it leads nowhere, or out of the schema."""
    if not isinstance(reference, str):
        return None
    base, _, fragment = reference.partition("#")
    start: Any = root if base in ("", root.get("$id"), root.get("id")) else _named(base, ("$id", "id"), root)
    if fragment and not fragment.startswith("/"):
        return _named(fragment, ("$anchor", "$dynamicAnchor"), root) or _named(f"#{fragment}", ("$id", "id"), root)
    return _at(unquote(fragment), start)


def _at(pointer: str, node: Any) -> Any:
    """What a JSON pointer (RFC 6901) points at."""
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, list):
            items = cast("list[Any]", node)
            node = items[int(name)] if name.isdecimal() and int(name) < len(items) else None
        else:
            node = as_table(node).get(name)
    return node


def _named(name: str, words: tuple[str, ...], root: Mapping[str, Any]) -> Any:
    return next((one for one in _definitions(root) if any(one.get(word) == name for word in words)), None)


def _definitions(root: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield root
    for word in _BELOW:
        yield from map(as_table, as_table(root.get(word)).values())


def tables_in(schema: object) -> Iterator[dict[str, Any]]:
    """All tables in a schema, its own first."""
    left = [schema]
    while left:
        node = left.pop()
        if isinstance(node, dict):
            table = cast("dict[str, Any]", node)
            yield table
            left += table.values()
        elif isinstance(node, list):
            left += cast("list[object]", node)


def references_in(schema: object) -> set[str]:
    """The last part of each reference in a schema."""
    references = (table.get("$ref") for table in tables_in(schema))
    return {reference.rpartition("/")[2] for reference in references if isinstance(reference, str)}


def signature(name: str, schema: Mapping[str, Any]) -> str:
    """A tool's parameters in one line: `search(query: string, limit?: integer = 5)`."""
    properties, required = as_table(schema.get("properties")), _required(schema)
    names = ordered_parameters(schema)
    shown = [_parameter(parameter, properties[parameter], parameter in required) for parameter in names]
    return f"{name}({', '.join(shown)})"


def ordered_parameters(schema: Mapping[str, Any]) -> list[str]:
    """The names of a tool's parameters, required ones first, as a person would write them."""
    required = _required(schema)
    return sorted(as_table(schema.get("properties")), key=lambda parameter: parameter not in required)


def _required(schema: Mapping[str, Any]) -> list[Any]:
    """What has to be given. Servers fill a default in, also where they name it as required."""
    properties = as_table(schema.get("properties"))
    return [name for name in as_list(schema.get("required")) if "default" not in as_table(properties.get(name))]


def _parameter(name: str, schema: Any, required: bool) -> str:
    shown = f"{name}{'' if required else '?'}: {type_name(schema)}"
    default = as_table(schema).get("default")
    return shown if default is None else f"{shown} = {json.dumps(default, ensure_ascii=False)}"


def type_name(schema: Any) -> str:
    """The type that a schema allows, in short: `integer|null`, `string[]`."""
    parts = as_table(schema)
    if isinstance(values := parts.get("enum"), list):
        some = cast("list[Any]", values)
        return "|".join(json.dumps(value, ensure_ascii=False) for value in some[:8]) + ("|..." if len(some) > 8 else "")
    if isinstance(reference := parts.get("$ref"), str):
        return reference.rpartition("/")[2]
    for union in ("anyOf", "oneOf"):
        if isinstance(branches := parts.get(union), list):
            return "|".join(dict.fromkeys(type_name(branch) for branch in cast("list[Any]", branches)))
    kind: Any = parts.get("type", "any")
    if isinstance(kind, list):
        return "|".join(map(str, cast("list[Any]", kind)))
    return f"{type_name(parts.get('items'))}[]" if kind == "array" else str(kind)
