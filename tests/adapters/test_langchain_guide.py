"""LangChain's guide to stateful sessions: its patterns, examples and pitfalls as programs of ours.

What people change is the imports: everything, the client included, comes from `jackfield.langchain`. The client is made
without arguments, as in the guide; its servers are those of the user's own file.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from langchain.agents import create_agent as langchains_create_agent
from langchain_core.tools import tool
from tests.adapters.test_langchain_agents import ASK, Model, said
from tests.conftest import MARK, TOKEN, everything, strays

from jackfield import ConfigError, JackfieldError, SessionTimeoutError
from jackfield.langchain import (
    MultiServerMCPClient,
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    load_mcp_tools,
    mcp_agent_session,
)
from jackfield.session import session_loop as home_module


@pytest.fixture(autouse=True)
def own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> None:
    """The user's own file, with a server that counts. Waiting for a blocked loop would be for ever."""
    server = everything()
    entry = {"command": server.command, "args": server.args, "env": {MARK: TOKEN}}
    folder = tmp_path / "jackfield"
    folder.mkdir()
    (folder / "jackfield.json").write_text(json.dumps({"mcpServers": {"playwright": entry}}))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(home_module, "REACH_TIMEOUT", 1e9)


@pytest.mark.parametrize("make", [create_agent, langchains_create_agent], ids=["ours", "langchain's"])
async def test_without_a_session_state_is_lost_and_with_one_it_is_kept(make: Any) -> None:
    """The guide's first two blocks, example 3, pitfall 1."""
    mcp_client = MultiServerMCPClient()
    tools = await mcp_client.get_tools("playwright")
    agent = make(model=Model(), tools=tools)
    assert [said(agent.invoke(ASK)) for _ in range(2)] == ["1", "1"]
    assert said(await agent.ainvoke(ASK)) == "1"
    assert strays() == []
    async with mcp_client.session("playwright") as session:
        tools = await load_mcp_tools(session)
        agent = make(model=Model(), tools=tools)
        assert [said(agent.invoke(ASK)) for _ in range(2)] == ["1", "2"]
        assert [said(result) for result in await asyncio.gather(agent.ainvoke(ASK))] == ["3"]
        assert (await session.call_tool("count")).data == 4
    assert strays() == []


async def test_pattern_1_and_example_1_an_executor() -> None:
    async with StatefulMCPAgentExecutor(
        client=MultiServerMCPClient(), server_name="playwright", model=Model(), system_prompt="Be precise."
    ) as executor:
        done: list[str] = []
        for step in ("Open the page", "Type the name", "Press the button"):
            result = await executor.ainvoke({"messages": [{"role": "user", "content": step}]})
            if "error" in str(result).lower():
                break
            done.append(said(result))
        assert done == ["1", "2", "3"]
        assert said(executor.invoke(ASK)) == "4"
        assert [said(chunk) async for chunk in executor.astream(ASK, stream_mode="values")][-1] == "5"


async def test_pattern_2_and_example_2_a_context_manager_that_rolls_back() -> None:
    rolled_back: list[str] = []

    async def transaction(operations: dict[str, Model]) -> None:
        for words, model in operations.items():
            async with mcp_agent_session(
                client=MultiServerMCPClient(), server_name="playwright", model=model, system_prompt="Be careful."
            ) as agent:
                result = await agent.ainvoke({"messages": [{"role": "user", "content": f"Execute: {words}"}]})
                if "error" in str(result).lower() and "COMMIT" not in words:
                    rolled_back.append(words)
                    raise RuntimeError(f"It failed: {said(result)}")

    await transaction({"BEGIN": Model(), "INSERT": Model(calls=[("echo", {"text": "x"})]), "COMMIT": Model()})
    with pytest.raises(RuntimeError, match="no such table"):
        await transaction({"BEGIN": Model(), "INSERT": Model(calls=[("fail", {"why": "no such table"})])})
    assert rolled_back == ["INSERT"]


async def test_pattern_3_and_pitfall_2_by_hand() -> None:
    agent, session = await create_stateful_mcp_agent(
        client=MultiServerMCPClient(), server_name="playwright", model=Model(), auto_cleanup=False
    )
    try:
        assert said(await agent.ainvoke(ASK)) == "1"
    finally:
        await session.__aexit__(None, None, None)
    assert strays() == []


async def test_pattern_4_create_agent_with_a_session_config() -> None:
    @tool
    def greet() -> str:
        """One's own."""
        return "hello"

    agent = create_agent(
        model=Model(calls=[("count", {}), ("greet", {})]),
        tools=[greet],
        mcp_session_config={"client": MultiServerMCPClient(), "server_name": "playwright", "auto_cleanup": True},
    )
    assert [said(result) for result in (agent.invoke(ASK), await agent.ainvoke(ASK))] == ["1 hello", "2 hello"]
    del agent


async def test_pitfall_3_tools_with_and_without_a_session() -> None:
    @tool
    def double(number: int) -> int:
        """Two times."""
        return 2 * number

    async with MultiServerMCPClient().session("playwright") as session:
        stateful_tools = await load_mcp_tools(session)
        agent = create_agent(
            model=Model(calls=[("count", {}), ("double", {"number": 4})]), tools=[*stateful_tools, double]
        )
        assert [said(agent.invoke(ASK)) for _ in range(2)] == ["1 8", "2 8"]


async def test_pitfall_4_a_session_that_is_opened_again() -> None:
    async def refreshing(executor: StatefulMCPAgentExecutor, max_retries: int = 2) -> dict[str, Any]:
        for attempt in range(max_retries):
            try:
                return await executor.ainvoke(ASK)
            except SessionTimeoutError:
                if attempt < max_retries - 1:
                    await executor.refresh_session()
                else:
                    raise
        raise AssertionError

    async with StatefulMCPAgentExecutor(MultiServerMCPClient(), "playwright", Model()) as executor:
        assert [said(await refreshing(executor)) for _ in range(2)] == ["1", "2"]
        await executor.refresh_session()
        assert said(await refreshing(executor)) == "1"


# The client


async def test_prompts_and_resources_of_the_client() -> None:
    client = MultiServerMCPClient()
    (message,) = await client.get_prompt("playwright", "summarize", arguments={"topic": "rain"})
    assert "rain" in message.text
    (blob,) = await client.get_resources("playwright", uris="notes://today")
    assert blob.as_string() == "milk, eggs"


async def test_a_client_names_what_it_does_not_know() -> None:
    for client in (MultiServerMCPClient(), MultiServerMCPClient({})):
        with pytest.raises(JackfieldError, match="postgresql"):
            client.session("postgresql")
        with pytest.raises(JackfieldError, match="postgresql"):
            await client.get_tools("postgresql")
    with pytest.raises(ConfigError, match="WebSocket"):
        MultiServerMCPClient({"x": {"transport": "websocket", "url": "ws://localhost"}})


async def test_a_server_that_does_not_open_is_told_and_nothing_is_left() -> None:
    client = MultiServerMCPClient({"gone": {"transport": "stdio", "command": "no-such-command", "args": []}})
    with pytest.raises(JackfieldError, match="no-such-command"):
        async with client.session("gone"):
            pass
    with pytest.raises(JackfieldError, match="no-such-command"):
        await client.get_tools()
