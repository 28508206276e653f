"""Pydantic AI: what all adapters have in common stands in `contract/`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic_ai import Agent, ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, FunctionModel
from pydantic_ai.toolsets import PrefixedToolset
from tests.conftest import everything

from jackfield import MCPClientSessionManager, Toolkit, create_toolkit


@pytest.fixture
async def toolkit(nothing_left: None) -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


class Calling:
    """A model that makes these calls at once, then stops; keeps what it was told."""

    __name__ = "calling"  # pydantic-ai 2.17 asks for it

    def __init__(self, *calls: ToolCallPart) -> None:
        self.calls = list(calls)
        self.told: AgentInfo | None = None

    def __call__(self, messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
        self.told = info
        called = any(isinstance(part, ToolReturnPart) for part in messages[-1].parts)
        return ModelResponse([TextPart("done")] if called else self.calls)


async def returned(agent: Agent[Any, Any]) -> list[ToolReturnPart]:
    messages = (await agent.run("Go on.")).all_messages()
    return [part for message in messages for part in message.parts if isinstance(part, ToolReturnPart)]


async def test_structured_content_comes_as_values_and_text_as_it_is(toolkit: Toolkit) -> None:
    model = Calling(
        ToolCallPart("receipt", {"customer": "Ada"}), ToolCallPart("count", {}), ToolCallPart("echo", {"text": "[1]"})
    )
    parts = await returned(Agent(FunctionModel(model), toolsets=[toolkit.pydantic_ai()]))
    receipt, count, echo = (part.content for part in parts)
    assert receipt["customer"] == "Ada"  # type: ignore[call-overload, index]
    assert (count, echo) == (1, "[1]")


async def test_errors_do_not_use_up_retries(toolkit: Toolkit) -> None:
    model = Calling(*(ToolCallPart("add", {"a": number}) for number in range(5)))
    parts = await returned(Agent(FunctionModel(model), toolsets=[toolkit.pydantic_ai()], retries=0))
    assert [part.outcome for part in parts] == ["failed"] * 5
    assert all("b is missing" in str(part.content) for part in parts)


async def test_what_is_told_of_a_tool(toolkit: Toolkit) -> None:
    model = Calling(ToolCallPart("count", {}))
    toolset = toolkit.pydantic_ai(id="mine")
    assert toolset.id == "mine"
    await returned(Agent(FunctionModel(model), toolsets=[toolset]))
    assert model.told is not None
    told = {tool.name: tool for tool in model.told.function_tools}
    assert told["echo"].metadata is not None
    assert told["echo"].metadata["annotations"]["readOnlyHint"] is True
    assert (told["echo"].metadata["mcp_server"], told["echo"].metadata["mcp_tool"]) == ("everything", "echo")

    structured = toolkit.filtered(["receipt"]).pydantic_ai().include_return_schemas()
    model = Calling(ToolCallPart("receipt", {"customer": "Ada"}))
    await returned(Agent(FunctionModel(model), toolsets=[structured]))
    assert model.told is not None
    [tool] = model.told.function_tools
    # Pydantic AI writes it into the description for models that have no place for it.
    assert '"customer"' in (tool.description or "")


async def test_its_toolsets_can_be_wrapped(toolkit: Toolkit) -> None:
    model = Calling(ToolCallPart("my_count", {}))
    toolset = PrefixedToolset(toolkit.pydantic_ai(), "my")
    [part] = await returned(Agent(FunctionModel(model), toolsets=[toolset]))
    assert part.content == 1


async def test_a_synchronous_run_in_another_thread(toolkit: Toolkit) -> None:
    agent = Agent(FunctionModel(Calling(ToolCallPart("count", {}))), toolsets=[toolkit.pydantic_ai()])

    def run() -> list[ToolReturnPart]:
        with asyncio.Runner() as runner:
            return runner.run(returned(agent))

    assert [part.content for part in await asyncio.to_thread(run)] == [1]
    await asyncio.get_running_loop().shutdown_default_executor()
