"""Serves a FastMCP in-process, in both eras; run where fastmcp is installed. Prints what happened as JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastmcp import Context, FastMCP  # pyright: ignore[reportMissingImports]

from jackfield import InProcessConfig, MCPClientSessionManager, ServerStartError

lifespans: list[str] = []


@asynccontextmanager
async def lifespan(server: Any) -> AsyncIterator[dict[str, Any]]:
    lifespans.append("enter")
    yield {}
    lifespans.append("leave")


@asynccontextmanager
async def broken(server: Any) -> AsyncIterator[dict[str, Any]]:
    raise LookupError("no database")
    yield {}


server = FastMCP("shop", lifespan=lifespan)


@server.tool
async def order(item: str, ctx: Context) -> str:
    await ctx.report_progress(1, 2)
    return f"ordered {item}"


async def main() -> None:
    seen: list[Any] = []

    async def on_progress(progress: float, total: float | None, message: str | None) -> None:
        seen.append(progress)

    for protocol in ("auto", "handshake"):
        config = InProcessConfig(server_name="shop", server=server, protocol=protocol)
        async with MCPClientSessionManager().open_session(config) as session:
            result = await session.call_tool("order", {"item": "tea"}, progress_callback=on_progress)
            await session.refresh()
            again = await session.call_tool("order", {"item": "milk"})
            seen += [session.protocol_version, result.text, again.text, session.generation]
    try:
        config = InProcessConfig(server_name="broken", server=FastMCP("broken", lifespan=broken))
        async with MCPClientSessionManager().open_session(config):
            seen.append("open")
    except ServerStartError as error:
        seen.append("no database" in error.message)
    print(json.dumps([*seen, lifespans.count("enter"), lifespans.count("leave")]))


asyncio.run(main())
