"""Pydantic AI: what all adapters have in common stands in `contract/`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from tests.conftest import everything
from tests.lazily import Lazily

from jackfield import MCPClientSessionManager, Toolkit, create_toolkit

pydantic_ai, function = Lazily("pydantic_ai"), Lazily("pydantic_ai.models.function")
toolsets = Lazily("pydantic_ai.toolsets")


@pytest.fixture
async def toolkit(nothing_left: None) -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


class Calling:
    """A model that makes these calls at once, then stops; keeps what it was told."""

    __name__ = "calling"  # pydantic-ai 2.17 asks for it

    def __init__(self, *calls: pydantic_ai.ToolCallPart) -> None:
        self.calls = list(calls)
        self.told: function.AgentInfo | None = None

    def __call__(self, messages: list[pydantic_ai.ModelMessage], info: function.AgentInfo) -> pydantic_ai.ModelResponse:
        self.told = info
        called = any(isinstance(part, pydantic_ai.ToolReturnPart) for part in messages[-1].parts)
        return pydantic_ai.ModelResponse([pydantic_ai.TextPart("done")] if called else self.calls)


async def returned(agent: pydantic_ai.Agent[Any, Any]) -> list[pydantic_ai.ToolReturnPart]:
    messages = (await agent.run("Go on.")).all_messages()
    return [part for message in messages for part in message.parts if isinstance(part, pydantic_ai.ToolReturnPart)]


async def test_structured_content_comes_as_values_and_text_as_it_is(toolkit: Toolkit) -> None:
    model = Calling(
        pydantic_ai.ToolCallPart("receipt", {"customer": "Ada"}),
        pydantic_ai.ToolCallPart("count", {}),
        pydantic_ai.ToolCallPart("echo", {"text": "[1]"}),
    )
    parts = await returned(pydantic_ai.Agent(function.FunctionModel(model), toolsets=[toolkit.pydantic_ai()]))
    receipt, count, echo = (part.content for part in parts)
    assert receipt["customer"] == "Ada"  # type: ignore[call-overload, index]
    assert (count, echo) == (1, "[1]")


async def test_errors_do_not_use_up_retries(toolkit: Toolkit) -> None:
    model = Calling(*(pydantic_ai.ToolCallPart("add", {"a": number}) for number in range(5)))
    parts = await returned(
        pydantic_ai.Agent(function.FunctionModel(model), toolsets=[toolkit.pydantic_ai()], retries=0)
    )
    assert [part.outcome for part in parts] == ["failed"] * 5
    assert all("b is missing" in str(part.content) for part in parts)


async def test_what_is_told_of_a_tool(toolkit: Toolkit) -> None:
    model = Calling(pydantic_ai.ToolCallPart("count", {}))
    toolset = toolkit.pydantic_ai(id="mine")
    assert toolset.id == "mine"
    await returned(pydantic_ai.Agent(function.FunctionModel(model), toolsets=[toolset]))
    assert model.told is not None
    told = {tool.name: tool for tool in model.told.function_tools}
    assert told["echo"].metadata is not None
    assert told["echo"].metadata["annotations"]["readOnlyHint"] is True
    assert (told["echo"].metadata["mcp_server"], told["echo"].metadata["mcp_tool"]) == ("everything", "echo")

    structured = toolkit.filtered(["receipt"]).pydantic_ai().include_return_schemas()
    model = Calling(pydantic_ai.ToolCallPart("receipt", {"customer": "Ada"}))
    await returned(pydantic_ai.Agent(function.FunctionModel(model), toolsets=[structured]))
    assert model.told is not None
    [tool] = model.told.function_tools
    # Pydantic AI writes it into the description for models that have no place for it.
    assert '"customer"' in (tool.description or "")


async def test_its_toolsets_can_be_wrapped(toolkit: Toolkit) -> None:
    model = Calling(pydantic_ai.ToolCallPart("my_count", {}))
    toolset = toolsets.PrefixedToolset(toolkit.pydantic_ai(), "my")
    [part] = await returned(pydantic_ai.Agent(function.FunctionModel(model), toolsets=[toolset]))
    assert part.content == 1


async def test_a_synchronous_run_in_another_thread(toolkit: Toolkit) -> None:
    agent = pydantic_ai.Agent(
        function.FunctionModel(Calling(pydantic_ai.ToolCallPart("count", {}))), toolsets=[toolkit.pydantic_ai()]
    )

    def run() -> list[pydantic_ai.ToolReturnPart]:
        with asyncio.Runner() as runner:
            return runner.run(returned(agent))

    assert [part.content for part in await asyncio.to_thread(run)] == [1]
    await asyncio.get_running_loop().shutdown_default_executor()
