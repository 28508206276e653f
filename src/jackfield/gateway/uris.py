"""URIs of resources in what servers say, by the names that clients have for them.

A resource keeps its URI here unless another server has the same; what links to it has to link to what clients can read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

from ..plain import as_list, as_table

Given = Callable[[str], str]
"""What a server's resource is called here."""

_FETCHED_DIRECTLY = ("http:", "https:")
"""What clients need no server for."""

_OLD_UI_KEY = "ui/resourceUri"


def with_given_uris(method: str, result: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
    """A server's result with the URIs that clients have; the same object where nothing is different.

    Args:
        method: Of the request.
        result: As the server gave it.
        given: Names a resource.
    """
    match method:
        case "tools/call" | "tasks/result":
            return _with(result, "content", _blocks(result.get("content"), given))
        case "resources/read":
            return _with(result, "contents", _each(result.get("contents"), lambda one: _with_uri(one, given)))
        case "prompts/get":

            def message(one: Mapping[str, Any]) -> Mapping[str, Any]:
                # Of one block, or of several.
                one = _within(one, "content", lambda block: _block(block, given))
                return _with(one, "content", _blocks(one.get("content"), given))

            return _with(result, "messages", _each(result.get("messages"), message))
        case _:
            return result


def with_given_interface(tool: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
    """A listed tool whose interface, if it has one, is named as clients can read it.

    Source: MCP Apps (SEP-1865), "Resource Discovery": `_meta.ui.resourceUri`.
    """

    def named(meta: Mapping[str, Any]) -> Mapping[str, Any]:
        return _with_uri(_within(meta, "ui", lambda ui: _with_uri(ui, given, "resourceUri")), given, _OLD_UI_KEY)

    return _within(tool, "_meta", named)


def _blocks(blocks: object, given: Given) -> object:
    return _each(blocks, lambda block: _block(block, given))


def _block(block: Mapping[str, Any], given: Given) -> Mapping[str, Any]:
    match block.get("type"):
        case "resource_link":
            return _with_uri(block, given)
        case "resource":
            return _within(block, "resource", lambda resource: _with_uri(resource, given))
        case _:
            return block


def _each(items: object, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]) -> object:
    before = as_list(items)
    after = [change(as_table(cast("object", one))) if isinstance(one, dict) else one for one in before]
    return items if all(one is other for one, other in zip(before, after, strict=True)) else after


def _within(
    table: Mapping[str, Any], key: str, change: Callable[[Mapping[str, Any]], Mapping[str, Any]]
) -> Mapping[str, Any]:
    inner = table.get(key)
    return _with(table, key, change(as_table(cast("object", inner)))) if isinstance(inner, Mapping) else table


def _with_uri(table: Mapping[str, Any], given: Given, key: str = "uri") -> Mapping[str, Any]:
    uri = table.get(key)
    if not isinstance(uri, str) or uri.startswith(_FETCHED_DIRECTLY):
        return table
    return _with(table, key, given(uri))


def _with(table: Mapping[str, Any], key: str, value: object) -> Mapping[str, Any]:
    before = table.get(key)
    return table if value is before or value == before or key not in table else {**table, key: value}
