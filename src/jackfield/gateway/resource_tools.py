"""`ResourceTools`: resources and prompts for models, next to the tools that find and call tools.

Where there are few, they are passed on to the host program as they are, and models see no more of them than they would
without the gateway. Where there are many, or the host is not to have them, models search them like tools, and read them
by two more tools.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..catalog.entry import Kind
from ..catalog.overlay import NOTHING, OwnListings
from ..catalog.search import ToolSearch
from ..catalog.tools import ServerEntry, ToolEntry
from ..errors import one_line
from ..json_schema import signature
from ..plain import as_list, as_table, parsed_json
from ..routing.own_tools import FIND_SCHEMA, MAX_QUERIES
from .listing import Listings
from .messages import Answer, text_of
from .relayed_call import Target

PASSED_ON = 50
"""With this many resources, templates and prompts or fewer, they are passed on."""

_FOUND_CHARS = 160
_MOST = 50

READ_RESOURCE: Mapping[str, Any] = {
    "name": "read_resource",
    "description": "Read a resource found by find_tools.",
    "inputSchema": {"type": "object", "properties": {"uri": {"type": "string"}}, "required": ["uri"]},
    "annotations": {"readOnlyHint": True},
}
GET_PROMPT: Mapping[str, Any] = {
    "name": "get_prompt",
    "description": "Fill in a prompt found by find_tools.",
    "inputSchema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "arguments": {"type": "object", "additionalProperties": True}},
        "required": ["name"],
    },
    "annotations": {"readOnlyHint": True},
}
_READ: Sequence[Kind] = ("resources", "prompts")
_METHODS = {"read_resource": "resources/read", "get_prompt": "prompts/get"}


class ResourceTools:
    """Decides whether resources and prompts are passed on; else finds them, and says how they are read.

    Args:
        listings: What there is.
        passes_on: Whether they are; where there are few, if omitted.
    """

    def __init__(self, listings: Listings, passes_on: bool | None) -> None:
        self._listings = listings
        self._passes_on = passes_on
        self._searches: dict[str, tuple[str, ToolSearch]] = {}

    @property
    def passes_on(self) -> bool:
        """Whether resources and prompts are passed on. It stays so: clients ask for capabilities once."""
        if self._passes_on is None:
            self._passes_on = self._listings.count("resources", "templates", "prompts") <= PASSED_ON
        return self._passes_on

    async def complete(self) -> None:
        """Wait a while for servers that were never asked, if it depends on them what models can read."""
        if not self.passes_on:
            await self._listings.complete("resources", "templates", "prompts")

    def is_incomplete(self) -> bool:
        """Whether there are such servers."""
        return not self.passes_on and any(map(self._listings.is_incomplete, _READ))

    @property
    def kinds(self) -> list[str]:
        """What `find_tools` finds besides tools."""
        if self.passes_on:
            return []
        has = {"resource": self._listings.count("resources", "templates"), "prompt": self._listings.count("prompts")}
        return [kind for kind, count in has.items() if count]

    def tools(self) -> list[dict[str, Any]]:
        """The tools that read."""
        own = {"resource": READ_RESOURCE, "prompt": GET_PROMPT}
        return [dict(own[kind]) for kind in self.kinds]

    def find_schema(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        """The schema of `find_tools`, with what it can find."""
        if not self.kinds:
            return dict(schema)
        kind = {"type": "string", "enum": ["tool", *self.kinds], "default": "tool"}
        return {**schema, "properties": {**schema["properties"], "kind": kind}}

    def finds(self, name: str, arguments: Mapping[str, Any]) -> bool:
        """Whether a call is for `find`."""
        return name == "find_tools" and arguments.get("kind") in self.kinds

    def find(self, arguments: Mapping[str, Any], own: OwnListings = NOTHING) -> Answer:
        """Answer `find_tools` for resources or prompts; `own` is what servers list for this client alone."""
        queries = arguments.get("queries")
        asked = [queries] if isinstance(queries, str) else [str(query) for query in as_list(queries)][:MAX_QUERIES]
        if not asked:
            words = "`queries` is missing: give a few words for each search."
            return {"content": [{"type": "text", "text": words}], "isError": True}
        server, limit = arguments.get("server"), arguments.get("limit", FIND_SCHEMA["properties"]["limit"]["default"])
        most = max(1, min(limit, _MOST)) if isinstance(limit, int) else 1
        kind = str(arguments["kind"])
        index = self._index("prompts" if kind == "prompt" else "resources", own)
        parts: list[str] = []
        for query in asked:
            hits = index.find(query, most, servers=[server] if isinstance(server, str) and server else None)
            lines = [_line(kind, hit.tool) for hit in hits] or [f"no {kind} matches. Try other words."]
            parts.append("\n".join([f'"{query}":', *lines]))
        return {"content": [{"type": "text", "text": "\n\n".join(parts)}]}

    async def request(
        self, name: str, arguments: Mapping[str, Any], own: OwnListings = NOTHING
    ) -> tuple[str, Target, dict[str, Any]] | None:
        """The request that one of these tools makes: method, target and parameters; `None` if it is another tool.

        Args:
            name: Of the tool.
            arguments: Of its call.
            own: What servers list for this client alone.

        Raises:
            MCPError: There is no such resource or prompt.
        """
        if name not in [tool["name"] for tool in self.tools()]:
            return None
        if name == "read_resource":
            target = await self._listings.resource(text_of(arguments, "uri"), own)
            return _METHODS[name], target, {"uri": target.name}
        target = await self._listings.prompt(text_of(arguments, "name"), own)
        return _METHODS[name], target, {"name": target.name, "arguments": _texts(arguments.get("arguments"))}

    def _index(self, kind: Kind, own: OwnListings) -> ToolSearch:
        digest = self._listings.digest(kind, own)
        known = self._searches.get(kind)
        if known is None or known[0] != digest:
            kinds: Sequence[Kind] = ("resources", "templates") if kind == "resources" else (kind,)
            found: dict[str, list[ToolEntry]] = {}
            for one in kinds:
                for name, target in self._listings.targets(one, own).items():
                    entry = _searchable(name, target)
                    found.setdefault(entry.server_name, []).append(entry)
            servers = [ServerEntry(server, "", entries) for server, entries in found.items()]
            known = self._searches[kind] = digest, ToolSearch(servers)
        return known[1]


def content_of(result: Mapping[str, Any]) -> Answer:
    """What was read, or the messages of a prompt, as the result of a tool."""
    contents = [as_table(one) for one in as_list(result.get("contents"))]
    blocks = [_block(one) for one in contents if one]
    messages = [as_table(one) for one in as_list(result.get("messages"))]
    for message in messages:
        said = message.get("content")
        for one in [{"type": "text", "text": said}] if isinstance(said, str) else as_list(said) or [said]:
            block = dict(as_table(one))
            if len(messages) > 1 and block.get("type") == "text":
                block["text"] = f"{message.get('role', 'user')}: {block.get('text')}"
            if block:
                blocks.append(block)
    return {"content": blocks}


def _texts(arguments: object) -> dict[str, str]:
    """A prompt's arguments, which are all text; models give them as JSON now and then."""
    given = as_table(parsed_json(arguments) if isinstance(arguments, str) else arguments)
    return {
        str(name): value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        for name, value in given.items()
        if value is not None
    }


