"""fastmcp's client as its documentation begins, but for what makes it comparable: the protocol is chosen, and a
server's process ends with the block."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

from drivers.fastmcp_client import FastMCPSubject, config_of
from fastmcp import Client
from subject import Server, Subject, Way


def client_of(servers: Sequence[Server], mode: Any) -> Client[Any]:
    config = config_of(servers)
    for entry in config["mcpServers"].values():
        if "command" in entry:
            entry["keep_alive"] = False
    return Client(config, mode=mode)


def way(mode: str) -> Way:
    @asynccontextmanager
    async def used(servers: Sequence[Server]) -> AsyncGenerator[Subject]:
        async with client_of(servers, mode) as client:
            yield FastMCPSubject(client)

    return used


@asynccontextmanager
async def crowd(server: Server, count: int) -> AsyncGenerator[list[Subject]]:
    """So many clients of one server."""
    clients = [client_of([server], "legacy") for _ in range(count)]
    async with AsyncExitStack() as stack:
        await asyncio.gather(*(stack.enter_async_context(client) for client in clients))
        yield [FastMCPSubject(client) for client in clients]


handshake, newest = way("legacy"), way("auto")
