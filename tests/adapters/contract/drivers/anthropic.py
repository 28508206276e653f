"""Anthropic's Messages API, in the types of its client package."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from anthropic.types import ToolResultBlockParam, ToolUnionParam, ToolUseBlock
from pydantic import TypeAdapter
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = False
    tells_errors = True
    cannot: ClassVar = {
        "test_arguments_that_are_no_object_are_told": "the client package has no such call",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        definitions = self.toolkit.anthropic()
        TypeAdapter(list[ToolUnionParam]).validate_python(definitions)
        return {tool["name"]: tool["input_schema"] for tool in definitions}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        call = ToolUseBlock(id="toolu_1", input=arguments, name=name, type="tool_use")
        answer = await self.toolkit.dispatch(call)
        TypeAdapter(ToolResultBlockParam).validate_python(answer)
        assert answer["tool_use_id"] == "toolu_1"
        blocks = answer["content"]
        images = [base64.b64decode(block["source"]["data"]) for block in blocks if block["type"] == "image"]
        text = "\n".join(block["text"] for block in blocks if block["type"] == "text")
        return Answer(text, images, is_error=answer["is_error"])
