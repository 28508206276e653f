"""OpenAI's Agents SDK: an agent whose scripted model makes the call."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from agents import Agent, RunConfig, Runner
from agents.testing import ScriptedModel, assistant_message, function_call
from tests.adapters.contract.driver import Answer

from jackfield import Toolkit


class AdapterDriver:
    holds_images = True
    holds_structured = False
    tells_errors = False
    cannot: ClassVar = {
        "test_half_a_surrogate_pair_is_told": "the SDK itself ends the run of such a model",
    }

    def __init__(self, toolkit: Toolkit) -> None:
        self.tools = toolkit.openai_agents()

    def schemas(self) -> Mapping[str, Mapping[str, Any]]:
        return {tool.name: tool.params_json_schema for tool in self.tools}

    async def call(self, name: str, arguments: dict[str, Any]) -> Answer:
        model = ScriptedModel([[function_call(name, arguments, call_id="1")], [assistant_message("done")]])
        agent = Agent("caller", model=model, tools=list(self.tools))
        await Runner.run(agent, "Call it.", run_config=RunConfig(tracing_disabled=True))
        # What the model is sent after its call.
        [output] = [item["output"] for item in model.calls[1].input if item.get("type") == "function_call_output"]
        if isinstance(output, str):
            return Answer(output)
        text = "\n".join(part["text"] for part in output if part["type"] == "input_text")
        urls = [part["image_url"] for part in output if part["type"] == "input_image"]
        return Answer(text, [base64.b64decode(url.removeprefix("data:image/png;base64,")) for url in urls])
