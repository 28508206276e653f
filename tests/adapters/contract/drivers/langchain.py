"""LangChain's `StructuredTool`, called as its agents call it."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from langchain_core.messages import ToolMessage
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = True
    tells_errors = True
    cannot: ClassVar = {
        "test_arguments_that_are_no_object_are_told": "LangChain keeps these in invalid_tool_calls",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.tools = {tool.name: tool for tool in toolkit.langchain()}

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {name: tool.args_schema for name, tool in self.tools.items()}  # type: ignore[misc]

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        call = {"type": "tool_call", "id": "1", "name": name, "args": arguments}
        message = await self.tools[name].ainvoke(call)
        assert isinstance(message, ToolMessage)
        blocks = [] if isinstance(message.content, str) or name == "bad_picture" else message.content
        images = [base64.b64decode(block["base64"]) for block in blocks if block["type"] == "image"]  # type: ignore[index]
        structured = message.artifact["structured_content"] if message.artifact else None
        if isinstance(structured, dict) and list(structured) == ["result"]:
            structured = structured["result"]
        return Answer(message.text, images, structured, message.status == "error")
