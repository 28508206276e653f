"""`langchain-mcp-adapters`: the tools of a session that `MultiServerMCPClient.session()` holds open."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from drivers.langchain_adapters import LangChainSubject, bound_of, client_of, connection
from langchain_core.tools import BaseTool
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from subject import Driver, Server, Subject, Visit, Way


def sessions(**more: Any) -> Way:
    @asynccontextmanager
    async def way(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        client = MultiServerMCPClient({server.name: connection(server, **more) for server in servers})
        async with AsyncExitStack() as stack:
            tools: list[BaseTool] = []
            for server in servers:
                tools += await load_mcp_tools(await stack.enter_async_context(client.session(server.name)))
            yield LangChainSubject(tools)

    return way


@asynccontextmanager
async def prefixed(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    client = client_of(servers)
    async with AsyncExitStack() as stack:
        tools: list[BaseTool] = []
        for server in servers:
            session = await stack.enter_async_context(client.session(server.name))
            tools += await load_mcp_tools(session, server_name=server.name, tool_name_prefix=True)
        yield LangChainSubject(tools)


@asynccontextmanager
async def one_client(server: Server) -> AsyncGenerator[Visit]:
    client = client_of([server])

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        async with client.session(server.name) as session:
            yield LangChainSubject(await load_mcp_tools(session))

    yield visit


def bounded(server: Server, seconds: float) -> Any:
    return sessions(**bound_of(seconds))([server])


DRIVER = Driver(
    distribution="langchain-mcp-adapters",
    ways={"": sessions()},
    visits={"": one_client},
    bounded={"`session_kwargs`": bounded},
    special={
        "names_never_collide": {"": sessions(), "`tool_name_prefix=True`": prefixed},
        "start_is_bounded": {"": sessions(), "`session_kwargs`": sessions(**bound_of(10))},
    },
)
