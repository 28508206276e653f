"""AG2 0.x, whose module is `autogen`: a server's tools as an `autogen.tools.Toolkit`. For 1.x see `ag2.py`."""

# This line and the rest of what Jackfield is checked with cannot be installed together.
# pyright: reportMissingImports=false, reportUnknownVariableType=false, reportUntypedBaseClass=false
# pyright: reportUnknownMemberType=false, reportUnknownParameterType=false, reportUnknownArgumentType=false

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from autogen.tools import Tool as ClassicTool
from autogen.tools import Toolkit as ClassicToolkit

from ..session.session_loop import SessionLoop, session_loop_here
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit


class _MCPTool(ClassicTool):
    """A tool of a server, with its whole schema wherever AG2 asks for one, which takes any arguments by name."""

    def __init__(self, tool: Tool, session_loop: SessionLoop) -> None:
        async def call(**arguments: Any) -> str:
            # AG2 shows the model the text of whatever is raised. It has no place for pictures: they are named.
            return (await session_loop.run(partial(tool.call, arguments))).raise_for_error().text

        super().__init__(name=tool.name, description=tool.description, func_or_tool=call)
        self._call = call
        self._parameters = tool.input_schema

    @property
    def func(self) -> Callable[..., Awaitable[str]]:
        """What AG2 calls, without its injection of dependencies, for which some names of arguments are taken."""
        return self._call

    def __call__(self, /, **arguments: Any) -> Awaitable[str]:
        """Call the tool.

        Raises:
            JackfieldError: As `Session.call_tool` does.
            ToolError: The tool reported an error.
        """
        return self._call(**arguments)

    @property
    def function_schema(self) -> dict[str, Any]:
        """Name, description and parameters."""
        return {"name": self.name, "description": self.description, "parameters": copy.deepcopy(self._parameters)}

    @property
    def tool_schema(self) -> dict[str, Any]:
        """The definition for Chat Completions."""
        return {"type": "function", "function": self.function_schema}

    @property
    def realtime_tool_schema(self) -> dict[str, Any]:
        """The definition for the Realtime API."""
        return {"type": "function", **self.function_schema}

    def register_for_llm(self, agent: Any) -> None:
        """Let the agent's model call it."""
        agent.register_for_llm()(self)


def ag2_classic_toolkit(toolkit: Toolkit) -> ClassicToolkit:
    """All tools of a toolkit; see `Toolkit.ag2`."""
    session_loop = session_loop_here()
    return ClassicToolkit([_MCPTool(tool, session_loop) for tool in toolkit.for_models()])
