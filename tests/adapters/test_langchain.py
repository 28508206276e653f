"""LangChain: tools that keep what a server says, and agents whose session lasts as long as they do."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler
from langchain_core.language_models.chat_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import BaseTool, ToolException, tool
from pydantic import Field
from tests.conftest import MARK, TOKEN, everything, strays
from tests.reliability.scenario import rig

from jackfield import (
    CallHook,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    Session,
    SessionTimeoutError,
    StdioConfig,
    ToolCall,
    Toolkit,
    create_toolkit,
)
from jackfield.langchain import (
    StatefulMCPAgentExecutor,
    create_agent,
    create_stateful_mcp_agent,
    load_mcp_prompt,
    load_mcp_resources,
    load_mcp_tools,
    mcp_agent_session,
)
from jackfield.session.session_loop import BlockedLoopError


class Scripted(BaseChatModel):
    """Calls `name` with `arguments` once for each question, then says what came back."""

    name_of_tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    bound: list[str] = Field(default_factory=list)

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Sequence[Any], **options: Any) -> Scripted:
        return self.model_copy(update={"bound": [tool.name for tool in tools]})

    def _generate(self, messages: list[BaseMessage], *arguments: Any, **options: Any) -> ChatResult:
        last = messages[-1]
        if isinstance(last, ToolMessage):
            message = AIMessage(f"It said: {last.text}")
        else:
            message = AIMessage("", tool_calls=[{"name": self.name_of_tool, "args": self.arguments, "id": "1"}])
        return ChatResult(generations=[ChatGeneration(message=message)])


ASK = {"messages": [{"role": "user", "content": "Go on."}]}


def said(result: dict[str, Any]) -> str:
    return result["messages"][-1].text


@pytest.fixture
async def session() -> AsyncIterator[Session]:
    async with MCPClientSessionManager().open_session(everything()) as opened:
        yield opened


@pytest.fixture
async def toolkit(session: Session) -> Toolkit:
    return await create_toolkit(session)


def named(tools: list[BaseTool], name: str) -> BaseTool:
    return next(one for one in tools if one.name == name)


# Tools


async def test_tools_keep_the_whole_schema_and_the_hints(toolkit: Toolkit) -> None:
    tools = toolkit.langchain()
    assert [one.name for one in tools] == toolkit.names
    order = named(tools, "order")
    assert order.args_schema == dict(toolkit["order"].input_schema)
    assert "$defs" in order.args_schema  # type: ignore[operator]
    echo = named(tools, "echo")
    assert echo.metadata is not None
    assert echo.metadata["read_only_hint"] is True
    assert (echo.metadata["mcp_server"], echo.metadata["mcp_tool"]) == ("everything", "echo")


async def test_results_keep_text_images_and_structure(toolkit: Toolkit) -> None:
    tools = toolkit.langchain()
    call = {"type": "tool_call", "id": "1", "args": {"text": "hi"}, "name": "echo"}
    message = await named(tools, "echo").ainvoke(call)
    assert isinstance(message, ToolMessage)
    assert (message.content, message.status) == ("hi", "success")
    assert message.artifact == {"structured_content": {"result": "hi"}}
    picture = await named(tools, "picture").ainvoke({**call, "name": "picture", "args": {}})
    assert picture.artifact is None
    kinds = [block["type"] for block in picture.content]
    assert sorted(kinds) == ["image", "text"]
    image = next(block for block in picture.content if block["type"] == "image")
    assert (image["mime_type"], bool(image["base64"])) == ("image/png", True)
    receipt = await named(tools, "receipt").ainvoke({**call, "name": "receipt", "args": {"customer": "Ada"}})
    assert receipt.artifact["structured_content"]["customer"] == "Ada"


async def test_errors_are_for_the_model(toolkit: Toolkit) -> None:
    tools = toolkit.langchain()
    call = {"type": "tool_call", "id": "1", "args": {}, "name": "fail"}
    message = await named(tools, "fail").ainvoke(call)
    assert message.status == "error"
    assert "on purpose" in message.text
    strict = named(tools, "add")
    strict.handle_tool_error = False
    with pytest.raises(ToolException, match="do not fit"):
        await strict.ainvoke({"a": 1})


async def test_synchronous_calls_from_another_thread_and_a_clear_error_from_this_one(toolkit: Toolkit) -> None:
    echo = named(toolkit.langchain(), "echo")
    assert await asyncio.to_thread(echo.invoke, {"text": "from a thread"}) == "from a thread"
    with pytest.raises(BlockedLoopError, match=r"await asyncio\.to_thread"):
        echo.invoke({"text": "blocking"})
    elsewhere = asyncio.to_thread(lambda: asyncio.run(echo.ainvoke({"text": "from another loop"})))
    assert await elsewhere == "from another loop"


async def test_progress_is_written_to_the_stream_of_the_run(toolkit: Toolkit) -> None:
    agent = create_agent(Scripted(name_of_tool="steps", arguments={"count": 3}), toolkit.langchain())
    events = [event async for event in agent.astream(ASK, stream_mode="custom")]
    assert [(event["progress"], event["total"], event["message"]) for event in events] == [
        (1.0, 3.0, "step 1"),
        (2.0, 3.0, "step 2"),
        (3.0, 3.0, "step 3"),
    ]
    assert (events[0]["type"], events[0]["server"], events[0]["tool"]) == ("mcp_progress", "everything", "steps")
    in_threads = await asyncio.to_thread(lambda: list(agent.stream(ASK, stream_mode="custom")))
    assert [event["message"] for event in in_threads] == ["step 1", "step 2", "step 3"]


async def test_callbacks_and_config_are_passed_on(toolkit: Toolkit) -> None:
    seen: list[Any] = []

    class Watch(AsyncCallbackHandler):
        async def on_tool_start(self, serialized: Any, input_str: str, **more: Any) -> None:
            seen.append((serialized["name"], more["tags"], more["metadata"]["user"], more["inputs"]))

        async def on_tool_end(self, output: Any, **more: Any) -> None:
            seen.append(output)

    echo = named(toolkit.langchain(), "echo")
    await echo.ainvoke({"text": "hi"}, {"callbacks": [Watch()], "tags": ["one"], "metadata": {"user": "ada"}})
    assert seen == [("echo", ["one"], "ada", {"text": "hi"}), "hi"]


async def test_hooks_are_interceptors(toolkit: Toolkit) -> None:
    class Shout(CallHook):
        async def before(self, call: ToolCall) -> ToolCall:
            return call.with_arguments(text=call.arguments["text"].upper())

    assert await named(toolkit.hooked(Shout()).langchain(), "echo").ainvoke({"text": "hi"}) == "HI"


async def test_prompts_are_messages(session: Session) -> None:
    (message,) = await load_mcp_prompt(session, "summarize", arguments={"topic": "rain"})
    assert isinstance(message, HumanMessage)
    assert message.content == "Summarize rain in a short way."
    with pytest.raises(JackfieldError, match="prompts/get"):
        await load_mcp_prompt(session, "sumarize")


async def test_a_prompts_pictures_are_content_blocks() -> None:
    config = everything()
    async with MCPClientSessionManager().open_session(
        config.model_copy(update={"args": [*config.args, "--more"]})
    ) as session:
        words, picture = await load_mcp_prompt(session, "picture_prompt")
        assert words.content == "Look at this:"
        assert [block["type"] for block in picture.content] == ["image"]  # type: ignore[index]


async def test_resources_are_blobs(session: Session) -> None:
    blobs = {blob.metadata["uri"]: blob for blob in await load_mcp_resources(session)}
    assert set(blobs) == {"notes://today", "notes://binary"}
    assert (blobs["notes://today"].as_string(), blobs["notes://today"].mimetype) == ("milk, eggs", "text/plain")
    assert blobs["notes://binary"].as_bytes() == b"\x00\x01\x02"
    (note,) = await load_mcp_resources(session, uris="notes://monday/3")
    assert note.as_string() == "note 3 of monday"


async def test_tools_by_the_name_that_adapters_users_know(session: Session) -> None:
    assert await named(await load_mcp_tools(session), "echo").ainvoke({"text": "hi"}) == "hi"


# Agents


def test_an_executor_in_synchronous_code() -> None:
    with StatefulMCPAgentExecutor(
        MCPConfig(servers=[everything()]), "everything", Scripted(name_of_tool="count")
    ) as it:
        assert [said(it.invoke(ASK)) for _ in range(2)] == ["It said: 1", "It said: 2"]
        assert "It said: 3" in str(list(it.agent.stream(ASK))[-1])
    assert strays() == []
    with pytest.raises(RuntimeError, match="Enter the executor first"):
        it.invoke(ASK)


def test_an_executor_that_cannot_be_entered_in_synchronous_code() -> None:
    config = MCPConfig(servers=[StdioConfig(server_name="gone", command="no-such-command")])
    with pytest.raises(JackfieldError, match="no-such-command"):
        with StatefulMCPAgentExecutor(config, "gone", Scripted(name_of_tool="count")):
            pass


async def test_an_executor_keeps_its_session_from_run_to_run() -> None:
    async with StatefulMCPAgentExecutor(
        client={"everything": {**connection(), "transport": "stdio"}},
        server_name="everything",
        model=Scripted(name_of_tool="count"),
        system_prompt="Count.",
    ) as executor:
        assert said(await executor.ainvoke(ASK)) == "It said: 1"
        assert said(await executor.ainvoke(ASK)) == "It said: 2"
        assert said(await asyncio.to_thread(executor.invoke, ASK)) == "It said: 3"
        steps = [step async for step in executor.astream(ASK)]
        assert "It said: 4" in str(steps[-1])
        await executor.refresh_session()
        assert said(await executor.ainvoke(ASK)) == "It said: 1"
    with pytest.raises(RuntimeError, match="Enter the executor first"):
        await executor.ainvoke(ASK)
    assert strays() == []


async def test_an_executor_of_a_manager_of_ones_own() -> None:
    async with MCPClientSessionManager(MCPConfig(servers=[everything()])) as manager:
        executor = StatefulMCPAgentExecutor(manager, "everything", Scripted(name_of_tool="count"))
        await executor.__aexit__(None, None, None)  # before it was entered there is nothing to leave
        async with executor:
            with pytest.raises(RuntimeError, match="already entered"):
                await executor.__aenter__()
            assert said(await executor.ainvoke(ASK)) == "It said: 1"
            assert [info.server_name for info in manager.sessions()] == ["everything"]
        async with manager.open_session("everything") as session:
            assert (await session.call_tool("count")).data == 1, "the manager outlives it"


def connection() -> dict[str, Any]:
    config = everything()
    return {"command": config.command, "args": config.args, "env": {MARK: TOKEN}}


async def test_several_servers_and_further_tools() -> None:
    @tool
    def local(text: str) -> str:
        """Something of one's own."""
        return text.upper()

    config = MCPConfig(servers=[everything("one"), everything("two")])
    async with StatefulMCPAgentExecutor(
        config, ["one", "two"], Scripted(name_of_tool="local", arguments={"text": "x"}), tools=[local]
    ) as executor:
        names = [one.name for one in executor.tools]
        assert {"one_count", "two_count", "local"} <= set(names)
        assert said(await executor.ainvoke(ASK)) == "It said: X"


