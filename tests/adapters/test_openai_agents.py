"""OpenAI's Agents SDK: what all adapters have in common stands in `contract/`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import everything
from tests.lazily import Lazily

from jackfield import MCPClientSessionManager, Toolkit, create_toolkit

agents, testing = Lazily("agents"), Lazily("agents.testing")


def quiet() -> Any:
    return agents.RunConfig(tracing_disabled=True)


@pytest.fixture
async def toolkit(nothing_left: None) -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


def outputs(model: testing.ScriptedModel) -> list[Any]:
    return [item["output"] for item in model.calls[-1].input if item.get("type") == "function_call_output"]


async def test_several_calls_of_one_turn_and_the_turns_of_a_run_share_the_session(toolkit: Toolkit) -> None:
    model = testing.ScriptedModel(
        [
            [testing.function_call("count", {}, call_id="1"), testing.function_call("count", {}, call_id="2")],
            [testing.function_call("count", "", call_id="3")],
            [testing.assistant_message("done")],
        ]
    )
    agent = agents.Agent("counter", model=model, tools=list(toolkit.openai_agents()))
    result = await agents.Runner.run(agent, "Count.", run_config=quiet())
    assert result.final_output == "done"
    assert sorted(outputs(model)) == ["1", "2", "3"]


async def test_arguments_that_are_no_json_object_are_told_to_the_model(toolkit: Toolkit) -> None:
    calls = [testing.function_call("add", given, call_id=given) for given in ('{"a": ', "[1]")]
    model = testing.ScriptedModel([calls, [testing.assistant_message("done")]])
    await agents.Runner.run(
        agents.Agent("a", model=model, tools=list(toolkit.openai_agents())), "Go on.", run_config=quiet()
    )
    assert all("are not a JSON object" in output and "Nothing was sent" in output for output in outputs(model))


async def test_a_synchronous_run_in_another_thread(toolkit: Toolkit) -> None:
    model = testing.ScriptedModel(
        [[testing.function_call("count", {}, call_id="1")], [testing.assistant_message("done")]]
    )
    agent = agents.Agent("counter", model=model, tools=list(toolkit.openai_agents()))

    def run() -> None:
        with asyncio.Runner() as runner:
            runner.run(agents.Runner.run(agent, "Count.", run_config=quiet()))

    await asyncio.to_thread(run)
    assert outputs(model) == ["1"]
    await asyncio.get_running_loop().shutdown_default_executor()
