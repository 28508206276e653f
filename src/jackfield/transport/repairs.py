"""Repairs results that the SDK would reject because of one flaw: valid parts are kept, the rest is reported in words.

All of it is pure. The SDK checks a result against the schema of the negotiated version before anybody can see it, so
this happens before: a result that passes that check is not touched, of one that does not each part is tried alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from mcp.types import methods
from mcp.types.version import MODERN_PROTOCOL_VERSIONS as _TYPED_VERSIONS
from pydantic import ValidationError

from ..masking import mask
from ..plain import as_list, as_table
from .flaws import FLAWS_KEY, Flaws, as_text, kind_of, quoted, short, why

_SHOWN_FLAWS = 50

# What an entry of a listing must have, by the listing's method.
_LISTED: Mapping[str, tuple[str, str, Sequence[str]]] = {
    "tools/list": ("tools", "tool", ("name", "inputSchema")),
    "resources/list": ("resources", "resource", ("uri", "name")),
    "resources/templates/list": ("resourceTemplates", "resource template", ("uriTemplate", "name")),
    "prompts/list": ("prompts", "prompt", ("name",)),
}
# What a content block must have, by its type; and what the SDK calls it.
_BLOCKS: Mapping[str, tuple[str, Sequence[str]]] = {
    "text": ("TextContent", ("type", "text")),
    "image": ("ImageContent", ("type", "data", "mimeType")),
    "audio": ("AudioContent", ("type", "data", "mimeType")),
    "resource_link": ("ResourceLink", ("type", "uri", "name")),
    "resource": ("EmbeddedResource", ("type", "resource")),
}

_KNOWN_KEYS = frozenset(
    (
        *("tools", "resources", "resourceTemplates", "prompts", "nextCursor", "resultType", "ttlMs", "cacheScope"),
        *("content", "structuredContent", "isError", "contents", "messages", "description", "completion", "_meta"),
    )
)
LISTING_METHODS = frozenset(_LISTED)
REPAIRED_METHODS = frozenset({*_LISTED, "tools/call", "resources/read", "prompts/get", "completion/complete"})


def repaired(method: str, version: str, result: dict[str, Any], *, uri: str = "") -> dict[str, Any]:
    """A result that the SDK accepts, if possible.

    Args:
        method: The request's method.
        version: The negotiated protocol version.
        result: As received; not changed.
        uri: The requested resource's URI.
    """
    repair = _Repair(method, version, uri)
    try:
        is_fine = repair.misfit(result) is None and not (method == "tools/list" and _has_odd_schema(result))
        return result if is_fine else repair.of(result)
    except (RecursionError, ValueError):
        return result  # Nested too deep to be looked at: the SDK says so.


class _Repair:
    """The repair of one result."""

    def __init__(self, method: str, version: str, uri: str) -> None:
        self._method = method
        self._version = version
        self._uri = uri
        self._flaws = Flaws(problems=[])
        self._envelope: dict[str, Any] = (
            {"resultType": "complete", "ttlMs": 0, "cacheScope": "private"} if version in _TYPED_VERSIONS else {}
        )

    def misfit(self, result: Mapping[str, Any]) -> ValidationError | None:
        """Why the SDK would refuse it, if it would."""
        try:
            methods.parse_server_result(self._method, self._version, result)
        except ValidationError as error:
            return error
        return None

    def of(self, result: dict[str, Any]) -> dict[str, Any]:
        """The result with its valid parts."""
        if result.get("resultType") == "input_required":
            return result
        if self._method in _LISTED:
            found = self._listing(result)
        elif self._method == "tools/call":
            found = self._call(result)
        elif self._method == "resources/read":
            found = {"contents": self._items(result, "contents", self._contents)}
        elif self._method == "prompts/get":
            found = self._optional(result, ("description",), {"messages": self._messages(result)})
        else:
            found = {"completion": self._completion(result.get("completion"))}
        found = {key: value for key, value in result.items() if key not in _KNOWN_KEYS} | found
        found = self._in_envelope(result, found)
        if self.misfit(found) is not None:
            return result
        found["_meta"] = {**as_table(found.get("_meta")), FLAWS_KEY: self._flaws}
        return found

    def _flaw(self, text: str) -> None:
        text, problems = mask(text), self._flaws.problems
        if len(problems) < _SHOWN_FLAWS:
            problems.append(text)
        elif len(problems) == _SHOWN_FLAWS:
            problems.append("and more")

    # Of all results

    def _in_envelope(self, result: Mapping[str, Any], found: dict[str, Any]) -> dict[str, Any]:
        for key, default in self._envelope.items():
            value = result.get(key)
            if key != "resultType" and self._method not in methods.CACHEABLE_METHODS:
                continue
            right = {"resultType": isinstance(value, str), "cacheScope": value in ("public", "private")}.get(
                key, isinstance(value, int | float) and value >= 0
            )
            found[key] = value if right else default
            if not right and not isinstance(value, int | float):
                self._flaw(f"{key} is {kind_of(value) if key in result else 'missing'}")
        if not self._envelope and isinstance(result.get("resultType"), str):
            found["resultType"] = result["resultType"]
        if "_meta" in result and result["_meta"] is not None:
            with_meta = {**found, "_meta": result["_meta"]}
            if self.misfit(with_meta) is None:
                return with_meta
            self._flaw("_meta is omitted: it does not conform to the protocol")
        return found

    def _optional(self, result: Mapping[str, Any], keys: Sequence[str], found: dict[str, Any]) -> dict[str, Any]:
        """With the valid optional fields."""
        for key in keys:
            if result.get(key) is not None:
                tried = {**found, key: result[key]}
                if (error := self.misfit({**self._envelope, **tried})) is None:
                    found = tried
                else:
                    self._flaw(f"{key} is omitted ({why(error)})")
        return found

    def _items(
        self, result: Mapping[str, Any], key: str, repair: Callable[[Any, str], list[dict[str, Any]]]
    ) -> list[dict[str, Any]]:
        """The valid entries of a list."""
        value = result.get(key)
        if not isinstance(value, list):
            self._flaw(f"{key} is {kind_of(value) if key in result else 'missing'}")
        given = cast("Any", value)
        entries: list[Any] = given if isinstance(value, list) else [given] if isinstance(value, dict | str) else []
        return [good for number, item in enumerate(entries) for good in repair(item, f"{key}[{number}]")]

    def _salvaged(
        self,
        item: Mapping[str, Any],
        required: Sequence[str],
        around: Callable[[Mapping[str, Any]], dict[str, Any]],
        name: str,
        union: str = "",
    ) -> dict[str, Any] | None:
        """An entry with its valid optional fields; `None` if a required one is invalid."""
        if self.misfit(around(item)) is None:
            return dict(item)
        kept = {key: item[key] for key in required if key in item}
        if (error := self.misfit(around(kept))) is not None:
            self._flaw(f"{name} cannot be read ({why(error, union)})")
            return None
        for key, value in item.items():
            if key in kept:
                continue
            tried = {**kept, key: value}
            if (error := self.misfit(around(tried))) is None:
                kept = tried
            else:
                self._flaw(f"{name}: {key} is omitted ({why(error, union)})")
        return kept

    # Listings

    def _listing(self, result: Mapping[str, Any]) -> dict[str, Any]:
        key, kind, required = _LISTED[self._method]

        def entry(item: Any, where: str) -> list[dict[str, Any]]:
            if not isinstance(item, dict):
                self._flaw(f"{where} is {kind_of(item)} and is omitted")
                return []
            table = dict(cast("dict[str, Any]", item))
            label = next((value for one in ("name", *required) if isinstance(value := table.get(one), str)), None)
            name = f"{kind} {label!r}" if label else where
            if not isinstance(table.get("name"), str) and (key in ("tools", "prompts") or label is None):
                its_name = kind_of(table["name"]) if "name" in table else "missing"
                self._flaw(f"{where} is omitted: its name is {its_name}")
                return []
            if key == "tools":
                self._with_schemas(table, name)
            elif not isinstance(table.get("name"), str):
                table["name"] = label
                self._flaw(f"{name}: name is missing, its URI is used instead")
            good = self._salvaged(table, required, lambda one: {**self._envelope, key: [one]}, name)
            return [] if good is None else [good]

        found = {key: self._items(result, key, entry)}
        if isinstance(cursor := result.get("nextCursor"), int) and not isinstance(cursor, bool):
            result = {"nextCursor": str(cursor)}
        return self._optional(result, ("nextCursor",), found)

    def _with_schemas(self, tool: dict[str, Any], name: str) -> None:
        given = tool.get("inputSchema")
        schema, problems = _object_schema(given, is_missing="inputSchema" not in tool)
        tool["inputSchema"] = schema
        for problem in problems:
            self._flaw(f"{name}: inputSchema {problem}")
        if isinstance(output := tool.get("outputSchema"), dict):
            schema, problems = _object_schema(cast("dict[str, Any]", output), needs_type=not self._envelope)
            tool["outputSchema"] = schema
            for problem in problems:
                self._flaw(f"{name}: outputSchema {problem}")

    # Results

    def _call(self, result: Mapping[str, Any]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if result.get("content") is None and "structuredContent" in result:
            self._flaw(f"content is {'null' if 'content' in result else 'missing'}")
            found["content"] = []
        else:
            found["content"] = self._items(result, "content", self._block)
        is_error = result.get("isError")
        if is_error is not None and not isinstance(is_error, bool):
            found["isError"] = (
                is_error.lower() not in ("false", "0", "no", "") if isinstance(is_error, str) else bool(is_error)
            )
            self._flaw(f"isError is {kind_of(is_error)}, taken as {str(found['isError']).lower()}")
        elif "isError" in result:
            found["isError"] = bool(is_error)
            if is_error is None:
                self._flaw("isError is null, taken as false")
        if "structuredContent" in result:
            structured = result["structuredContent"]
            if self._envelope or isinstance(structured, dict):
                found["structuredContent"] = structured
            elif structured is not None:
                self._flaws["structured"] = structured
                self._flaw(f"structuredContent is {kind_of(structured)}, not an object")
        return found

    def _block(self, block: Any, where: str) -> list[dict[str, Any]]:
        if block is None:
            self._flaw(f"{where} is null and is omitted")
            return []
        if isinstance(block, str):
            self._flaw(f"{where} is a string, taken as text")
            return [{"type": "text", "text": block}]
        if not isinstance(block, dict):
            self._flaw(f"{where} is {kind_of(block)}, given as text")
            return [as_text(block)]
        table = dict(cast("dict[str, Any]", block))
        if "type" not in table and isinstance(table.get("text"), str):
            table["type"] = "text"
            self._flaw(f"{where} has no type, taken as text")
        kind = table.get("type")
        known = _BLOCKS.get(kind) if isinstance(kind, str) else None
        if known is None:
            self._flaw(f"{where} is of an unknown type {short(kind)}, given as text")
            return [as_text(cast("object", block))]
        self._fill_in(table, where)
        good = self._salvaged(table, known[1], self._around_block, where, known[0])
        return [as_text(cast("object", block)) if good is None else good]

    def _around_block(self, block: Mapping[str, Any]) -> dict[str, Any]:
        if self._method == "prompts/get":
            return {**self._envelope, "messages": [{"role": "user", "content": block}]}
        return {**self._envelope, "content": [block]}

    def _fill_in(self, block: dict[str, Any], where: str) -> None:
        """Correct required fields if the correction is unambiguous."""
        if block["type"] == "text" and isinstance(text := block.get("text"), int | float | bool | list | dict):
            block["text"] = quoted(cast("object", text))
            self._flaw(f"{where}: text is {kind_of(cast('object', text))}, given as JSON")
        if block["type"] == "resource_link" and not isinstance(block.get("name"), str) and "uri" in block:
            block["name"] = block["uri"]
            self._flaw(f"{where}: name is missing, its URI is used instead")
        if block["type"] == "resource" and isinstance(resource := block.get("resource"), dict):
            block["resource"] = self._filled_contents(dict(cast("dict[str, Any]", resource)), f"{where}.resource")

    def _contents(self, item: Any, where: str) -> list[dict[str, Any]]:
        if item is None:
            self._flaw(f"{where} is null and is omitted")
            return []
        if not isinstance(item, dict):
            self._flaw(f"{where} is {kind_of(item)}, given as text")
            return [{"uri": self._uri, "text": item if isinstance(item, str) else quoted(item)}]
        table = self._filled_contents(dict(cast("dict[str, Any]", item)), where)
        required = ("uri", "text" if "text" in table else "blob")
        good = self._salvaged(table, required, lambda one: {**self._envelope, "contents": [one]}, where)
        return [{"uri": self._uri, "text": quoted(cast("object", item))} if good is None else good]

    def _filled_contents(self, table: dict[str, Any], where: str) -> dict[str, Any]:
        if not isinstance(table.get("uri"), str):
            self._flaw(f"{where}: uri is {kind_of(table['uri']) if 'uri' in table else 'missing'}")
            table["uri"] = self._uri
        text = table.get("text")
        if text is None and not isinstance(table.get("blob"), str):
            self._flaw(f"{where} has neither text nor blob")
            table["text"] = quoted({key: value for key, value in table.items() if key != "uri"})
        elif text is not None and not isinstance(text, str):
            self._flaw(f"{where}: text is {kind_of(text)}, given as JSON")
            table["text"] = quoted(text)
        elif text is None:
            table.pop("text", None)
        return table

    def _messages(self, result: Mapping[str, Any]) -> list[dict[str, Any]]:
        def message(item: Any, where: str) -> list[dict[str, Any]]:
            table = as_table(item)
            content = table.get("content", item if isinstance(item, str) else None)
            role = table.get("role")
            if role not in ("user", "assistant"):
                self._flaw(f"{where}: role is {short(role)}, taken as user")
                role = "user"
            blocks = as_list(content) or [content]
            if blocks is content:
                self._flaw(f"{where}: content is a list, given as a message for each block")
            return [{"role": role, "content": good} for one in blocks for good in self._block(one, f"{where}.content")]

        return self._items(result, "messages", message)

    def _completion(self, given: Any) -> dict[str, Any]:
        table = as_table(given)
        values = as_list(given) or as_list(table.get("values"))
        self._flaw("completion does not conform to the protocol")
        found: dict[str, Any] = {
            "values": [value if isinstance(value, str) else quoted(value) for value in values if value is not None][
                :100
            ]
        }
        for key in ("total", "hasMore"):
            tried = {**found, key: table.get(key)}
            if key in table and self.misfit({**self._envelope, "completion": tried}) is None:
                found = tried
        return found


def _object_schema(
    given: Any, *, is_missing: bool = False, needs_type: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """A usable object schema, and the problems of the given one."""
    problems: list[str] = []
    if isinstance(given, str):
        try:
            given = json.loads(given)
            problems.append("is JSON in a string")
        except ValueError:
            pass
    if not isinstance(given, dict):
        what = "missing" if is_missing else kind_of(given)
        return {"type": "object"}, [*problems, f"is {what}, taken as any object"]
    schema = dict(cast("dict[str, Any]", given))
    if schema.get("type") != "object" and needs_type:
        kind = f"is of type {short(schema['type'])}" if "type" in schema else "has no type"
        problems.append(f"{kind} at its top, taken as object")
        schema["type"] = "object"
    properties = schema.get("properties", {})
    if not isinstance(properties, dict):
        problems.append(f"has properties that are {kind_of(properties)}")
        del schema["properties"]
    else:
        table = cast("dict[str, Any]", properties)
        for name in [name for name, inner in table.items() if not isinstance(inner, dict | bool)]:
            problems.append(f"has a property {short(name)} that is {kind_of(table[name])}")
            table = {key: value for key, value in table.items() if key != name}
            schema["properties"] = table
    required = schema.get("required", [])
    if not isinstance(required, list):
        problems.append(f"has required that is {kind_of(required)}")
        del schema["required"]
    elif not all(isinstance(name, str) for name in cast("list[Any]", required)):
        problems.append("requires something that is not a name")
        schema["required"] = [name for name in cast("list[Any]", required) if isinstance(name, str)]
    if not isinstance(schema.get("$schema", ""), str):
        problems.append(f"has $schema that is {kind_of(schema['$schema'])}")
        del schema["$schema"]
    return schema, problems


def _has_odd_schema(result: Mapping[str, Any]) -> bool:
    """Whether a schema would be usable only in part, although the protocol's version lets it pass."""
    tools = [as_table(tool) for tool in as_list(result.get("tools"))]
    return any(
        _object_schema(tool.get("inputSchema"))[1]
        or (tool.get("outputSchema") is not None and _object_schema(tool["outputSchema"], needs_type=False)[1])
        for tool in tools
    )
