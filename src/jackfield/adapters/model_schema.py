"""A tool's parameters as a model sees them, and the translation of its arguments back to the server's.

A single schema that an API rejects makes every request of an agent fail. Every adapter, every
definition for a model API and the gateway's listing therefore go through `model_schema`: the result is a valid
JSON Schema of an object, without what the APIs are documented to refuse. It is a hint for models: the session still
checks arguments against the server's own schema.

Source: Anthropic API, "Tool use" and its errors ("Property keys should match pattern '^[a-zA-Z0-9_.-]{1,64}$'", "JSON
schema is invalid. It must match JSON Schema draft 2020-12"); OpenAI API, "Function calling"; Gemini API,
`FunctionDeclaration` ("Parameter names must start with a letter or an underscore and must only contain chars a-z, A-Z,
0-9, or underscores with a maximum length of 64").
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from ..json_schema import references_in, tables_in
from ..plain import as_list, as_table
from ..session.results import ToolResult
from ..toolkit.tool import CallOptions, Tool
from .conditions import name_conditional
from .gemini_schema import gemini_schema
from .root_object import CONDITIONAL, root_object
from .valid_schema import Schema, valid_schema

logger: logging.Logger = logging.getLogger("jackfield")

API = Literal["any", "gemini"]
"""The applicable rules: those shared by Anthropic, OpenAI and the frameworks, or Gemini's."""

