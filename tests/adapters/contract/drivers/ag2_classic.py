"""AG2 0.x: an agent that executes the call as it does when a model asks for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

from autogen import ConversableAgent
from autogen.tools import Toolkit as ClassicToolkit
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = False
    holds_structured = False
    tells_errors = False
    cannot: ClassVar = {"test_arguments_that_are_no_object_are_told": "AG2 0.x itself ends the run of such a model"}

    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit.ag2()
        assert isinstance(self.toolkit, ClassicToolkit)
        self.agent = ConversableAgent("caller", llm_config={"config_list": [{"model": "m", "model_client_cls": "M"}]})
        self.toolkit.register_for_llm(self.agent)
        self.toolkit.register_for_execution(self.agent)

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        functions = [tool["function"] for tool in self.agent.llm_config.get("tools", [])]
        return {function["name"]: function["parameters"] for function in functions}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        call = {"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        _, reply = await self.agent.a_generate_tool_calls_reply([{"role": "assistant", "tool_calls": [call]}])
        [response] = reply["tool_responses"]
        return Answer(response["content"])
