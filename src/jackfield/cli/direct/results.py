"""Results as they came over the wire: which of them the models would take as they are."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from ...plain import as_list, as_table

_BLOCKS = {
    "text": ("text",),
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
}
"""What a block must have as texts, by its type. Other blocks are left to the models."""


def is_usual(method: str, result: Mapping[str, Any]) -> bool:
    """Whether the models would take a result as it is."""
    if result.get("resultType", "complete") != "complete":
        return False
    if method == "resources/read":
        contents = result.get("contents")
        parts = [as_table(part) for part in as_list(contents)]
        return (
            isinstance(contents, list)
            and all(_has_texts(part, ("uri",)) for part in parts)
            and all(isinstance(part.get("text", part.get("blob")), str) for part in parts)
        )
    if method != "tools/call" or not isinstance(result.get("isError", False), bool):
        return False
    blocks = result.get("content")
    return (
        isinstance(blocks, list)
        and isinstance(result.get("structuredContent", {}), dict)
        and all(
            (needed := _BLOCKS.get(str(block.get("type")))) is not None and _has_texts(block, needed)
            for block in map(as_table, as_list(cast("object", blocks)))
        )
    )


def in_order(method: str, result: Mapping[str, Any]) -> dict[str, Any]:
    """A result with its keys in the order of the models, so that it looks the same whichever way it came."""
    key, order = ("contents", ("uri", "mimeType", "_meta", "text", "blob"))
    if method == "tools/call":
        key, order = ("content", ("type",))
    parts = [_ordered(part, order) for part in map(as_table, as_list(result.get(key)))]
    return {**_ordered(result, ("_meta", "ttlMs", "cacheScope", "content", "structuredContent", "isError")), key: parts}


def _ordered(table: Mapping[str, Any], order: Sequence[str]) -> dict[str, Any]:
    return {**{name: table[name] for name in order if name in table}, **table}


def _has_texts(part: Mapping[str, Any], keys: Iterable[str]) -> bool:
    return all(isinstance(part.get(key), str) for key in keys)
