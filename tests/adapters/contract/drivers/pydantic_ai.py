"""Pydantic AI: an agent whose scripted model makes the call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from pydantic_ai import Agent, BinaryContent, ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = True
    tells_errors = True
    cannot: ClassVar = {
        "test_arguments_that_are_no_object_are_told": "Pydantic AI tells the model itself, in its own words",
        "test_half_a_surrogate_pair_is_told": "Pydantic AI tells the model itself, in its own words",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolset = toolkit.pydantic_ai()

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        told: dict[str, Mapping[str, Any]] = {}

        def look(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            told.update({tool.name: tool.parameters_json_schema for tool in info.function_tools})
            return ModelResponse([TextPart("done")])

        # As from synchronous code, while this thread's loop waits.
        with ThreadPoolExecutor(1) as pool:
            pool.submit(lambda: asyncio.run(self.ask(look))).result()
        return told

    async def ask(self, model: Any) -> list[ModelMessage]:
        agent = Agent(FunctionModel(model), toolsets=[self.toolset])
        return (await agent.run("Call it.")).all_messages()

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        def model(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            called = any(isinstance(part, ToolReturnPart) for part in messages[-1].parts)
            return ModelResponse([TextPart("done") if called else ToolCallPart(name, json.dumps(arguments))])

        messages = await self.ask(model)
        [answer] = [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]
        parts = answer.content if isinstance(answer.content, list) else [answer.content]
        pictures = [part.data for part in parts if isinstance(part, BinaryContent)]
        others = [part for part in parts if not isinstance(part, BinaryContent)]
        text = "\n".join(part if isinstance(part, str) else json.dumps(part) for part in others)
        return Answer(text, pictures, answer.content, answer.outcome in ("failed", "retried"))
