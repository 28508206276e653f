"""Jackfield: a session's own calls, and the same through the adapters of three frameworks."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from subject import Answer, Server, Subject, Way

from jackfield import Catalog, HttpConfig, MCPClientSessionManager, MCPConfig, Session, StdioConfig


def configured(server: Server, protocol: Any) -> StdioConfig | HttpConfig:
    if server.url:
        return HttpConfig(server_name=server.name, url=server.url, protocol=protocol)
    return StdioConfig(
        server_name=server.name,
        command=server.command,
        args=server.args,
        environment=server.environment,
        protocol=protocol,
    )


def manager_of(servers: Sequence[Server], protocol: str = "handshake") -> MCPClientSessionManager:
    config = MCPConfig(servers=[configured(server, protocol) for server in servers])
    # What earlier runs learned is not to help this one.
    catalog = Catalog(tempfile.mkdtemp(prefix="jackfield-bench-"))
    return MCPClientSessionManager(config, max_sessions=1000, catalog=catalog)


class SessionSubject:
    def __init__(self, sessions: Sequence[Session]) -> None:
        self.sessions = sessions

    async def tools(self) -> list[str]:
        listed = await asyncio.gather(*(session.list_tools() for session in self.sessions))
        return [tool.name for one in listed for tool in one.tools]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        raise NotImplementedError

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        return Answer((await self.sessions[0].call_tool(tool, arguments)).text)


def way(protocol: str) -> Way:
    @asynccontextmanager
    async def used(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with manager_of(servers, protocol) as manager, manager.open_sessions() as opened:
            assert not opened.errors, opened.errors
            yield SessionSubject(list(opened.values()))

    return used


@asynccontextmanager
async def crowd(server: Server, count: int) -> AsyncGenerator[list[Subject]]:
    """So many users of one server, each with a session that is theirs."""
    async with manager_of([server]) as manager, AsyncExitStack() as stack:
        leases = [manager.open_session(server.name, key=f"user-{number}") for number in range(count)]
        sessions = await asyncio.gather(*(stack.enter_async_context(lease) for lease in leases))
        yield [SessionSubject([session]) for session in sessions]


@asynccontextmanager
async def routed(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    """With the router, which opens a server when a tool of it is called; what they offer is in the catalog."""
    async with manager_of(servers) as manager:
        for config in manager.config:
            manager.catalog.inside.record(
                config, [{"name": "work", "inputSchema": {"type": "object"}}], open_seconds=0.1
            )
        yield RoutedSubject(manager)


class RoutedSubject(SessionSubject):
    def __init__(self, manager: MCPClientSessionManager) -> None:
        self.manager = manager
        self.router = manager.router(mode="search")

    async def tools(self) -> list[str]:
        return self.router.toolkit().names

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        name = f"{self.manager.config.names[-1]}.{tool}"
        return Answer((await self.router.toolkit().call("call_tool", {"tool": name, "arguments": arguments})).text)


# Through the frameworks that a peer here is made for.


class FrameworkSubject:
    """Tools as a framework is given them."""

    def __init__(self, call: Callable[[str, Mapping[str, Any]], Any], names: list[str]) -> None:
        self._call = call
        self.names = names

    async def tools(self) -> list[str]:
        return self.names

    async def schema(self, tool: str) -> Mapping[str, Any]:
        raise NotImplementedError

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        return Answer(await self._call(tool, arguments or {}))


@asynccontextmanager
async def langchain(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    async with manager_of(servers) as manager:
        toolkit = await manager.toolkit()
        given = {tool.name: tool for tool in toolkit.langchain()}

        async def call(name: str, arguments: Mapping[str, Any]) -> str:
            message = await given[name].ainvoke({"type": "tool_call", "id": "1", "name": name, "args": dict(arguments)})
            return message.text if isinstance(message.text, str) else message.text()

        yield FrameworkSubject(call, list(given))


@asynccontextmanager
async def autogen(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    async with manager_of(servers) as manager:
        workbench = manager.workbench()

        async def call(name: str, arguments: Mapping[str, Any]) -> str:
            return (await workbench.call_tool(name, arguments)).to_text()

        yield FrameworkSubject(call, [tool["name"] for tool in await workbench.list_tools()])


@asynccontextmanager
async def ag2(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    import ag2
    from ag2.context import ConversationContext
    from ag2.events import ToolCallEvent

    async with manager_of(servers) as manager:
        toolkit = await manager.toolkit()
        given: dict[str, Any] = {tool.name: tool for tool in toolkit.ag2().tools}
        context = ConversationContext(ag2.MemoryStream())

        async def call(name: str, arguments: Mapping[str, Any]) -> str:
            event = await given[name](ToolCallEvent(name, arguments=json.dumps(dict(arguments))), context)
            return "".join(str(getattr(part, "content", part)) for part in event.result.parts)

        yield FrameworkSubject(call, list(given))


handshake, newest = way("handshake"), way("auto")
