"""AG2 0.x: its tools, wherever AG2 calls them from. What all adapters have in common stands in `contract/`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from autogen import ConversableAgent, LLMConfig
from autogen.agentchat import a_initiate_group_chat
from autogen.agentchat.group.patterns import DefaultPattern
from tests.adapters.ag2_classic.chat_api import Script
from tests.conftest import everything

from jackfield import ConfigError, MCPClientSessionManager, Toolkit, create_toolkit
from jackfield.session import session_loop

Scripted = Callable[[Script], LLMConfig]


@pytest.fixture
async def toolkit(nothing_left: None) -> AsyncIterator[Toolkit]:
    async with MCPClientSessionManager().open_session(everything()) as session:
        yield await create_toolkit(session)


def counting(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str | tuple[str, dict[str, Any]]:
    """Counts once, then says what came back."""
    if messages[-1]["role"] == "tool":
        return f"It says: {messages[-1]['content']} TERMINATE"
    return "count", {}


def agent_with(toolkit: Toolkit, llm_config: LLMConfig) -> ConversableAgent:
    agent = ConversableAgent("counter", llm_config=llm_config, human_input_mode="NEVER")
    toolkit.ag2().register_for_llm(agent)
    return agent


async def test_what_a_provider_is_sent(toolkit: Toolkit, scripted: Scripted) -> None:
    sent: list[dict[str, Any]] = []

    def look(messages: list[dict[str, Any]], tools: list[dict[str, Any]]) -> str:
        sent.extend(tools)
        return "TERMINATE"

    agent = agent_with(toolkit, scripted(look))
    await (await agent.a_run(message="Go on.", max_turns=1)).process()
    assert [tool["function"]["name"] for tool in sent] == toolkit.names
    order = next(tool["function"] for tool in sent if tool["function"]["name"] == "order")
    assert order["parameters"] == dict(toolkit["order"].input_schema)
    tool = toolkit.ag2().get_tool("order")
    assert tool.realtime_tool_schema == {"type": "function", **order}


@pytest.mark.filterwarnings("ignore:Function .* is being overridden:UserWarning")
async def test_runs_of_an_agent_share_the_session(toolkit: Toolkit, scripted: Scripted) -> None:
    agent = agent_with(toolkit, scripted(counting))
    said = []
    for _ in range(2):
        result = await agent.a_run(message="Count.", max_turns=3)
        await result.process()
        said.append(await result.summary)
    assert [text.strip() for text in said] == ["It says: 1", "It says: 2"]


async def test_a_synchronous_run_in_another_thread(toolkit: Toolkit, scripted: Scripted) -> None:
    agent = agent_with(toolkit, scripted(counting))

    def run() -> str:
        response = agent.run(message="Count.", max_turns=3)
        response.process()
        return response.summary

    assert "It says: 1" in await asyncio.to_thread(run)
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_a_synchronous_run_on_the_sessions_own_loop_is_told_and_not_waited_for(
    toolkit: Toolkit, scripted: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_loop, "REACH_TIMEOUT", 0.2)
    response = agent_with(toolkit, scripted(counting)).run(message="Count.", max_turns=3)
    response.process()
    assert "Nothing was sent. Use the async methods" in response.summary
    assert (await toolkit["count"]()).text == "1"


async def test_a_group_chat(toolkit: Toolkit, scripted: Scripted) -> None:
    agent = agent_with(toolkit, scripted(counting))
    result, _, _ = await a_initiate_group_chat(
        pattern=DefaultPattern(initial_agent=agent, agents=[agent]), messages="Count.", max_rounds=4
    )
    assert "It says: 1" in result.chat_history[-1]["content"]


async def test_the_other_line_is_not_here(toolkit: Toolkit) -> None:
    with pytest.raises(ConfigError, match=r"pip install 'jackfield\[ag2\]'"):
        toolkit.ag2(line="1.x")
    assert toolkit.ag2(line="0.x").tools
    with pytest.raises(ConfigError, match=r"Give '1\.x' or '0\.x'"):
        toolkit.ag2(line="2")  # type: ignore[arg-type]
