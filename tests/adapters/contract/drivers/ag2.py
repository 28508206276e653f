"""AG2 1.x: an agent whose scripted model makes the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import ag2
from ag2.events import BinaryInput, TextInput, ToolCallEvent, ToolErrorEvent, ToolResultEvent
from ag2.testing import TestConfig
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = True
    tells_errors = True

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit.ag2()
        assert isinstance(self.toolkit, ag2.Toolkit)

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {tool.name: tool.schema.function.parameters for tool in self.toolkit.tools}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        model = TestConfig(ToolCallEvent(name, arguments=json.dumps(arguments)), "done", raise_tool_errors=False)
        reply = await ag2.Agent("caller", config=model, tools=[self.toolkit]).ask("Call it.")
        [event] = [one for one in await reply.history.get_events() if isinstance(one, ToolResultEvent)]
        parts = event.result.parts
        text = "\n".join(part.content for part in parts if isinstance(part, TextInput))
        pictures = [part.data for part in parts if isinstance(part, BinaryInput)]
        structured = event.result.metadata.get("structured_content")
        return Answer(text, pictures, structured, isinstance(event, ToolErrorEvent))
