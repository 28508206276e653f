"""The router's own tools: what a model is told of them, and how their arguments are read."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import SessionTimeoutError
from ..plain import as_table
from ..session.arguments import ArgumentCheck
from ..toolkit.own_tool import Answer, text_result
from ..toolkit.tool import CallOptions
from .repair import converted

if TYPE_CHECKING:
    from ..session.results import ToolResult

MAX_QUERIES = 6
_LISTED_SERVERS = 80


def find_description(servers: Sequence[str]) -> str:
    """The description of `find_tools`; the same from turn to turn for the same servers."""
    shown = ", ".join(servers[:_LISTED_SERVERS]) + (
        f", ... ({len(servers)} in all)" if len(servers) > _LISTED_SERVERS else ""
    )
    return (
        "Search tools on all servers, before call_tool. Give what is to be done, in a few words; several things at "
        f"once if need be. Servers: {shown}."
    )


CALL_DESCRIPTION = (
    "Call a tool found by find_tools. Its server is started if need be. "
    'Example: {"tool": "server.tool", "arguments": {"key": "value"}}'
)

FIND_SCHEMA: Mapping[str, Any] = {
    "type": "object",
    "properties": {
        "queries": {
            "type": "array",
            "items": {"type": "string"},
            "minItems": 1,
            "maxItems": MAX_QUERIES,
            "description": "What is to be done, each in a few words.",
        },
        "server": {"type": "string", "description": "Search this server only."},
        "limit": {"type": "integer", "default": 5},
        "detail": {"type": "string", "enum": ["signature", "schema"], "default": "signature"},
    },
    "required": ["queries"],
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


def in_words(function: Callable[..., Awaitable[str]], name: str, schema: Mapping[str, Any]) -> Answer:
    """Answers with what a function says, once its arguments fit."""

    async def answer(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        given = fitted(name, arguments, schema)
        if options.given is None:
            return text_result(await function(**given))
        with options.given.scope():
            return text_result(await function(**given))
        raise SessionTimeoutError(
            f"{name} did not end within {options.given.seconds:g} s. What it asks servers may have been sent."
        )

    return answer


def fitted(name: str, arguments: Mapping[str, Any], schema: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments as the schema asks for them, where they were only written wrongly.

    Args:
        name: The tool's, for errors.
        arguments: As a model gave them.
        schema: What they have to fit, but for values that are one of few: whoever takes these knows more to say.

    Raises:
        InvalidArgumentsError: They do not fit.
    """
    # Models write null for what they have nothing to say to.
    given = {key: value for key, value in arguments.items() if value is not None}
    values, _ = converted(given, schema)
    properties = {
        key: {word: part for word, part in as_table(one).items() if word not in ("enum", "maxItems")}
        for key, one in as_table(schema.get("properties")).items()
    }
    for key, one in properties.items():
        if one.get("type") == "array" and isinstance(values.get(key), str):
            values[key] = [values[key]]
    closed = {**schema, "properties": properties, "additionalProperties": False}
    return ArgumentCheck("jackfield", name, closed, "strict").check(values)
