"""Jackfield itself: `MCPClientSessionManager`'s toolkit, workbench and router."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from subject import Answer, Driver, Server, Subject, Visit

from jackfield import (
    Catalog,
    HttpConfig,
    JackfieldError,
    MCPClientSessionManager,
    MCPConfig,
    SessionConfig,
    StdioConfig,
    Toolkit,
    create_toolkit,
)


def configured(server: Server, **session: Any) -> StdioConfig | HttpConfig:
    if server.url:
        return HttpConfig(server_name=server.name, url=server.url)
    return StdioConfig(
        server_name=server.name,
        command=server.command,
        args=server.args,
        environment=server.environment,
        session=SessionConfig(**session),
    )


CATALOG = Catalog(tempfile.mkdtemp(prefix="jackfield-peers-"))


def manager_of(servers: Sequence[Server], **session: Any) -> MCPClientSessionManager:
    config = MCPConfig(servers=[configured(server, **session) for server in servers])
    return MCPClientSessionManager(config, catalog=CATALOG)


class ToolkitSubject:
    def __init__(self, toolkit: Toolkit) -> None:
        self.toolkit = toolkit

    async def tools(self) -> list[str]:
        return self.toolkit.names

    async def schema(self, tool: str) -> Mapping[str, Any]:
        return self.toolkit[tool].input_schema

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        try:
            result = await self.toolkit.call(tool, arguments)
        except JackfieldError as error:
            return Answer(str(error), is_error=True)
        return Answer(result.text, len(result.images), bool(result.is_error))


class WorkbenchSubject:
    def __init__(self, workbench: Any) -> None:
        self.workbench = workbench

    async def tools(self) -> list[str]:
        return [tool["name"] for tool in await self.workbench.list_tools()]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        return next(one for one in await self.workbench.list_tools() if one["name"] == tool)["parameters"]

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        result = await self.workbench.call_tool(tool, arguments)
        images = sum(hasattr(part.content, "image") for part in result.result)
        return Answer(result.to_text(), images, result.is_error)


@asynccontextmanager
async def toolkit(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    async with manager_of(servers) as manager:
        yield ToolkitSubject(await manager.toolkit())


@asynccontextmanager
async def workbench(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    async with manager_of(servers) as manager:
        yield WorkbenchSubject(manager.workbench())


@asynccontextmanager
async def router(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    async with manager_of(servers) as manager:
        if any(CATALOG.state(config) == "cold" for config in manager.config):
            await manager.refresh_catalog()  # once; what it learns is kept on disk
        yield ToolkitSubject(manager.router(mode="tools").toolkit())


@asynccontextmanager
async def one_manager(server: Server) -> AsyncGenerator[Visit]:
    async with manager_of([server]) as manager:

        @asynccontextmanager
        async def visit(user: str) -> AsyncGenerator[Subject]:
            async with manager.open_session(server.name, key=user) as session:
                yield ToolkitSubject(await create_toolkit(session, use_mcp_resources=False))

        yield visit


@asynccontextmanager
async def bounded(server: Server, seconds: float) -> AsyncGenerator[Subject]:
    async with manager_of([server], call_timeout=seconds) as manager:
        yield ToolkitSubject(await manager.toolkit())


def printed(server: Server) -> dict[str, str]:
    config = MCPConfig(servers=[configured(server)])
    manager = MCPClientSessionManager(config)
    return {
        "`MCPConfig`": repr(config),
        "its dump": config.model_dump_json(),
        "the manager": repr(manager),
        "`dump_component()`": manager.workbench().dump_component().model_dump_json(),
    }


DRIVER = Driver(
    distribution="jackfield",
    ways={"": toolkit},
    visits={"": one_manager},
    bounded={"": bounded},
    printed={"": printed},
    special={
        "starts_only_what_is_called": {"": toolkit, "`manager.router()`": router},
        "one_that_fails_spares_the_others": {"": toolkit, "`manager.workbench()`": workbench},
        "listing_is_free": {"": workbench},
    },
    lists_at_each_step=True,
)
