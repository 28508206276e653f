"""Strict mode: a server's schema as the model APIs' constrained decoding takes it.

A strict schema may let more through than the server's, since arguments are checked against the server's own
before anything is sent; it never lets less through, save for properties that the server left unnamed.

Source: OpenAI API, "Structured outputs", "Supported schemas"; Anthropic API, "Strict tool use" and "Structured
outputs", "Schema complexity limits".
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, cast

from jsonschema.validators import Draft202012Validator
from referencing import Registry

from ..json_schema import target
from ..plain import as_list, as_table

Schema = Mapping[str, Any]

_SHARED = {"type", "enum", "const", "description", "title"}
_KEPT = {
    "openai": _SHARED | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"},
    "anthropic": _SHARED,
}
_MAX_DEPTH = 10
_MAX_PROPERTIES = 5000
_MAX_ENUM_VALUES = 1000
_MAX_TEXT_CHARS = 100_000
"""OpenAI counts names and values; its own limit is 120,000."""

_MAX_STRICT_TOOLS = 20
_MAX_OPTIONAL_PARAMETERS = 24
_MAX_UNIONS = 16


class _InexpressibleError(Exception):
    """The schema cannot be had in strict mode."""


def strict_schema(schema: Schema, api: Literal["openai", "anthropic"]) -> dict[str, Any] | None:
    """The schema for strict mode, or `None` if it cannot be expressed.

    OpenAI requires every property, so optional ones may be `null`; `without_nulls`
    removes these again.
    """
    try:
        return _Strict(schema, api).root()
    except (_InexpressibleError, RecursionError):
        return None


class StrictRoom:
    """What one request to Anthropic's API has room for in strict mode, over all its tools."""

    def __init__(self) -> None:
        self._tools = self._optional = self._unions = 0

    def taken_by(self, schema: dict[str, Any] | None) -> dict[str, Any] | None:
        """The strict schema, or `None` if the API's limits are reached."""
        if schema is None:
            return None
        nodes = list(_nodes(schema))
        optional = sum(len(node["properties"]) - len(node["required"]) for node in nodes if "properties" in node)
        unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
        if (
            self._tools == _MAX_STRICT_TOOLS
            or self._optional + optional > _MAX_OPTIONAL_PARAMETERS
            or self._unions + unions > _MAX_UNIONS
        ):
            return None
        self._tools, self._optional, self._unions = self._tools + 1, self._optional + optional, self._unions + unions
        return schema


