"""The official SDK by hand, in either line: what all others are measured against.

Several servers are opened side by side, each in a task of its own, in which it is closed again: what one has to write
where no library does it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from subject import Answer, Server, Subject, Way

try:
    from mcp import Client, StdioServerParameters
except ImportError:  # 1.x
    from mcp import ClientSession, StdioServerParameters, stdio_client
    from mcp.client.streamable_http import streamablehttp_client

    Client = None


def opened(server: Server, mode: str) -> Any:
    """A context manager of a session that is ready."""
    parameters = StdioServerParameters(command=server.command, args=server.args, env=server.environment or None)
    if Client is not None:
        return Client(server.url or parameters, mode=mode)
    return opened_by_1(server.url or parameters)


@asynccontextmanager
async def opened_by_1(target: Any) -> AsyncGenerator[Any]:
    """The same with the SDK 1.x."""
    transport = streamablehttp_client(target) if isinstance(target, str) else stdio_client(target)
    async with transport as (reading, writing, *_), ClientSession(reading, writing) as session:
        await session.initialize()
        yield session


class RawSubject:
    def __init__(self, sessions: list[Any]) -> None:
        self.sessions = sessions

    async def tools(self) -> list[str]:
        listed = await asyncio.gather(*(session.list_tools() for session in self.sessions))
        return [tool.name for one in listed for tool in one.tools]

    async def schema(self, tool: str) -> Mapping[str, Any]:
        raise NotImplementedError

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> Answer:
        result = await self.sessions[0].call_tool(tool, dict(arguments or {}))
        return Answer("\n".join(block.text for block in result.content))


@asynccontextmanager
async def session(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
    """The session within the SDK's client, without what the client does around it."""
    async with opened(servers[0], "legacy") as client:
        yield RawSubject([client.session])


def way(mode: str) -> Way:
    @asynccontextmanager
    async def used(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with AsyncExitStack() as stack:
            if len(servers) == 1:
                sessions = [await stack.enter_async_context(opened(servers[0], mode))]
            else:
                sessions = await stack.enter_async_context(side_by_side([opened(server, mode) for server in servers]))
            yield RawSubject(sessions)

    return used


@asynccontextmanager
async def side_by_side(managers: Sequence[Any]) -> AsyncGenerator[list[Any]]:
    """Enter all, each in a task that leaves it in the end."""
    loop, enough = asyncio.get_running_loop(), asyncio.Event()
    ready: list[asyncio.Future[Any]] = [loop.create_future() for _ in managers]

    async def own(manager: Any, future: asyncio.Future[Any]) -> None:
        async with manager as session:
            future.set_result(session)
            await enough.wait()

    async with asyncio.TaskGroup() as tasks:
        for manager, future in zip(managers, ready, strict=True):
            tasks.create_task(own(manager, future))
        yield list(await asyncio.gather(*ready))
        enough.set()


@asynccontextmanager
async def crowd(server: Server, count: int) -> AsyncGenerator[list[Subject]]:
    """So many sessions with one server."""
    async with side_by_side([opened(server, "legacy") for _ in range(count)]) as sessions:
        yield [RawSubject([session]) for session in sessions]


handshake, newest = way("legacy"), way("auto")
