"""What the model APIs are documented to refuse in a tool's definition, as functions that name the faults.

Source: Anthropic API, "Tool use", "Structured outputs" ("JSON Schema limitations", "Schema complexity limits") and its
errors of status 400; OpenAI API, "Function calling", "Structured outputs" ("Supported schemas") and its errors of
status 400; Gemini API reference, `FunctionDeclaration`, `Schema`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator

NOT_AT_THE_ROOT = {"anyOf", "oneOf", "allOf", "enum", "const", "not", "$ref"}
ANTHROPIC_NAME, GEMINI_NAME = re.compile(r"[a-zA-Z0-9_.-]{1,64}"), re.compile(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}")
GEMINI_WORDS = {
    *("$defs", "$ref", "type", "format", "title", "description", "enum", "items", "prefixItems", "minItems"),
    *("maxItems", "minimum", "maximum", "anyOf", "properties", "additionalProperties", "required", "default"),
    "propertyOrdering",
}
_ONE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_LISTS, _TABLES = ("anyOf", "oneOf", "allOf", "prefixItems"), ("properties", "$defs", "dependentSchemas")


def subschemas(schema: Any) -> Iterator[dict[str, Any]]:
    """A schema and all within it."""
    if not isinstance(schema, dict):
        return
    yield schema
    for word in _ONE:
        yield from subschemas(schema.get(word))
    for word in _LISTS:
        for one in schema.get(word, ()):
            yield from subschemas(one)
    for word in _TABLES:
        for one in schema.get(word, {}).values():
            yield from subschemas(one)


@functools.cache
def _check_schema(text: str) -> None:
    """Most adapters hand on the same schema, and to check it takes some 10 ms."""
    Draft202012Validator.check_schema(json.loads(text))


def of_any_api(schema: Mapping[str, Any]) -> list[str]:
    """Anthropic's rules and OpenAI's, which frameworks do not see to."""
    faults = [f"{word} at the root" for word in NOT_AT_THE_ROOT & schema.keys()]
    if schema.get("type") != "object" or not isinstance(schema.get("properties"), dict):
        return [*faults, f"no object: {schema}"]
    try:
        text = json.dumps(schema, allow_nan=False, ensure_ascii=False)
        text.encode()
        _check_schema(text)
    except Exception as error:
        faults.append(f"no valid JSON or JSON Schema: {error}")
    faults += [f"names: {name}" for name in schema["properties"] if not ANTHROPIC_NAME.fullmatch(name)]
    faults += [f"not a schema for {name}" for name, one in schema["properties"].items() if not isinstance(one, dict)]
    if not set(schema.get("required", [])) <= schema["properties"].keys():
        faults.append("requires what is not there")
    definitions = schema.get("$defs", {})
    for node in subschemas(dict(schema)):
        if "$ref" in node and node["$ref"].removeprefix("#/$defs/") not in definitions:
            faults.append(f"leads nowhere: {node['$ref']}")
        if "array" in node.get("type", ()) and "items" not in node:
            faults.append("array schema missing items")
        if "patternProperties" in node or node.get("enum", True) == []:
            faults.append("patternProperties, or an enum of nothing")
    faults += [f"{name} is nothing but itself" for name in definitions if _is_circle(name, definitions)]
    return faults


def of_gemini(declaration: Mapping[str, Any]) -> list[str]:
    """Gemini's rules."""
    schema = declaration["parameters_json_schema"]
    faults = of_any_api(schema)
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_.:-]{0,63}", declaration["name"]):
        faults.append("function name")
    definitions = schema.get("$defs", {})
    circles = [f"#/$defs/{name}" for name in definitions if f"#/$defs/{name}" in _reachable(name, definitions)]
    for node in subschemas(schema):
        faults += [f"word: {word}" for word in node.keys() - GEMINI_WORDS]
        faults += [f"names: {name}" for name in node.get("properties", {}) if not GEMINI_NAME.fullmatch(name)]
        if "$ref" in node and len(node) > 1:
            faults.append("next to a reference")
        if any(isinstance(value, bool) or not isinstance(value, str | int | float) for value in node.get("enum", ())):
            faults.append("enum of other than strings and numbers")
        for name in node.get("required", ()):
            if name not in node.get("properties", {}):
                faults.append(f"property is not defined: {name}")
            elif any(f'"{circle}"' in json.dumps(node["properties"][name]) for circle in circles):
                faults.append(f"a circle in a required property: {name}")
    return faults


def of_openai_strict(schema: Mapping[str, Any]) -> list[str]:
    """OpenAI's rules for `strict: true`."""
    faults, nodes = of_any_api(schema), list(subschemas(dict(schema)))
    words = {
        *("type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs"),
        *("description", "title", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
    for node in nodes:
        faults += [f"word: {word}" for word in node.keys() - words]
        if "properties" in node and (
            node.get("additionalProperties") is not False or set(node["required"]) != node["properties"].keys()
        ):
            faults.append("an object that is open, or has optional properties")
    if sum(len(node.get("enum", ())) for node in nodes) > 1000 or len(json.dumps(schema)) > 1_000_000:
        faults.append("too large")
    return faults


def of_anthropic_strict(definitions: list[dict[str, Any]]) -> list[str]:
    """Anthropic's rules for all tools of a request that have `strict: true`."""
    strict = [one["input_schema"] for one in definitions if one.get("strict")]
    nodes = [node for schema in strict for node in subschemas(schema)]
    faults = [fault for schema in strict for fault in of_any_api(schema)]
    words = {
        *("type", "properties", "required", "additionalProperties", "items", "anyOf", "enum", "const", "$ref", "$defs"),
        *("description", "title"),
    }
    for node in nodes:
        faults += [f"word: {word}" for word in node.keys() - words]
        if "properties" in node and node.get("additionalProperties") is not False:
            faults.append("an open object")
        if any(isinstance(value, dict | list) for value in (*node.get("enum", ()), node.get("const"))):
            faults.append("an enum of complex values")
    for schema in strict:
        names = schema.get("$defs", {})
        faults += [f"recursive: {name}" for name in names if f"#/$defs/{name}" in _reachable(name, names)]
    optional = sum(
        len(node["properties"].keys() - set(node.get("required", ()))) for node in nodes if "properties" in node
    )
    unions = sum("anyOf" in node or isinstance(node.get("type"), list) for node in nodes)
    if len(strict) > 20 or optional > 24 or unions > 16:
        faults.append(f"too complex: {len(strict)} tools, {optional} optional parameters, {unions} unions")
    return faults


def _is_circle(start: str, definitions: Mapping[str, Any]) -> bool:
    """Whether a definition refers to itself without anything in between."""
    seen: set[str] = set()
    left = [definitions[start]]
    while left:
        node = left.pop()
        left += [one for word in ("anyOf", "oneOf", "allOf") for one in node.get(word, ())]
        if "$ref" in node and (name := node["$ref"].removeprefix("#/$defs/")) not in seen:
            seen.add(name)
            left.append(definitions.get(name, {}))
    return start in seen


def _reachable(start: str, definitions: Mapping[str, Any]) -> set[str]:
    found: set[str] = set()
    left = [start]
    while left:
        for node in subschemas(definitions.get(left.pop())):
            if "$ref" in node and node["$ref"] not in found:
                found.add(node["$ref"])
                left.append(node["$ref"].removeprefix("#/$defs/"))
    return found
