"""`query_mcp_server`: the agent picks the server; only that server is opened."""

from __future__ import annotations

import pytest
from autogen_core import CancellationToken
from autogen_core.tools import FunctionTool
from tests.conftest import Unruly

from jackfield import MCPClientSessionManager, MCPConfig, Session, ToolError, UnknownServerError, UnknownToolError


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


async def test_as_a_framework_sees_it(config: MCPConfig) -> None:
    async with MCPClientSessionManager(config) as manager:
        function = manager.query_tool()
        tool = FunctionTool(function, description=function.__doc__ or "")
        parameters = tool.schema["parameters"]
        assert tool.name == "query_mcp_server"
        assert parameters["properties"]["server_name"]["enum"] == ["one", "two"]
        assert parameters["required"] == ["server_name"]
        call = {"server_name": "one", "tool_name": "add", "arguments": {"a": 1, "b": 2}}
        assert await tool.run_json(call, CancellationToken()) == "3"


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
