"""OpenAI's Responses API, in the types of its client package."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

from openai.types.responses import FunctionToolParam, ResponseFunctionToolCall
from openai.types.responses.response_input_item_param import FunctionCallOutput
from pydantic import TypeAdapter
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = False
    tells_errors = False

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        definitions = self.toolkit.openai()
        TypeAdapter(list[FunctionToolParam]).validate_python(definitions)
        return {tool["name"]: tool["parameters"] for tool in definitions}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        call = ResponseFunctionToolCall(
            call_id="call_1", name=name, arguments=json.dumps(arguments), type="function_call"
        )
        answer = await self.toolkit.dispatch(call)
        TypeAdapter(FunctionCallOutput).validate_python(answer)
        assert answer["call_id"] == "call_1"
        if isinstance(answer["output"], str):
            return Answer(answer["output"])
        images = [
            base64.b64decode(item["image_url"].partition(",")[2])
            for item in answer["output"]
            if item["type"] == "input_image"
        ]
        return Answer("\n".join(item["text"] for item in answer["output"] if item["type"] == "input_text"), images)
