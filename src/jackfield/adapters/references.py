"""The references (`$ref`) in a schema, and where they lead, without ever leaving it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote

from ..plain import as_table

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
