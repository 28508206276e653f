"""`fastmcp`'s `Client`, which is no framework's: its tools are used as they are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from fastmcp import Client
from fastmcp.client.transports import StdioTransport
from fastmcp.exceptions import ToolError
from fastmcp.mcp_config import MCPConfig
from subject import Answer, Driver, Server, Subject, Visit, Way


def config_of(servers: Sequence[Server]) -> dict[str, Any]:
    def entry(server: Server) -> dict[str, Any]:
        if server.url:
            return {"url": server.url}
        return {"command": server.command, "args": server.args, "env": server.environment}

    return {"mcpServers": {server.name: entry(server) for server in servers}}


class FastMCPSubject:
    def __init__(self, client: Any) -> None:
        self.client = client

    async def tools(self) -> list[str]:
        return [tool.name for tool in await self.client.list_tools()]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        return next(one for one in await self.client.list_tools() if one.name == tool).input_schema

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        try:
            result = await self.client.call_tool(tool, dict(arguments or {}))
        except ToolError as error:
            return Answer(str(error), is_error=True)
        text = "\n".join(block.text if block.type == "text" else f"[{block.type}]" for block in result.content)
        return Answer(text, images=sum(block.type == "image" for block in result.content))


class ReopenedSubject(FastMCPSubject):
    """`async with client:` around each call; the kept process stays between them."""

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        async with self.client:
            return await super().call(tool, arguments)


def used(**options: Any) -> Way:
    @asynccontextmanager
    async def way(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with Client(config_of(servers), **options) as client:
            yield FastMCPSubject(client)

    return way


@asynccontextmanager
async def reopened(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    client = Client(config_of(servers))
    yield ReopenedSubject(client)
    await client.close()


@asynccontextmanager
async def without_keep_alive(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    (server,) = servers
    transport = StdioTransport(server.command, server.args, env=server.environment, keep_alive=False)
    async with Client(transport) as client:
        yield FastMCPSubject(client)


@asynccontextmanager
async def one_client(server: Server) -> AsyncGenerator[Visit]:
    client = Client(config_of([server]))

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        async with client.new() as one:
            yield FastMCPSubject(one)

    yield visit
    await client.close()


@asynccontextmanager
async def one_each(server: Server) -> AsyncGenerator[Visit]:
    kept: dict[str, Client[Any]] = {}

    @asynccontextmanager
    async def visit(user: str) -> AsyncGenerator[Subject]:
        async with kept.setdefault(user, Client(config_of([server]))) as one:
            yield FastMCPSubject(one)

    async with AsyncExitStack() as stack:
        yield visit
        for client in kept.values():
            stack.push_async_callback(client.close)


@asynccontextmanager
async def bounded(server: Server, seconds: float) -> AsyncGenerator[Subject]:
    async with Client(config_of([server]), timeout=seconds) as client:
        yield FastMCPSubject(client)


def printed(server: Server) -> dict[str, str]:
    config = MCPConfig.from_dict(config_of([server]))
    client = Client(config)
    return {
        "`Client`": repr(client),
        "its transport": repr(client.transport),
        "`MCPConfig`": repr(config),
        "its dump": config.model_dump_json(),
    }


def printed_transport(server: Server) -> dict[str, str]:
    client = Client(StdioTransport(server.command, server.args, env=server.environment))
    return {"`Client`": repr(client), "`StdioTransport`": repr(client.transport)}


KEPT = {"": used(), "`keep_alive=False`": without_keep_alive}
AGAIN = {"": used(), "a new `async with client`": reopened}
DRIVER = Driver(
    distribution="fastmcp",
    ways={"": used()},
    visits={"": one_client, "one client per user": one_each},
    bounded={"`timeout`": bounded},
    printed={"": printed, "a `StdioTransport` instead of a configuration": printed_transport},
    special={
        "child_ends_with_the_block": KEPT,
        "helper_ends_with_the_block": KEPT,
        "left_in_another_task": KEPT,
        "start_is_bounded": {"": used(), "`init_timeout=10`": used(init_timeout=10)},
        "goes_on_after_a_crash": AGAIN,
        "goes_on_after_a_restart": AGAIN,
    },
)
