"""OpenAI's Agents SDK: a server's tools as `FunctionTool`s."""

from __future__ import annotations

from functools import partial
from typing import Any

from agents import FunctionTool as FunctionTool
from agents import ToolOutputImage, ToolOutputText
from agents.tool_context import ToolContext

from ..session.results import ToolResult, describe_block
from ..session.session_loop import SessionLoop, session_loop_here
from ..session.user_code import as_error
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit
from .model_calls import is_picture, json_arguments

Output = str | list[ToolOutputText | ToolOutputImage]


def function_tool(tool: Tool, session_loop: SessionLoop) -> FunctionTool:
    """The tool, whose calls run on that event loop."""

    async def invoke(context: ToolContext[Any], arguments: str) -> Output:
        # An error is for the model; raised, it would end the run.
        try:
            given = json_arguments(tool.name, arguments)
            return output_of((await session_loop.run(partial(tool.call, given))).raise_for_error())
        except BaseException as error:
            return str(as_error(error, f"The call of {tool.name!r}"))

    return FunctionTool(
        name=tool.name,
        description=tool.description,
        params_json_schema=dict(tool.input_schema),
        on_invoke_tool=invoke,
        strict_json_schema=False,  # Servers' schemas seldom fit strict mode, which wants every property required.
    )


def function_tools(toolkit: Toolkit) -> list[FunctionTool]:
    """All tools of a toolkit; see `Toolkit.openai_agents`."""
    session_loop = session_loop_here()
    return [function_tool(tool, session_loop) for tool in toolkit.for_models()]


def output_of(result: ToolResult) -> Output:
    """The part of a result for the model: text, or parts if there are images."""

    def part(block: object) -> ToolOutputText | ToolOutputImage:
        if is_picture(block):
            return ToolOutputImage(image_url=f"data:{block.mime_type};base64,{block.data}")
        return ToolOutputText(text=describe_block(block))

    parts = [part(block) for block in result.content]
    return parts if any(isinstance(one, ToolOutputImage) for one in parts) else result.text
