"""Distinguishes obviously valid answers, nearly all, from those that may need repair, at a fraction of what it
costs to validate them: the SDK does that later in any case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from mcp.types.version import MODERN_PROTOCOL_VERSIONS

_TOOL_KEYS = frozenset(("name", "title", "description", "inputSchema", "outputSchema", "annotations"))
_ENVELOPE = frozenset(("resultType", "ttlMs", "cacheScope"))
_HINTS = frozenset(("readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"))


def is_plain(method: str, version: str, result: Mapping[str, Any]) -> bool:
    """Whether a result certainly conforms to the protocol version; false for any that is not plain.

    Args:
        method: The request's method.
        version: The negotiated protocol version.
        result: As received.
    """
    match method:
        case "tools/call":
            return _is_plain_call(result, version)
        case "tools/list":
            return _is_plain_listing(result, version)
        case _:
            return False


def _is_plain_call(result: Mapping[str, Any], version: str) -> bool:
    """Text, and what goes with it."""
    content = result.get("content")
    if not isinstance(content, list):
        return False
    for block in cast("list[Any]", content):
        if not isinstance(block, dict):
            return False
        parts = cast("dict[str, Any]", block)
        if len(parts) != 2 or parts.get("type") != "text" or not isinstance(parts.get("text"), str):
            return False
    return (
        isinstance(result.get("structuredContent", {}), dict)
        and isinstance(result.get("isError", False), bool)
        and result.get("resultType", "complete") == "complete"
        and "_meta" not in result
        and ("resultType" in result or version not in MODERN_PROTOCOL_VERSIONS)
    )


def _is_plain_listing(result: Mapping[str, Any], version: str) -> bool:
    """Tools with names, words, and schemas of objects."""
    tools = result.get("tools")
    if not isinstance(tools, list) or not all(map(_is_plain_tool, cast("list[Any]", tools))):
        return False
    if not isinstance(result.get("nextCursor", ""), str) or "_meta" in result:
        return False
    if version not in MODERN_PROTOCOL_VERSIONS:
        return _ENVELOPE.isdisjoint(result)
    lifetime, scope = result.get("ttlMs"), result.get("cacheScope")
    is_kept = type(lifetime) is int and lifetime >= 0 and scope in ("private", "public")
    return is_kept and result.get("resultType") == "complete"


def _is_plain_tool(tool: object) -> bool:
    if not isinstance(tool, dict):
        return False
    parts = cast("dict[str, Any]", tool)
    return (
        parts.keys() <= _TOOL_KEYS
        and isinstance(parts.get("name"), str)
        and isinstance(parts.get("title", ""), str)
        and isinstance(parts.get("description", ""), str)
        and _is_plain_schema(parts.get("inputSchema"))
        and ("outputSchema" not in parts or _is_plain_schema(parts["outputSchema"]))
        and ("annotations" not in parts or _is_plain_annotations(parts["annotations"]))
    )


def _is_plain_schema(schema: object) -> bool:
    if not isinstance(schema, dict):
        return False
    parts = cast("dict[str, Any]", schema)
    properties, required = parts.get("properties", {}), parts.get("required", [])
    return (
        parts.get("type") == "object"
        and isinstance(properties, dict)
        and all(isinstance(part, dict) for part in cast("dict[str, Any]", properties).values())
        and isinstance(required, list)
        and all(isinstance(name, str) for name in cast("list[Any]", required))
        and isinstance(parts.get("$schema", ""), str)
    )


def _is_plain_annotations(annotations: object) -> bool:
    if not isinstance(annotations, dict):
        return False
    parts = cast("dict[str, Any]", annotations)
    return all(
        isinstance(value, bool) if name in _HINTS else name == "title" and isinstance(value, str)
        for name, value in parts.items()
    )
