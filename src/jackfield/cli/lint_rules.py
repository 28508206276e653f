"""What `jackfield lint` looks at: what model APIs refuse, what models miss, and what costs tokens. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..json_schema import target
from ..plain import as_list, as_table

Level = Literal["error", "warning", "note"]

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_DESCRIPTION_CHARS = 1024
_TOOL_TOKENS = 1000
_ALL_TOKENS = 10_000
_HANDSHAKE = "2025-11-25"
_COMBINING = ("oneOf", "anyOf", "allOf", "not")


@dataclass(frozen=True)
class Finding:
    """One thing that should be otherwise."""

    level: Level
    rule: str
    where: str
    """The tool, with the parameter if it is about one; the server's name otherwise."""
    problem: str
    hint: str


@dataclass(frozen=True)
class Linted:
    """What a server says of itself."""

    name: str
    tools: Sequence[Mapping[str, Any]]
    """As they came over the wire."""
    tokens: Sequence[int]
    """What each of them costs in a prompt."""
    protocol_version: str = ""
    instructions: str | None = None
    flaws: Sequence[str] = ()
    """Of its listings, in words."""


def findings(server: Linted) -> list[Finding]:
    """All findings, the worst first."""
    order: list[Level] = ["error", "warning", "note"]
    return sorted(_findings(server), key=lambda one: order.index(one.level))


def _findings(server: Linted) -> Iterator[Finding]:
    for flaw in server.flaws:
        yield Finding("error", "listing", server.name, flaw, "Send what the protocol's schema of the listing requires.")
    if server.protocol_version and server.protocol_version < _HANDSHAKE:
        problem = f"it speaks the protocol {server.protocol_version}"
        yield Finding("note", "protocol", server.name, problem, f"Update its SDK: {_HANDSHAKE} or newer.")
    if not server.instructions and len(server.tools) > 1:
        hint = "Explain in `instructions` what its tools are for and in which order to use them."
        yield Finding("note", "instructions", server.name, "it has no instructions", hint)
    if (total := sum(server.tokens)) > _ALL_TOKENS:
        problem = f"its tools cost about {total:,} tokens in every prompt"
        yield Finding("warning", "tokens", server.name, problem, "Offer fewer tools, or use jackfield serve to route.")
    for tool, tokens in zip(server.tools, server.tokens, strict=True):
        yield from _of_tool(tool, tokens)


def _of_tool(tool: Mapping[str, Any], tokens: int) -> Iterator[Finding]:
    name = str(tool.get("name"))
    if not _NAME.fullmatch(name):
        hint = "Use up to 64 letters, digits, _ and -: model APIs refuse other names."
        yield Finding("error", "name", name, "model APIs do not accept its name", hint)
    description = str(tool.get("description") or "").strip()
    if not description:
        yield Finding("error", "description", name, "it has no description", "Say what it does, and when to use it.")
    elif len(description) > _DESCRIPTION_CHARS:
        problem = f"its description has {len(description):,} characters; OpenAI accepts {_DESCRIPTION_CHARS:,}"
        yield Finding("warning", "description", name, problem, "Shorten it, or move parts to `instructions`.")
    if tokens > _TOOL_TOKENS:
        hint = "Shorten descriptions, or leave out what models do not need."
        yield Finding("warning", "tokens", name, f"it costs about {tokens:,} tokens in every prompt", hint)
    annotations = as_table(tool.get("annotations"))
    if not {"readOnlyHint", "destructiveHint"} & set(annotations):
        hint = "Set readOnlyHint or destructiveHint: hosts ask users accordingly."
        yield Finding("note", "annotations", name, "it does not say whether it changes anything", hint)
    yield from _of_schema(name, as_table(tool.get("inputSchema")))


def _of_schema(name: str, schema: Mapping[str, Any]) -> Iterator[Finding]:
    combining = [key for key in _COMBINING if key in schema]
    if combining:
        hint = "Write one object with optional properties: model APIs refuse this at the root."
        yield Finding("error", "schema", name, f"its schema has {combining[0]} at the root", hint)
    if schema.get("type") != "object":
        yield Finding(
            "error", "schema", name, "its schema is not of type object", 'Write "type": "object" at the root.'
        )
    properties = as_table(schema.get("properties"))
    for missing in [one for one in as_list(schema.get("required")) if one not in properties]:
        hint = "Add it to properties, or take it out of required."
        yield Finding("error", "schema", name, f"it requires {missing!r}, which its schema does not define", hint)
    for parameter, part in properties.items():
        where = f"{name}({parameter})"
        inner = as_table(part)
        if not inner.get("description") and not inner.get("enum"):
            yield Finding("warning", "description", where, "it has no description", "Say what it means, and its unit.")
        yield from _of_part(where, inner, schema, 0)


def _of_part(where: str, part: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Iterator[Finding]:
    """Problems within a parameter's schema."""
    if depth > 8:
        return
    reference = part.get("$ref")
    if isinstance(reference, str):
        if not reference.startswith("#"):
            hint = "Put what it refers to under $defs: model APIs fetch nothing."
            yield Finding("error", "schema", where, f"its schema refers to {reference!r}", hint)
        elif not as_table(target(reference, root)):
            yield Finding(
                "error", "schema", where, f"its schema refers to {reference!r}, which is not there", "Add it."
            )
        return
    if part.get("type") == "array" and "items" not in part and "prefixItems" not in part:
        hint = 'Write "items": {"type": ...}: OpenAI and Gemini refuse arrays without it.'
        yield Finding("error", "schema", where, "it is an array without a type for its items", hint)
    for inner in (part.get("items"), *as_list(part.get("anyOf")), *as_table(part.get("properties")).values()):
        yield from _of_part(where, as_table(inner), root, depth + 1)