def _nodes(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A strict schema and all its subschemas."""
    yield schema
    below = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    for node in (*below, *([schema["items"]] if "items" in schema else ())):
        yield from _nodes(node)


class _Strict:
    def __init__(self, schema: Schema, api: Literal["openai", "anthropic"]) -> None:
        self._schema = schema
        self._api = api
        self._properties = 0
        self._used: dict[str, dict[str, Any]] = {}
        self._open: list[str] = []

    def root(self) -> dict[str, Any]:
        schema = dict(self._schema)
        if any(key in schema for key in ("anyOf", "oneOf", "$ref")):
            raise _InexpressibleError  # the root must be an object
        schema.setdefault("type", "object")
        schema.setdefault("properties", {})
        converted = self._convert(schema, 0)
        whole = {**converted, "$defs": self._used} if self._used else converted
        if self._api == "openai":
            nodes = list(_nodes(whole))
            values = [value for node in nodes for value in node.get("enum", ())]
            texts = [*values, *self._used, *(name for node in nodes for name in node.get("properties", ()))]
            if len(values) > _MAX_ENUM_VALUES or sum(len(str(text)) for text in texts) > _MAX_TEXT_CHARS:
                raise _InexpressibleError
        return whole

    def _convert(self, schema: Any, depth: int) -> dict[str, Any]:
        if not isinstance(schema, Mapping) or depth > _MAX_DEPTH or "patternProperties" in schema:
            raise _InexpressibleError
        schema = cast("Schema", schema)
        if "$ref" in schema:
            return self._reference(schema["$ref"], depth)
        if parts := schema.get("allOf"):
            if len(parts) > 1 or "properties" in schema:
                raise _InexpressibleError
            return self._convert({**parts[0], **{key: value for key, value in schema.items() if key != "allOf"}}, depth)
        if branches := schema.get("anyOf") or schema.get("oneOf"):
            union: dict[str, Any] = {"anyOf": [self._convert(branch, depth) for branch in branches]}
            return union | {key: schema[key] for key in ("description", "title") if key in schema}
        kept = {key: value for key, value in schema.items() if key in _KEPT[self._api]}
        if any(isinstance(value, dict | list) for value in (*as_list(kept.get("enum")), kept.get("const"))):
            raise _InexpressibleError
        kinds = [schema.get("type")] if not isinstance(schema.get("type"), list) else schema["type"]
        if kinds == [None] and not {"enum", "const"} & set(kept):
            raise _InexpressibleError  # anything at all
        if "object" in kinds:
            kept |= self._object(schema, depth)
        if "array" in kinds:
            kept["items"] = self._convert(schema.get("items"), depth + 1)
        return kept

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        # An object of any properties cannot be closed without losing what it is for.
        if schema.get("additionalProperties", False) is not False or "properties" not in schema:
            raise _InexpressibleError
        properties: Schema = schema["properties"]
        self._properties += len(properties)
        if self._properties > _MAX_PROPERTIES:
            raise _InexpressibleError
        required: Sequence[str] = schema.get("required", [])
        converted = {name: self._convert(part, depth + 1) for name, part in properties.items()}
        if self._api == "openai":
            converted = {
                name: part if name in required else self._nullable(part, properties[name])
                for name, part in converted.items()
            }
            required = list(properties)
        return {"properties": converted, "required": list(required), "additionalProperties": False}

    def _nullable(self, converted: dict[str, Any], original: Any) -> dict[str, Any]:
        if _takes_null(original, self._schema):
            return converted
        if isinstance(converted.get("type"), str) and not {"enum", "const"} & set(converted):
            return {**converted, "type": [converted["type"], "null"]}
        about = {key: converted.pop(key) for key in ("description", "title") if key in converted}
        branches = converted.get("anyOf", [converted])
        return {"anyOf": [*branches, {"type": "null"}], **about}

    def _reference(self, reference: Any, depth: int) -> dict[str, Any]:
        name = str(reference).rpartition("/")[2]
        if name in self._open and self._api == "anthropic":
            raise _InexpressibleError  # no schemas within themselves
        if name not in self._used:
            self._used[name] = {}
            self._open.append(name)
            self._used[name] = self._convert(target(reference, self._schema), depth)
            self._open.pop()
        return {"$ref": f"#/$defs/{name}"}


def without_nulls(arguments: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """The arguments without the `null`s that strict mode forced the model to write.

    Removes only arguments that the server's schema neither requires nor allows to be `null`.
    """
    given = dict(arguments)
    return cast("dict[str, Any]", _without_nulls(given, schema, schema)) if _has_null(given) else given


def _has_null(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_null, cast("dict[str, Any]", value).values()))
    return any(map(_has_null, cast("list[Any]", value))) if isinstance(value, list) else value is None


def _without_nulls(value: Any, schema: Any, root: Schema) -> Any:
    return _pruned(value, cast("Schema", schema), root) if isinstance(schema, Mapping) else value


def _pruned(value: Any, schema: Schema, root: Schema) -> Any:
    if "$ref" in schema:
        value = _without_nulls(value, target(schema["$ref"], root), root)
    for part in as_list(schema.get("allOf")):
        value = _without_nulls(value, part, root)
    for branch in as_list(schema.get("anyOf") or schema.get("oneOf")):
        pruned = _without_nulls(value, branch, root)
        if _is_valid(pruned, branch, root):
            value = pruned
            break
    for one in map(as_table, (*as_list(schema.get("enum")), schema.get("const"))):
        if one and one == {name: part for name, part in as_table(value).items() if part is not None or name in one}:
            return dict(one)
    if isinstance(value, list):
        return [_without_nulls(item, schema.get("items"), root) for item in cast("list[Any]", value)]
    if not isinstance(value, dict) or not isinstance(schema.get("properties"), Mapping):
        return cast("Any", value)
    properties: Schema = schema["properties"]
    required: Sequence[str] = schema.get("required", [])
    return {
        name: _without_nulls(part, properties.get(name), root)
        for name, part in cast("dict[str, Any]", value).items()
        if part is not None or name in required or name not in properties or _takes_null(properties[name], root)
    }


def _takes_null(schema: Any, root: Schema) -> bool:
    return _is_valid(None, schema, root)


def _is_valid(value: Any, schema: Any, root: Schema) -> bool:
    definitions = {key: root[key] for key in ("$defs", "definitions") if key in root}
    whole: Any = {**cast("Schema", schema), **definitions} if isinstance(schema, Mapping) else schema
    validator: Any = Draft202012Validator(whole, registry=Registry())
    try:
        return validator.is_valid(value)
    except Exception:  # a broken schema or reference of the server's: it has the last word
        return True
