"""The server of the comparison. `calls.log` in its folder has a line for each call that reached it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel

FOLDER = Path(__file__).parent
server = MCPServer("todo", log_level="CRITICAL")
items: list[str] = []


class Item(BaseModel):
    title: str
    tags: list[str] = []


async def note(ctx: Any, call_next: Any) -> Any:
    """Note each call, before anything of it is looked at."""
    if ctx.method == "tools/call":
        with (FOLDER / "calls.log").open("a") as log:
            log.write(f"{ctx.params['name']}\n")
    return await call_next(ctx)


server.middleware.append(note)


@server.tool()
def add_item(title: str, count: int = 1) -> str:
    """Add an item to the list."""
    items.extend([title] * count)
    return f"{len(items)} items"


@server.tool()
def add_whole(item: Item) -> str:
    """Add an item with its tags."""
    return f"{item.title} has {len(item.tags)} tags"


@server.tool()
def fail() -> str:
    """Fail."""
    raise ToolError("No paper left.")


@server.tool()
def wait(seconds: float) -> str:
    """Wait for some seconds."""
    time.sleep(seconds)
    return "waited"


@server.resource("todo://all")
def all_items() -> str:
    """All items."""
    return "milk and eggs"


@server.prompt()
def plan(day: str) -> str:
    """Plan a day."""
    return f"Plan my {day}."


if __name__ == "__main__":
    server.run()