async def test_the_other_patterns_of_the_guide() -> None:
    client = MCPConfig(servers=[everything()])
    model = Scripted(name_of_tool="count")
    async with mcp_agent_session(client=client, server_name="everything", model=model) as agent:
        assert said(await agent.ainvoke(ASK)) == "It said: 1"
        assert said(await agent.ainvoke(ASK)) == "It said: 2"
    agent, session = await create_stateful_mcp_agent(
        client=client, server_name="everything", model=model, auto_cleanup=False
    )
    try:
        assert said(await agent.ainvoke(ASK)) == "It said: 1"
    finally:
        await session.__aexit__(None, None, None)
    config = {"client": client, "server_name": "everything", "auto_cleanup": True}
    agent = create_agent(model=model, tools=[], mcp_session_config=config)  # type: ignore[arg-type]
    assert strays() == [], "opened when it is first run"
    assert said(await agent.ainvoke(ASK)) == "It said: 1"
    assert said(await agent.ainvoke(ASK)) == "It said: 2"
    await agent.aclose()
    assert strays() == []
    plain = create_agent(model, [])
    assert plain.invoke is not None


async def test_two_sessions_do_not_share_state() -> None:
    client = MCPConfig(servers=[everything()])
    model = Scripted(name_of_tool="count")
    async with (
        mcp_agent_session(client, "everything", model) as one,
        mcp_agent_session(client, "everything", model) as other,
    ):
        assert [said(await agent.ainvoke(ASK)) for agent in (one, one, other)] == [
            "It said: 1",
            "It said: 2",
            "It said: 1",
        ]


async def with_session_refresh(
    executor: StatefulMCPAgentExecutor, message: dict[str, str], max_retries: int = 2
) -> dict[str, Any]:
    """As the guide prints it."""
    for attempt in range(max_retries):
        try:
            return await executor.ainvoke({"messages": [message]})
        except SessionTimeoutError:
            if attempt < max_retries - 1:
                await executor.refresh_session()
            else:
                raise
    raise AssertionError


async def test_the_guides_refresh_after_a_timeout(tmp_path: Path) -> None:
    with rig("stdio", tmp_path, "--fault", "stall", "--after", "0", call_timeout=0.5) as server:
        config = MCPConfig(servers=[server.config])
        async with StatefulMCPAgentExecutor(config, "rig", Scripted(name_of_tool="look")) as executor:
            result = await with_session_refresh(executor, {"role": "user", "content": "Go on."})
            assert said(result) == "It said: look "


def test_without_langchain_the_error_says_which_extra() -> None:
    code = """
import sys
sys.modules["langchain_core"] = None
from jackfield import ConfigError, Toolkit
try:
    Toolkit().langchain()
except ConfigError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env={**os.environ})
    assert "pip install 'jackfield[langchain]'" in done.stdout
