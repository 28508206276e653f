"""A tool's parameters in one line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from ..plain import as_list, as_table


def signature(name: str, schema: Mapping[str, Any]) -> str:
    """A tool's parameters in one line: `search(query: string, limit?: integer = 5)`."""
    properties = as_table(schema.get("properties"))
    # Servers fill a default in, also where they name it as required.
    required = [name for name in as_list(schema.get("required")) if "default" not in as_table(properties.get(name))]
    # Required ones first, as a person would write them.
    ordered = sorted(properties, key=lambda parameter: parameter not in required)
    shown = [_parameter(parameter, properties[parameter], parameter in required) for parameter in ordered]
    return f"{name}({', '.join(shown)})"


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
