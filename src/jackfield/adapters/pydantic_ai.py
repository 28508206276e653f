"""Pydantic AI: a server's tools as a toolset."""

from __future__ import annotations

from functools import partial
from typing import Any

from mcp.types import TextContent
from pydantic_ai import BinaryContent, RunContext, ToolDefinition, ToolFailed
from pydantic_ai.toolsets import AbstractToolset as AbstractToolset
from pydantic_ai.toolsets import ToolsetTool
from pydantic_core import SchemaValidator, core_schema

from ..session.results import ToolResult, decode, describe_block
from ..session.session_loop import SessionLoop, session_loop_here
from ..session.user_code import as_error
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .model_calls import is_picture

# The session checks arguments against the server's schema, and its error tells the model what fits.
_ANY = SchemaValidator(core_schema.dict_schema())


class MCPToolset(AbstractToolset[Any]):
    """All tools of a toolkit, in their session."""

    def __init__(self, toolkit: Toolkit, session_loop: SessionLoop, *, id: str | None = None) -> None:  # noqa: A002 - as in Pydantic AI
        self._toolkit = toolkit.for_models()
        self._session_loop = session_loop
        self._id = id

    @property
    def id(self) -> str | None:
        """What tells it from other toolsets of an agent."""
        return self._id

    async def get_tools(self, ctx: RunContext[Any]) -> dict[str, ToolsetTool[Any]]:
        """The tools by name."""
        return {
            tool.name: ToolsetTool(
                toolset=self, tool_def=definition_of(tool), max_retries=ctx.max_retries, args_validator=_ANY
            )
            for tool in self._toolkit
        }

    async def call_tool(
        self, name: str, tool_args: dict[str, Any], ctx: RunContext[Any], tool: ToolsetTool[Any]
    ) -> Any:
        """Call a tool.

        Raises:
            ToolFailed: With what happened and what to do, for the model.
        """
        try:
            return value_of(
                (await self._session_loop.run(partial(self._toolkit.call, name, tool_args))).raise_for_error()
            )
        except BaseException as error:
            raise ToolFailed(str(as_error(error, f"The call of {name!r}"))) from error


def toolset(toolkit: Toolkit, *, id: str | None = None) -> MCPToolset:  # noqa: A002
    """All tools of a toolkit; see `Toolkit.pydantic_ai`."""
    return MCPToolset(toolkit, session_loop_here(), id=id)


def definition_of(tool: Tool) -> ToolDefinition:
    """A tool's definition for the model, with the complete schema."""
    return ToolDefinition(
        name=tool.name,
        description=tool.description,
        parameters_json_schema=dict(tool.input_schema),
        return_schema=dict(tool.output_schema) if tool.output_schema else None,
        metadata={
            "mcp_server": tool.server_name,
            "mcp_tool": tool.original_name,
            "annotations": tool.annotations.model_dump(by_alias=True) if tool.annotations else None,
        },
    )


def value_of(result: ToolResult) -> Any:
    """The part of a result for the model: structured content if the rest is text, as in Pydantic AI's MCP."""

    def part(block: object) -> str | BinaryContent:
        if is_picture(block):
            return BinaryContent(decode(block.data), media_type=block.mime_type)
        return describe_block(block)

    if all(isinstance(block, TextContent) for block in result.content):
        # A note of ours goes with the server's text, not into its structured content.
        return result.text if result.structured_content is None or result.server_content is not None else result.data
    return [part(block) for block in result.content]
