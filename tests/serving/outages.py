"""A server that outages of its store interrupt, and a call that reads what comes of it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
from mcp.server.mcpserver import Context, MCPServer
from tests.serving.authorized import Client


def make_server(ran: list[str], may_end: anyio.Event) -> MCPServer[Any]:
    server: MCPServer[Any] = MCPServer("outages", log_level="ERROR")

    @server.tool()
    async def steps(ctx: Context[Any, Any], count: int, seconds: float = 0.05) -> str:
        """Report progress, then wait until it may end."""
        ran.append("steps")
        for number in range(count):
            await ctx.report_progress(number, count)
            await anyio.sleep(seconds)
        await may_end.wait()
        return "done"

    @server.tool()
    async def quick() -> str:
        """Answer at once."""
        ran.append("quick")
        return "quick"

    @server.tool()
    async def change(ctx: Context[Any, Any]) -> str:
        """Tell the client that the tools have changed."""
        await ctx.session.send_tool_list_changed()
        return "told"

    return server


@dataclass
class Stepped:
    """What came of a call of `steps`."""

    progress: list[float] = field(default_factory=list[float])
    answer: dict[str, Any] = field(default_factory=dict[str, Any])

    async def call(self, http: httpx2.AsyncClient, client: Client, url: str, **arguments: float) -> None:
        """Call the tool, which reports progress."""
        params = {"name": "steps", "arguments": arguments, "_meta": {"progressToken": "t"}}
        message = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
        async with http.stream("POST", url, json=message, headers=client.headers()) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                if line.startswith("data:") and line[5:].strip():
                    read = json.loads(line[5:])
                    if read.get("method") == "notifications/progress":
                        self.progress.append(read["params"]["progress"])
                    else:
                        self.answer = read