_VALID_NAME = {"any": re.compile(r"[a-zA-Z0-9_.-]{1,64}"), "gemini": re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")}
_MAX_NAME_CHARS = 64
_MAX_NOTE_CHARS = 1_000
_IN_PLACE = ("allOf", "anyOf", "oneOf")
_OF_ITEMS = ("items", "contains", "unevaluatedItems")
_OF_FURTHER = ("additionalProperties", "unevaluatedProperties")


@dataclass(frozen=True)
class ModelSchema:
    """A tool's parameters as a model sees them."""

    schema: dict[str, Any]
    note: str = ""
    """What the schema leaves unsaid: which of its arguments belong together."""

    renamed: Mapping[str, str] = field(default_factory=dict[str, str])
    """The server's names of the renamed properties."""

    whole: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False, compare=False)
    """Describes what was merged or removed for an API, and where names belong."""

    def server_arguments(self, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments under the server's names. Arguments that already use these names are unchanged."""
        if not self.renamed:
            return dict(arguments)
        return cast("dict[str, Any]", self._restored(arguments, [self.whole]))

    def _restored(self, value: Any, schemas: Sequence[Mapping[str, Any]]) -> Any:
        if isinstance(value, list):
            schemas = self._all_of(schemas)
            firsts = [as_list(one.get("prefixItems")) for one in schemas]
            rest = [one[word] for one in schemas for word in _OF_ITEMS if word in one]
            return [
                self._restored(item, [*(first[n] for first in firsts if n < len(first)), *rest])
                for n, item in enumerate(cast("list[Any]", value))
            ]
        if not isinstance(value, Mapping):
            return value
        schemas = self._all_of(schemas)
        restored: dict[str, Any] = {}
        for name, part in cast("Mapping[str, Any]", value).items():
            below = [one["properties"][name] for one in schemas if name in as_table(one.get("properties"))]
            is_named = below or any(name in as_list(one.get("required")) for one in schemas)
            server_name = self.renamed.get(name, name) if is_named else name
            further = [one[word] for one in schemas for word in _OF_FURTHER if word in one]
            restored.setdefault(server_name, self._restored(part, below or further))
        return restored

    def _all_of(self, schemas: Sequence[Any]) -> list[Schema]:
        """All schemas that say something of the same value."""
        found: dict[int, Schema] = {}
        left: list[Any] = list(schemas)
        while left:
            node = left.pop()
            if not isinstance(node, dict) or id(cast("object", node)) in found:
                continue
            schema = found[id(cast("object", node))] = cast("Schema", node)
            left += [part for word in _IN_PLACE for part in as_list(schema.get(word))]
            left += [schema[word] for word in CONDITIONAL if word in schema]
            left += as_table(schema.get("dependentSchemas")).values()
            if "$ref" in schema:
                left.append(as_table(self.whole.get("$defs")).get(str(schema["$ref"]).rpartition("/")[2]))
        return list(found.values())


def model_schema(schema: Mapping[str, Any], api: API = "any") -> ModelSchema:
    """A server's input schema as a model sees it.

    Total: a schema that cannot be understood becomes an object of any properties.

    Args:
        schema: As the server lists it.
        api: The applicable rules.
    """
    try:
        return _model_schema(schema, api)
    except Exception as error:  # one tool's schema must not cost the others
        logger.warning("[MCP] A tool's schema could not be read, and is shown as accepting any arguments: %r", error)
        return ModelSchema({"type": "object", "properties": {}})


def has_invalid_names(schema: Mapping[str, Any], api: API = "any") -> bool:
    """Whether there are properties whose names the API does not take."""
    return bool(_new_names(schema, _VALID_NAME[api]))


def server_arguments(schema: Mapping[str, Any], arguments: Mapping[str, Any], api: API = "any") -> dict[str, Any]:
    """A model's arguments under the names in a server's schema; fast if no name was changed."""
    if not has_invalid_names(schema, api):
        return dict(arguments)
    return model_schema(schema, api).server_arguments(arguments)


def model_tool(tool: Tool, api: API = "any", *, shown: ModelSchema | None = None) -> Tool:
    """The tool with the schema that a model sees, which takes arguments by the names in it.

    Args:
        tool: As the server offers it.
        api: The applicable rules.
        shown: Its schema for models, if already known.
    """
    known = shown or model_schema(tool.input_schema, api)
    inner = tool.handler

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        return await inner(known.server_arguments(arguments), options)

    return replace(
        tool,
        input_schema=known.schema,
        description=described(tool.description, known),
        handler=handler if known.renamed else inner,
    )


def described(description: str, shown: ModelSchema) -> str:
    """A tool's description with what its schema leaves unsaid: not every API shows models a schema's own."""
    return f"{description}\n\n{shown.note}" if shown.note else description


def _model_schema(schema: Mapping[str, Any], api: API) -> ModelSchema:
    names = _new_names(schema, _VALID_NAME[api])
    root, definitions = valid_schema(schema, names)
    name_conditional(root, definitions)
    unfolded = root
    root, note = root_object(root, definitions, names)
    whole = {"allOf": [root, unfolded], "$defs": definitions}
    if api == "gemini":
        root, definitions = gemini_schema(root, definitions)
        root.setdefault("properties", {})
    note = note if len(note) <= _MAX_NOTE_CHARS else f"{note[:_MAX_NOTE_CHARS]}..."
    if note:
        root["description"] = " ".join(filter(None, [root.get("description"), note]))
    if used := _used(root, definitions):
        root["$defs"] = used
    return ModelSchema(root, note, {new: name for name, new in names.items()}, whole)


def _used(root: Schema, definitions: Mapping[str, Schema]) -> dict[str, Schema]:
    """The referenced definitions."""
    left, used = [*references_in(root)], set[str]()
    while left:
        if (name := left.pop()) in definitions and name not in used:
            used.add(name)
            left += references_in(definitions[name])
    return {name: one for name, one in definitions.items() if name in used}


def _new_names(schema: Mapping[str, Any], valid: re.Pattern[str]) -> dict[str, str]:
    """Unused names for the properties, at any depth, whose own names are invalid."""
    names = _property_names(schema)
    taken = {name for name in names if valid.fullmatch(name)}
    new_names: dict[str, str] = {}
    for name in sorted(names - taken):
        plain = re.sub(r"[^a-zA-Z0-9_.-]" if valid.fullmatch("a.b") else r"[^a-zA-Z0-9_]", "_", name).strip("_")
        plain = plain if valid.fullmatch(plain[:1] or " ") else f"_{plain}"
        if plain in ("", "_") or len(plain) > _MAX_NAME_CHARS or plain in taken:
            digest = hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
            length = next(n for n in range(6, _MAX_NAME_CHARS) if f"{plain[: 63 - n]}_{digest[:n]}" not in taken)
            plain = f"{plain[: 63 - length]}_{digest[:length]}"
        new_names[name] = plain
        taken.add(plain)
    return new_names


def _property_names(schema: Mapping[str, Any]) -> set[str]:
    names: set[str] = set()
    for node in tables_in(dict(schema)):
        names.update(as_table(node.get("properties")))
        needs = [*as_table(node.get("dependencies")).values(), *as_table(node.get("dependentRequired")).values()]
        for needed in (node.get("required"), *needs):
            names.update(name for name in as_list(needed) if isinstance(name, str))
        # At the root, the names in a value become properties.
        for value in (*as_list(node.get("enum")), node.get("const")):
            names.update(as_table(value))
    return names
