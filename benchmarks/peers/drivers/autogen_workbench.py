"""`autogen-ext`'s `McpWorkbench`, as AgentChat's `AssistantAgent` uses it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from autogen_core import CancellationToken
from autogen_core.tools import ImageResultContent
from autogen_ext.tools.mcp import McpWorkbench, StdioServerParams, StreamableHttpServerParams
from subject import Answer, Driver, Server, Subject, Visit


def parameters(server: Server, **more: Any) -> StdioServerParams | StreamableHttpServerParams:
    if server.url:
        return StreamableHttpServerParams(url=server.url)
    return StdioServerParams(command=server.command, args=server.args, env=server.environment, **more)


class AutoGenSubject:
    def __init__(self, workbenches: list[McpWorkbench]) -> None:
        self.workbenches = workbenches

    async def tools(self) -> list[str]:
        return [tool["name"] for workbench in self.workbenches for tool in await workbench.list_tools()]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        listed = [one for workbench in self.workbenches for one in await workbench.list_tools()]
        return next(one for one in listed if one["name"] == tool)["parameters"]

    def cancellable(self, tool: str, arguments: Mapping[str, Any]) -> tuple[Awaitable[Any], Callable[[], None]]:
        """By the token that AgentChat's agents and teams hand down."""
        token = CancellationToken()
        return asyncio.ensure_future(self.workbenches[0].call_tool(tool, arguments, token)), token.cancel

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        workbench = self.workbenches[0]
        if len(self.workbenches) > 1:  # AgentChat takes the first workbench that has a tool of this name
            for workbench in self.workbenches:
                if tool in [one["name"] for one in await workbench.list_tools()]:
                    break
        result = await workbench.call_tool(tool, arguments, CancellationToken())
        images = sum(isinstance(part, ImageResultContent) for part in result.result)
        return Answer(result.to_text(), images=images, is_error=result.is_error)


def workbenches(**more: Any) -> Callable[[Sequence[Server]], Any]:
    @asynccontextmanager
    async def way(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with AsyncExitStack() as stack:
            opened = [McpWorkbench(parameters(server, **more)) for server in servers]
            for workbench in opened:
                await stack.enter_async_context(workbench)
            yield AutoGenSubject(opened)

    return way


@asynccontextmanager
async def one_workbench(server: Server) -> AsyncGenerator[Visit]:
    async with McpWorkbench(parameters(server)) as workbench:

        @asynccontextmanager
        async def visit(user: str) -> AsyncGenerator[Subject]:
            yield AutoGenSubject([workbench])

        yield visit


@asynccontextmanager
async def one_each(server: Server) -> AsyncGenerator[Visit]:
    async with AsyncExitStack() as stack:
        kept: dict[str, McpWorkbench] = {}

        @asynccontextmanager
        async def visit(user: str) -> AsyncGenerator[Subject]:
            if user not in kept:
                kept[user] = await stack.enter_async_context(McpWorkbench(parameters(server)))
            yield AutoGenSubject([kept[user]])

        yield visit


def bounded(server: Server, seconds: float) -> Any:
    return workbenches(read_timeout_seconds=seconds)([server])


def printed(server: Server) -> dict[str, str]:
    workbench = McpWorkbench(parameters(server))
    return {
        "`McpWorkbench`": repr(workbench),
        "`StdioServerParams`": repr(parameters(server)),
        "`dump_component()`": workbench.dump_component().model_dump_json(),
    }


DRIVER = Driver(
    distribution="autogen-ext",
    ways={"": workbenches()},
    visits={"": one_workbench, "one workbench per user": one_each},
    bounded={"`read_timeout_seconds`": bounded},
    printed={"": printed},
    special={
        "takes_as_long_as_it_takes": {
            "": workbenches(),
            "`read_timeout_seconds=60`": workbenches(read_timeout_seconds=60),
        }
    },
    lists_at_each_step=True,
)
