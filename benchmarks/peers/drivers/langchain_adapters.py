"""`langchain-mcp-adapters`: the tools of `MultiServerMCPClient.get_tools()`, a session for each call."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool
from langchain_mcp_adapters.client import MultiServerMCPClient
from subject import Answer, Driver, Server, Subject, Visit, Way


def connection(server: Server, **more: Any) -> dict[str, Any]:
    if server.url:
        return {"transport": "http", "url": server.url, **more}
    return {
        "transport": "stdio",
        "command": server.command,
        "args": server.args,
        "env": server.environment,
        **more,
    }


class LangChainSubject:
    def __init__(self, given: list[BaseTool]) -> None:
        self.given = given

    def _tool(self, name: str) -> BaseTool:
        return next(tool for tool in self.given if tool.name == name)

    async def tools(self) -> list[str]:
        return [tool.name for tool in self.given]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        return convert_to_openai_tool(self._tool(tool))["function"]["parameters"]

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        call = {"type": "tool_call", "id": "1", "name": tool, "args": dict(arguments or {})}
        message = await self._tool(tool).ainvoke(call)
        blocks = [{"type": "text", "text": message.content}] if isinstance(message.content, str) else message.content
        return Answer(
            "\n".join(block["text"] if block["type"] == "text" else f"[{block['type']}]" for block in blocks),
            images=sum(block["type"] == "image" for block in blocks),
            is_error=message.status == "error",
        )


def client_of(servers: Sequence[Server], **options: Any) -> MultiServerMCPClient:
    return MultiServerMCPClient({server.name: connection(server) for server in servers}, **options)


def get_tools(**options: Any) -> Way:
    @asynccontextmanager
    async def way(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        yield LangChainSubject(await client_of(servers, **options).get_tools())

    return way


def bound_of(seconds: float) -> dict[str, Any]:
    return {"session_kwargs": {"read_timeout_seconds": timedelta(seconds=seconds)}}


@asynccontextmanager
async def bounded(server: Server, seconds: float) -> AsyncGenerator[Subject]:
    client = MultiServerMCPClient({server.name: connection(server, **bound_of(seconds))})
    yield LangChainSubject(await client.get_tools())


@asynccontextmanager
async def one_client(server: Server) -> AsyncGenerator[Visit]:
    client = client_of([server])

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        yield LangChainSubject(await client.get_tools())

    yield visit


def bounded_start(servers: Sequence[Server]) -> Any:
    return bounded(servers[0], 10)


DRIVER = Driver(
    distribution="langchain-mcp-adapters",
    ways={"": get_tools()},
    visits={"": one_client},
    bounded={"`session_kwargs`": bounded},
    special={
        "names_never_collide": {"": get_tools(), "`tool_name_prefix=True`": get_tools(tool_name_prefix=True)},
        "start_is_bounded": {"": get_tools(), "`session_kwargs`": bounded_start},
    },
)
