"""The Gemini API, in the types of its client package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from google.genai import types
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = False
    tells_errors = True
    cannot: ClassVar = {
        "test_arguments_that_are_no_object_are_told": "the client package has no such call",
        "test_the_whole_schema_reaches_the_model": "Gemini takes a part of it; see test_model_schema.py",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        config = types.GenerateContentConfig(tools=self.toolkit.gemini())  # type: ignore[arg-type]
        return {
            declaration.name: declaration.parameters_json_schema
            for tool in config.tools or []
            for declaration in tool.function_declarations  # type: ignore[union-attr]
        }

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        answer = await self.toolkit.dispatch(types.FunctionCall(id="call_1", name=name, args=arguments))
        response = types.Part.model_validate(answer).function_response
        assert response
        assert response.response
        assert (response.id, response.name) == ("call_1", name)
        images = [part.inline_data.data for part in response.parts or [] if part.inline_data and part.inline_data.data]
        (kind, text), *_ = response.response.items()
        return Answer(text, images, is_error=kind == "error")
