"""AutoGen AgentChat: tools and workbench, with the real framework."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from autogen_agentchat.agents import AssistantAgent
from autogen_agentchat.conditions import MaxMessageTermination
from autogen_agentchat.messages import ToolCallExecutionEvent
from autogen_agentchat.teams import RoundRobinGroupChat
from autogen_core import CancellationToken, FunctionCall
from autogen_core.models import CreateResult, ModelFamily, ModelInfo, RequestUsage
from autogen_core.tools import ImageResultContent, TextResultContent, Workbench
from autogen_ext.models.replay import ReplayChatCompletionClient
from tests.adapters.odd_schemas import ODD_SCHEMAS
from tests.conftest import MARK, SERVERS, TOKEN, Scripted, Unruly, eventually, everything, strays

from jackfield import (
    ConfigError,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    SessionOpening,
    create_toolkit,
)
from jackfield.adapters.autogen import JackfieldWorkbench


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with MCPClientSessionManager().open_session(everything()) as opened:
        yield opened


def replay(*steps: str | tuple[str, dict[str, Any]]) -> ReplayChatCompletionClient:
    """A model that says these words or makes these calls, in order."""
    results = [
        CreateResult(
            finish_reason="stop" if isinstance(step, str) else "function_calls",
            content=step if isinstance(step, str) else [FunctionCall(f"c{number}", json.dumps(step[1]), step[0])],
            usage=RequestUsage(0, 0),
            cached=False,
        )
        for number, step in enumerate(steps)
    ]
    info = ModelInfo(
        vision=False, function_calling=True, json_output=False, family=ModelFamily.UNKNOWN, structured_output=False
    )
    return ReplayChatCompletionClient(results, model_info=info)


def executions(messages: Any) -> list[tuple[str, bool]]:
    """What the tools answered in a run, and whether as errors."""
    return [
        (result.content, bool(result.is_error))
        for message in messages
        if isinstance(message, ToolCallExecutionEvent)
        for result in message.content
    ]


# Tools


async def test_the_whole_schema_reaches_the_model(session: Session) -> None:
    toolkit = await create_toolkit(session)
    tool = next(tool for tool in toolkit.autogen() if tool.name == "order")
    assert tool.schema["parameters"] == toolkit["order"].input_schema
    assert set(tool.schema["parameters"]["$defs"]) == {"Item", "Order", "Size"}  # type: ignore[typeddict-item]
    assert tool.description == "Take an order."


@pytest.mark.parametrize("value", [None, True, 2**70, -0.5, "ünïcødé \U0001f600", [1, [None]], {"a": {"b": []}}])
async def test_arguments_arrive_unchanged(value: object, session: Session) -> None:
    tool = next(tool for tool in (await create_toolkit(session)).autogen() if tool.name == "arguments")
    result = await tool.run_json({"value": value}, CancellationToken())
    assert tool.return_value_as_string(result) == repr(value)


async def test_the_cancellation_token_is_told_to_the_server(session: Session, tmp_path: Path) -> None:
    tool = next(tool for tool in (await create_toolkit(session)).autogen() if tool.name == "slow")
    token, log = CancellationToken(), tmp_path / "log"
    call = asyncio.create_task(tool.run_json({"seconds": 60, "log": str(log)}, token))
    await asyncio.sleep(0.2)
    token.cancel()
    with pytest.raises(JackfieldError, match="'slow' was cancelled"):
        await call
    assert await asyncio.to_thread(eventually, log.exists)
    assert log.read_text() == "cancelled"
    await asyncio.get_running_loop().shutdown_default_executor()


async def test_tools_in_an_agent_with_errors_shown_as_errors(session: Session) -> None:
    toolkit = await create_toolkit(session)
    model = replay(("add", {"a": 1, "b": 2}), ("fail", {"why": "no luck"}), ("add", {"a": 1}), ("picture", {}), "done")
    agent = AssistantAgent("a", model_client=model, tools=toolkit.autogen(), max_tool_iterations=9)
    result = await agent.run(task="go")
    answers = executions(result.messages)
    assert answers[0] == ("3", False)
    assert "no luck" in answers[1][0]
    assert answers[1][1] is True
    assert "b is missing" in answers[2][0]
    assert answers[2][1] is True
    assert answers[3] == ("One pixel:\n[image: image/png, 70 bytes]", False)
    assert result.messages[-1].content == "done"  # type: ignore[union-attr]


# Workbench


async def test_nothing_is_opened_before_tools_are_asked_for_and_listing_is_free_afterwards(unruly: Unruly) -> None:
    seen: list[Any] = []
    config = MCPConfig(servers=[unruly(name="one"), unruly(name="two")])
    async with MCPClientSessionManager(config, on_event=seen.append) as manager:
        workbench = manager.workbench()
        await workbench.start()
        assert seen == []
        first = await workbench.list_tools()
        assert {tool["name"] for tool in first} >= {"one_echo", "two_echo"}
        for _ in range(20):
            assert await workbench.list_tools() is first
        assert (await workbench.call_tool("one_echo", {"text": "x"})).to_text() == "x"
        assert sum(isinstance(event, SessionOpening) for event in seen) == 2


async def test_state_is_kept_between_calls_and_reset_begins_anew(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        workbench = manager.workbench()
        assert [(await workbench.call_tool("count")).to_text() for _ in range(3)] == ["1", "2", "3"]
        await workbench.reset()
        assert (await workbench.call_tool("count")).to_text() == "1"
        other = manager.workbench()
        assert (await other.call_tool("count")).to_text() == "1", "another workbench has sessions of its own"
        await other.load_state(await workbench.save_state())
        assert (await other.call_tool("count")).to_text() == "2", "the saved key is whose session it is"
        await workbench.stop()
        assert [info.key for info in manager.sessions()] == [workbench.key], "the other goes on with it"
        await other.stop()
        assert [info.key for info in manager.sessions()] == []


@pytest.mark.parametrize("protocol", ["auto", "handshake"])
async def test_changed_tools_are_listed_anew(protocol: Any) -> None:
    config = MCPConfig(servers=[everything(protocol=protocol)])
    async with MCPClientSessionManager(config) as manager:
        workbench = manager.workbench()
        assert "late" not in {tool["name"] for tool in await workbench.list_tools()}
        await workbench.call_tool("add_tool", {"name": "late"})
        for _ in range(500):
            if "late" in {tool["name"] for tool in await workbench.list_tools()}:
                break
            await asyncio.sleep(0.01)
        assert (await workbench.call_tool("late")).to_text() == "late"


async def test_results_keep_text_and_images_and_errors() -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[everything()])) as manager:
        workbench = manager.workbench()
        result = await workbench.call_tool("picture")
        text, image = result.result
        assert isinstance(text, TextResultContent)
        assert isinstance(image, ImageResultContent)
        assert image.content.image.size == (1, 1)
        assert result.to_text() == "One pixel:\n[image: image/png, 70 bytes]"
        assert result.to_text(replace_image="(picture)") == "One pixel:\n(picture)"
        media = await workbench.call_tool("media")
        assert "[audio: audio/wav, 5 bytes]" in media.to_text()
        failed = await workbench.call_tool("fail", {"why": "no luck"})
        assert failed.is_error
        assert "no luck" in failed.to_text()
        for name, arguments, words in (
            ("echo", {}, "text is missing"),
            ("ecko", {}, "Did you mean 'echo'"),
        ):
            answer = await workbench.call_tool(name, arguments)
            assert answer.is_error
            assert words in answer.to_text()


async def test_a_dead_server_does_not_take_the_others_down(unruly: Unruly, caplog: pytest.LogCaptureFixture) -> None:
    config = MCPConfig(servers=[unruly(name="good"), unruly("--exit", "1", name="bad")])
    async with MCPClientSessionManager(config) as manager:
        workbench = manager.workbench()
        assert "echo" in {tool["name"] for tool in await workbench.list_tools()}
        assert "[MCP][bad] Its tools are omitted" in caplog.text
        opened = len([record for record in caplog.records if "could not be opened" in record.message])
        await workbench.list_tools()
        again = len([record for record in caplog.records if "could not be opened" in record.message])
        assert again == opened, "it is not tried again at every step"


async def test_a_stored_workbench_works_again_without_its_secrets(
    unruly: Unruly, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIBRARY_TOKEN", "s3cret-token")
    data = {
        "mcpServers": {
            "everything": {
                "command": sys.executable,
                "args": [str(SERVERS / "everything.py"), "stdio"],
                "env": {MARK: "${MARK_VALUE}", "TOKEN": "${LIBRARY_TOKEN}"},
            }
        }
    }
    monkeypatch.setenv("MARK_VALUE", TOKEN)
    manager = MCPClientSessionManager(data)
    workbench = manager.workbench()
    text = workbench.dump_component().model_dump_json()
    assert "s3cret-token" not in text
    assert "${LIBRARY_TOKEN}" in text
    loaded = Workbench.load_component(json.loads(text))
    assert isinstance(loaded, JackfieldWorkbench)
    async with loaded:
        assert (await loaded.call_tool("echo", {"text": "again"})).to_text() == "again"
        assert strays() != []
    assert strays() == []

    literal = MCPClientSessionManager(MCPConfig(servers=[unruly()])).workbench()
    stored = literal.dump_component()
    assert TOKEN not in stored.model_dump_json()
    with pytest.raises(ConfigError, match="secret was not stored"):
        Workbench.load_component(stored)


async def test_a_workbench_used_without_entering_the_manager_ends_with_stop(unruly: Unruly) -> None:
    workbench = MCPClientSessionManager(MCPConfig(servers=[unruly()])).workbench()
    assert [(await workbench.call_tool("count")).to_text() for _ in range(2)] == ["1", "2"]
    await workbench.stop()
    assert strays() == []
    assert (await workbench.call_tool("count")).to_text() == "1", "it starts itself again"
    await workbench.stop()


async def test_cancelling_a_workbench_call(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        workbench, token = manager.workbench(), CancellationToken()
        await workbench.list_tools()
        call = asyncio.create_task(workbench.call_tool("sleep", {"seconds": 60}, token))
        while "run sleep" not in unruly.log:
            await asyncio.sleep(0.01)
        token.cancel()
        cancelled = await call
        assert cancelled.is_error
        assert "'sleep' was cancelled" in cancelled.to_text()
        assert (await workbench.call_tool("echo", {"text": "on"})).to_text() == "on"


async def test_in_an_agent(unruly: Unruly) -> None:
    config = MCPConfig(servers=[unruly(name="one"), unruly(name="two")])
    async with MCPClientSessionManager(config) as manager:
        model = replay(("one_count", {}), ("one_count", {}), ("two_add", {"a": 1, "b": 1}), ("one_fail", {}), "done")
        agent = AssistantAgent("a", model_client=model, workbench=manager.workbench(), max_tool_iterations=9)
        result = await agent.run(task="go")
        assert executions(result.messages) == [
            ("1", False),
            ("2", False),
            ("2", False),
            ("it failed on purpose", True),
        ]


async def test_in_a_team_whose_agents_share_it(unruly: Unruly) -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[unruly()])) as manager:
        workbench = manager.workbench()
        agents = [
            AssistantAgent(name, model_client=replay(("count", {}), "said"), workbench=workbench, max_tool_iterations=3)
            for name in ("first", "second")
        ]
        team = RoundRobinGroupChat(agents, termination_condition=MaxMessageTermination(3))  # type: ignore[arg-type]
        result = await team.run(task="go")
        assert [text for text, _ in executions(result.messages)] == ["1", "2"]


async def test_an_agent_with_a_workbench_can_be_stored() -> None:
    workbench = MCPClientSessionManager(MCPConfig(servers=[everything(environment={"KEY": "s3cret"})])).workbench()
    agent = AssistantAgent("a", model_client=replay("x"), workbench=workbench)
    assert "s3cret" not in agent.dump_component().model_dump_json()


async def test_a_workbench_shows_what_model_apis_take(scripted: Scripted) -> None:
    schema, [arguments] = ODD_SCHEMAS["bracket_names"]
    script = {"tools/list": {"tools": [{"name": "work", "inputSchema": schema}]}, "tools/call": "echo"}
    async with MCPClientSessionManager(MCPConfig(servers=[scripted(script)])) as manager:
        workbench = manager.workbench()
        [tool] = await workbench.list_tools()
        first, second, _ = tool["parameters"]["properties"]
        result = await workbench.call_tool("work", {first: "a", second: "b"})
        assert json.loads(result.to_text()) == arguments
