"""The definitions of the router's own tools. Lightweight: `jackfield tokens` counts them without the SDK."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

READ_ON = "jackfield.read_on"
"""What `call_tool` is given to read on in a long result."""

BY_CALL_TOOL = f'call_tool(tool="{READ_ON}", arguments={{{{"handle": "{{handle}}", "offset": {{offset}}}}}})'

MAX_QUERIES = 6
_LISTED_SERVERS = 80


def find_description(servers: Sequence[str]) -> str:
    """The description of `find_tools`; the same from turn to turn for the same servers."""
    shown = ", ".join(servers[:_LISTED_SERVERS]) + (
        f", ... ({len(servers)} in all)" if len(servers) > _LISTED_SERVERS else ""
    )
    return f"Search tools on all servers, before call_tool. Servers: {shown}."


CALL_DESCRIPTION = (
    "Call a tool found by find_tools; starts its server if needed. "
    'Example: {"tool": "server.tool", "arguments": {"key": "value"}}'
)

FIND_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "items": {"type": "string"},
            "maxItems": MAX_QUERIES,
            "description": "Tasks in a few words each, or a whole one.",
        },
        "server": {"type": "string", "description": "Search this server only."},
        "server_hint": {"type": "string", "description": "Prefer this server."},
        "limit": {"type": "integer", "default": 5},
        "detail": {"type": "string", "enum": ["signature", "schema"], "default": "signature"},
        "overview": {"type": "boolean", "description": "List the servers instead."},
    },
}

CALL_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "tool": {"type": "string", "description": "server.tool"},
        "arguments": {"type": "object", "additionalProperties": True},
    },
    "required": ["tool"],
}

DESCRIBE_DESCRIPTION = "The whole schemas of tools."

DESCRIBE_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {"tools": {"type": "array", "items": {"type": "string"}}},
    "required": ["tools"],
}


def query_schema(servers: Sequence[str]) -> Mapping[str, Any]:
    """The schema of `query_mcp_server`."""
    properties = {
        "server_name": {"type": "string", "enum": list(servers), "description": "The server to use."},
        "query": {"type": "string", "description": "What you want to know."},
        "tool_name": {"type": "string", "description": "A tool of it; leave it out to see its tools."},
        "arguments": {"type": "object", "description": "The tool's arguments."},
    }
    return {"type": "object", "properties": properties, "required": ["server_name"]}