def _block(contents: Mapping[str, Any]) -> dict[str, Any]:
    media = str(contents.get("mimeType") or "")
    if isinstance(contents.get("text"), str):
        return {"type": "text", "text": contents["text"]}
    if media.startswith("image/"):
        return {"type": "image", "data": contents.get("blob"), "mimeType": media}
    return {"type": "resource", "resource": dict(contents)}


def _searchable(name: str, target: Target) -> ToolEntry:
    raw = target.raw
    arguments = [as_table(one) for one in as_list(raw.get("arguments"))]
    schema = {
        "properties": {
            str(one.get("name")): {"type": "string", "description": one.get("description")} for one in arguments
        },
        "required": [str(one.get("name")) for one in arguments if one.get("required")],
    }
    title = " ".join(str(raw[key]) for key in ("title", "name") if raw.get(key) and raw[key] != name)
    return ToolEntry(target.config.server_name, name, str(raw.get("description") or ""), title or None, schema)


def _line(kind: str, entry: ToolEntry) -> str:
    """What was found, in one line."""
    shown = signature(entry.name, entry.input_schema) if kind == "prompt" else entry.name
    about = one_line(": ".join(filter(None, (entry.title, entry.description[:_FOUND_CHARS]))), 2 * _FOUND_CHARS)
    return f"{shown} {about}".strip()
