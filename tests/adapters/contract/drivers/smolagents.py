"""smolagents: an agent, in a thread, whose scripted model makes the call."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from smolagents import ChatMessage, ChatMessageToolCall, LogLevel, MessageRole, Model, ToolCallingAgent
from smolagents.models import ChatMessageToolCallFunction, get_tool_json_schema
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit

_KNOWS_PARAMETERS = "smolagents knows parameters, not JSON Schema; see tests/adapters/test_smolagents.py"


class Caller(Model):
    """Makes one call, then gives the final answer."""

    def __init__(self, name: str, arguments: dict[str, Any]) -> None:
        super().__init__(model_id="scripted")
        self.calls = [("final_answer", {"answer": "done"}), (name, arguments)]

    def generate(self, messages: list[ChatMessage], **options: Any) -> ChatMessage:
        name, arguments = self.calls.pop()
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        call = ChatMessageToolCall(id="1", type="function", function=function)
        return ChatMessage(role=MessageRole.ASSISTANT, content="", tool_calls=[call])


class AdapterDriver:
    holds_images = False
    holds_structured = False
    tells_errors = True
    cannot: ClassVar = {
        "test_arguments_that_are_no_object_are_told": "smolagents takes these for the first argument",
        "test_names_are_the_toolkits_and_fit_every_model_api": _KNOWS_PARAMETERS,
        "test_the_whole_schema_reaches_the_model": _KNOWS_PARAMETERS,
        "test_names_of_arguments_arrive_unchanged": _KNOWS_PARAMETERS,
        "test_arguments_that_do_not_fit_are_told_with_what_would": "smolagents checks them itself, and says less",
        "test_an_odd_schema_goes_through_or_its_tool_is_left_out_by_name": _KNOWS_PARAMETERS,
        "test_a_cancelled_call_is_cancelled_on_the_server_and_the_session_goes_on": (
            "smolagents calls tools in threads, and has nothing to cancel them by"
        ),
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.tools = toolkit.smolagents()

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {tool.name: get_tool_json_schema(tool)["function"]["parameters"] for tool in self.tools}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        agent = ToolCallingAgent(self.tools, Caller(name, arguments), max_steps=2, verbosity_level=LogLevel.OFF)
        with ThreadPoolExecutor(1) as pool:
            await asyncio.get_running_loop().run_in_executor(pool, agent.run, "Call it.")
        step = agent.memory.steps[1]
        return Answer(step.error.message, is_error=True) if step.error else Answer(step.observations)
