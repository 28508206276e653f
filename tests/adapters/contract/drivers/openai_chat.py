"""OpenAI's Chat Completions, in the types of its client package."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openai.types.chat import (
    ChatCompletionFunctionToolParam,
    ChatCompletionMessageFunctionToolCall,
    ChatCompletionToolMessageParam,
)
from pydantic import TypeAdapter
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = False
    holds_structured = False
    tells_errors = False

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        definitions = self.toolkit.openai(api="chat")
        TypeAdapter(list[ChatCompletionFunctionToolParam]).validate_python(definitions)
        return {tool["function"]["name"]: tool["function"]["parameters"] for tool in definitions}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        function: Any = {"name": name, "arguments": json.dumps(arguments)}
        call = ChatCompletionMessageFunctionToolCall(id="call_1", type="function", function=function)
        answer = await self.toolkit.dispatch(call)
        TypeAdapter(ChatCompletionToolMessageParam).validate_python(answer)
        assert answer["tool_call_id"] == "call_1"
        return Answer(answer["content"])
