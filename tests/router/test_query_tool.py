"""`query_mcp_server`: the agent picks the server; only that server is opened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from autogen_core import CancellationToken
from autogen_core.tools import FunctionTool
from tests.conftest import Unruly
from tests.lazily import Lazily

from jackfield import MCPClientSessionManager, MCPConfig, Session, ToolError, UnknownServerError, UnknownToolError

ag2, ag2_events, ag2_testing = Lazily("ag2"), Lazily("ag2.events"), Lazily("ag2.testing")
agents, agents_tools = Lazily("agents"), Lazily("agents.tool_context")
langchain_tools, pydantic_ai = Lazily("langchain_core.tools"), Lazily("pydantic_ai")


@pytest.fixture
def config(unruly: Unruly) -> MCPConfig:
    return MCPConfig(servers=[unruly(name="one"), unruly(name="two")])


async def test_only_the_picked_server_is_opened(config: MCPConfig) -> None:
    async with MCPClientSessionManager(config) as manager:
        query_mcp_server = manager.query_tool()
        assert manager.sessions() == []
        tools = await query_mcp_server("two", query="what is there?")
        assert "echo(text: string): echo of unruly" in tools
        assert [info.server_name for info in manager.sessions()] == ["two"]
        assert await query_mcp_server("two", tool_name="count") == "1"
        assert await query_mcp_server("two", tool_name="count", arguments={}) == "2", "its session is kept"


async def test_errors_name_what_is_there(config: MCPConfig) -> None:
    async with MCPClientSessionManager(config) as manager:
        query_mcp_server = manager.query_tool()
        with pytest.raises(UnknownServerError, match="Did you mean 'two'"):
            await query_mcp_server("tow")
        with pytest.raises(UnknownToolError, match="Did you mean 'echo'"):
            await query_mcp_server("one", tool_name="ehco")
        with pytest.raises(ToolError, match="on purpose"):
            await query_mcp_server("one", tool_name="fail")


async def of_autogen(function: Any, call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    tool = FunctionTool(function, description=function.__doc__)
    return dict(tool.schema["parameters"]), await tool.run_json(call, CancellationToken())


async def of_ag2(function: Any, call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    model = ag2_testing.TestConfig(ag2_events.ToolCallEvent("query_mcp_server", arguments=json.dumps(call)), "done")
    tool = ag2.tool(function)
    reply = await ag2.Agent("a", config=model, tools=[tool]).ask("Go on.")
    [result] = [event for event in await reply.history.get_events() if isinstance(event, ag2_events.ToolResultEvent)]
    return tool.schema.function.parameters, result.result.parts[0].content


async def of_langchain(function: Any, call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    tool = langchain_tools.tool(function)
    return tool.tool_call_schema.model_json_schema(), await tool.ainvoke(call)


async def of_openai_agents(function: Any, call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    tool = agents.function_tool(function, strict_mode=False)
    assert tool.params_json_schema["properties"]["query"]["description"] == "What you want to know."
    arguments = json.dumps(call)
    context = agents_tools.ToolContext(None, tool_name=tool.name, tool_call_id="1", tool_arguments=arguments)
    return tool.params_json_schema, await tool.on_invoke_tool(context, arguments)


async def of_pydantic_ai(function: Any, call: dict[str, Any]) -> tuple[dict[str, Any], str]:
    tool = pydantic_ai.Tool(function)
    assert tool.function_schema.json_schema["properties"]["query"]["description"] == "What you want to know."
    return tool.function_schema.json_schema, await function(**call)


@pytest.mark.parametrize("framework", [of_autogen, of_ag2, of_langchain, of_openai_agents, of_pydantic_ai])
async def test_as_frameworks_that_make_tools_of_functions_see_it(framework: Any, config: MCPConfig) -> None:
    async with MCPClientSessionManager(config) as manager:
        call = {"server_name": "one", "tool_name": "add", "arguments": {"a": 1, "b": 2}}
        parameters, answer = await framework(manager.query_tool(), call)
        assert parameters["properties"]["server_name"]["enum"] == ["one", "two"]
        assert parameters["required"] == ["server_name"]
        assert answer == "3"


async def test_what_its_parameters_are_for_stands_in_its_text(config: MCPConfig) -> None:
    async with MCPClientSessionManager(config) as manager:
        text = manager.query_tool().__doc__ or ""
        assert "Servers: one, two.\n\nArgs:\n    server_name: The server to use.\n" in text
        assert text.endswith("arguments: The tool's arguments.")
        [tool] = manager.router(mode="server").toolkit()
        assert tool.description == text.partition("\n")[0]


async def test_with_a_handler_of_ones_own(config: MCPConfig) -> None:
    async def handler(session: Session, query: str) -> str:
        return (await session.call_tool("echo", {"text": f"{session.server_name}: {query}"})).text

    async with MCPClientSessionManager(config) as manager:
        function = manager.query_tool(["one"], handler=handler)
        assert await function("one", "why?") == "one: why?"
        with pytest.raises(UnknownServerError):
            await function("two", "why?")
        schema = FunctionTool(function, description="x").schema["parameters"]
        assert set(schema["properties"]) == {"server_name", "query"}
        assert schema["required"] == ["server_name", "query"]
