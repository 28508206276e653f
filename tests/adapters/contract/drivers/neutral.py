"""The neutral tool itself, against which the others are measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from tests.adapters.contract.driver import Answer

from jackfield import JackfieldError, Toolkit
from jackfield.session.results import decode


class AdapterDriver:
    holds_images = True
    holds_structured = True
    tells_errors = True
    cannot: ClassVar = {
        "test_no_adapter_hands_on_what_an_api_refuses": "it is the server's own schema",
        "test_names_that_an_api_refuses_come_back_as_the_servers": "it is the server's own schema",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {tool.name: tool.input_schema for tool in self.toolkit}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        try:
            result = await self.toolkit.call(name, arguments)
        except JackfieldError as error:
            return Answer(str(error), is_error=True)
        images = [] if name == "bad_picture" else [decode(image.data) for image in result.images]
        return Answer(result.text, images, result.data, bool(result.is_error))
