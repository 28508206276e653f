"""Resources and prompts as tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcp import UriTemplate
from mcp.types import (
    BlobResourceContents,
    ContentBlock,
    EmbeddedResource,
    Prompt,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextContent,
    TextResourceContents,
    ToolAnnotations,
)

from ..config.servers import BaseServerConfig
from ..errors import InvalidArgumentsError
from ..files import safe_name, write_new
from ..loops import Deadline
from ..session.results import ToolResult, decode
from ..session.session import caller_of
from .tool import CallOptions, Tool

if TYPE_CHECKING:
    from ..session.session import Session

_LISTED_RESOURCES = 50
_READ_ONLY = ToolAnnotations(read_only_hint=True)


def resource_tool(session: Session, resources: Sequence[Resource], folder: Path | None) -> Tool:
    """One tool that reads any of a server's resources."""
    listed = [f"{resource.uri} ({resource.title or resource.name})" for resource in resources[:_LISTED_RESOURCES]]
    more = f"\n... and {len(resources) - len(listed)} more" if len(resources) > len(listed) else ""

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        result = await session.read_resource(
            str(arguments["uri"]), call_timeout=options.deadline(session.config.session.call_timeout)
        )
        return _as_result(result, session, "read_resource", folder)

    return Tool(
        name="read_resource",
        original_name="read_resource",
        server_name=session.server_name,
        description=f"Read a resource of {session.server_name}. Resources:\n" + "\n".join(listed) + more,
        input_schema={
            "type": "object",
            "properties": {"uri": {"type": "string", "description": "The resource's URI."}},
            "required": ["uri"],
        },
        annotations=_READ_ONLY,
        call_timeout=session.config.session.call_timeout,
        handler=handler,
    )


def template_tool(session: Session, template: ResourceTemplate, folder: Path | None) -> Tool:
    """A tool whose parameters are the variables of a resource template (RFC 6570)."""
    parsed = UriTemplate.parse(template.uri_template)
    variables = list(dict.fromkeys(parsed.variable_names))

    async def handler(arguments: Mapping[str, Any], options: CallOptions) -> ToolResult:
        missing = [name for name in variables if name not in arguments]
        if missing:
            raise InvalidArgumentsError(
                f"Arguments of {template.name!r} do not fit: {missing[0]} is missing. Nothing was sent.",
                server_name=session.server_name,
                sent=False,
                hint=f"It fills in {template.uri_template}",
            )
        uri = parsed.expand({name: _uri_value(arguments[name]) for name in variables})
        result = await session.read_resource(uri, call_timeout=options.deadline(session.config.session.call_timeout))
        return _as_result(result, session, template.name, folder)

    return Tool(
        name=template.name,
        original_name=template.name,
        server_name=session.server_name,
        description=f"{template.description or template.title or template.name}\nReads {template.uri_template}",
        input_schema={
            "type": "object",
            "properties": {name: {"type": "string"} for name in variables},
            "required": variables,
            "additionalProperties": False,
        },
        annotations=_READ_ONLY,
        call_timeout=session.config.session.call_timeout,
        handler=handler,
    )


Opened = Callable[[Deadline], AbstractAsyncContextManager["Session"]]
"""Gives a session for a call, open before the call's deadline."""


def prompt_tool(config: BaseServerConfig, prompt: Prompt, opened: Opened) -> Tool:
    """A tool that fills in a prompt and returns its messages."""
    arguments = prompt.arguments or []

    async def handler(given: Mapping[str, Any], options: CallOptions) -> ToolResult:
        texts = {name: str(value) for name, value in given.items()}
        deadline = options.deadline(config.session.call_timeout)
        async with opened(deadline) as session:
            result = await session.get_prompt(prompt.name, texts, call_timeout=deadline)
            return _result([message.content for message in result.messages], session, prompt.name)

    return Tool(
        name=prompt.name,
        original_name=prompt.name,
        server_name=config.server_name,
        description=prompt.description or prompt.title or prompt.name,
        input_schema={
            "type": "object",
            "properties": {
                argument.name: {
                    "type": "string",
                    **({"description": argument.description} if argument.description else {}),
                }
                for argument in arguments
            },
            "required": [argument.name for argument in arguments if argument.required],
            "additionalProperties": False,
        },
        annotations=_READ_ONLY,
        call_timeout=config.session.call_timeout,
        handler=handler,
    )


def _uri_value(value: Any) -> str | list[str]:
    return [str(item) for item in value] if isinstance(value, list) else str(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def _result(content: Sequence[ContentBlock], session: Session, tool_name: str) -> ToolResult:
    return ToolResult(
        content=list(content),
        server_name=session.server_name,
        tool_name=tool_name,
        generation=session.generation,
        state_lost=caller_of(session).take_loss(),
    )


def _as_result(result: ReadResourceResult, session: Session, tool_name: str, folder: Path | None) -> ToolResult:
    if folder is None:
        blocks: list[ContentBlock] = [EmbeddedResource(type="resource", resource=item) for item in result.contents]
    else:
        blocks = [
            TextContent(type="text", text=f"Saved {item.uri} to {save(item, folder)}") for item in result.contents
        ]
    return _result(blocks, session, tool_name)


def download_folder(folder: Path | str) -> Path:
    """The folder, made if it is not there."""
    path = Path(folder).expanduser().absolute()
    path.mkdir(parents=True, exist_ok=True)
    return path


def save(item: TextResourceContents | BlobResourceContents, folder: Path) -> Path:
    """Write a resource to a new file in `folder`, whatever its URI says.

    The name keeps only harmless characters of the URI, and an existing file or link is never written to.
    """
    data = item.text.encode() if isinstance(item, TextResourceContents) else decode(item.blob)
    return write_new(folder, safe_name(str(item.uri), "resource"), data)
