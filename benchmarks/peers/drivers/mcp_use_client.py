"""`mcp-use`: `MCPClient`, whose tools its `MCPAgent` gets from the `LangChainAdapter`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from mcp_use import MCPClient
from mcp_use.agents.adapters.langchain_adapter import LangChainAdapter
from mcp_use.agents.managers.server_manager import ServerManager
from subject import Answer, Driver, Server, Subject, Visit


def config_of(servers: Sequence[Server]) -> dict[str, Any]:
    def entry(server: Server) -> dict[str, Any]:
        if server.url:
            return {"url": server.url}
        return {"command": server.command, "args": server.args, "env": server.environment}

    return {"mcpServers": {server.name: entry(server) for server in servers}}


class MCPUseSubject:
    def __init__(self, adapter: LangChainAdapter, client: MCPClient) -> None:
        self.adapter = adapter
        self.client = client

    async def given(self) -> list[BaseTool]:
        return self.adapter.tools

    async def _tool(self, name: str) -> BaseTool:
        return next(tool for tool in await self.given() if tool.name == name)

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.given()]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        return convert_to_openai_tool(await self._tool(tool))["function"]["parameters"]

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        call = {"type": "tool_call", "id": "1", "name": tool, "args": dict(arguments or {})}
        message = await (await self._tool(tool)).ainvoke(call)
        blocks = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
        return Answer(
            "\n".join(block["text"] if block["type"] == "text" else f"[{block['type']}]" for block in blocks),
            images=sum(block["type"] == "image" for block in blocks),
            is_error=message.status == "error",
        )


class ManagedSubject(MCPUseSubject):
    """With the server manager: an agent connects to one server after the other, by tools."""

    def __init__(self, manager: ServerManager, client: MCPClient) -> None:
        super().__init__(manager.adapter, client)
        self.manager = manager

    async def given(self) -> list[BaseTool]:
        return self.manager.tools

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        if self.manager.active_server is None:
            connect = next(one for one in self.manager.tools if one.name == "connect_to_mcp_server")
            await connect.ainvoke({"server_name": self.client.get_server_names()[0]})
        return await super().call(tool, arguments)


@asynccontextmanager
async def documented(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    client = MCPClient(config=config_of(servers))
    adapter = LangChainAdapter()
    try:
        await adapter.create_tools(client)
        yield MCPUseSubject(adapter, client)
    finally:
        await client.close_all_sessions()


@asynccontextmanager
async def managed(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    client = MCPClient(config=config_of(servers))
    try:
        manager = ServerManager(client, LangChainAdapter())
        await manager.initialize()
        yield ManagedSubject(manager, client)
    finally:
        await client.close_all_sessions()


async def session_of(client: MCPClient, server: Server) -> MCPUseSubject:
    adapter = LangChainAdapter()
    session = client.sessions.get(server.name) or await client.create_session(server.name)
    assert session
    adapter.tools = await adapter.load_tools_for_connector(session.connector)
    return MCPUseSubject(adapter, client)


@asynccontextmanager
async def one_client(server: Server) -> AsyncGenerator[Visit]:
    client = MCPClient(config=config_of([server]))

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        yield await session_of(client, server)

    try:
        yield visit
    finally:
        await client.close_all_sessions()


@asynccontextmanager
async def one_each(server: Server) -> AsyncGenerator[Visit]:
    kept: dict[str, MCPClient] = {}

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        yield await session_of(kept.setdefault(user, MCPClient(config=config_of([server]))), server)

    try:
        yield visit
    finally:
        for client in kept.values():
            await client.close_all_sessions()


class BoundedSubject(MCPUseSubject):
    """By its session: the adapter's tools take no bound."""

    def __init__(self, client: MCPClient, server: Server, seconds: float) -> None:
        super().__init__(LangChainAdapter(), client)
        self.server = server
        self.seconds = timedelta(seconds=seconds)

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        session = self.client.get_session(self.server.name)
        result = await session.call_tool(tool, dict(arguments or {}), self.seconds)
        return Answer(str(result.content[0].text), is_error=bool(result.isError))


@asynccontextmanager
async def bounded(server: Server, seconds: float) -> AsyncGenerator[Subject]:
    client = MCPClient(config=config_of([server]))
    await client.create_session(server.name)
    try:
        yield BoundedSubject(client, server, seconds)
    finally:
        await client.close_all_sessions()


DRIVER = Driver(
    distribution="mcp-use",
    ways={"": documented},
    visits={"": one_client, "one client per user": one_each},
    bounded={"`session.call_tool` only": bounded},
    special={"starts_only_what_is_called": {"": documented, "`use_server_manager=True`": managed}},
)
