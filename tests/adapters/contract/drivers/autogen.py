"""AutoGen's `BaseTool`, called as AgentChat calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from autogen_core import CancellationToken
from tests.adapters.contract.driver import Answer

from jackfield import JackfieldError, Toolkit, ToolResult


class AdapterDriver:
    holds_images = False
    holds_structured = True
    tells_errors = True

    def __init__(self, toolkit: Toolkit) -> None:
        self.tools = {tool.name: tool for tool in toolkit.autogen()}

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: tool.schema["parameters"] for name, tool in self.tools.items()}  # type: ignore[misc, typeddict-item]

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        tool = self.tools[name]
        try:
            result = await tool.run_json(arguments, CancellationToken())
        except JackfieldError as error:
            return Answer(str(error), is_error=True)
        assert isinstance(result, ToolResult)
        return Answer(tool.return_value_as_string(result), structured=result.data)
