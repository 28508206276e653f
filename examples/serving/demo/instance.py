"""One instance of the demo's server. Run: python instance.py NAME PORT REDIS_URL LEDGER"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TypedDict

import uvicorn
from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from jackfield.serving import RedisBackend, serve_sessions, state

name, port, redis_url, ledger = sys.argv[1:5]
server = MCPServer("shop", log_level="ERROR")
app = serve_sessions(server, RedisBackend(redis_url), stop_delay=1.0)


class Done(TypedDict):
    """What every tool answers: which instance ran it, and what came of it."""

    instance: str
    outcome: str


class Confirmation(BaseModel):
    """What the user is asked."""

    yes: bool


def run_here(number: int) -> None:
    """Note that this instance runs a call, so that a call that is run twice would be seen."""
    with Path(ledger).open("a") as lines:
        lines.write(f"{number}\n")


@server.tool()
async def add(ctx: Context, number: int) -> Done:
    """Put something into the basket, which is state of the session."""
    run_here(number)
    basket = int(await state(ctx).get("basket", 0)) + 1  # type: ignore[arg-type]
    await state(ctx).set("basket", basket)
    return {"instance": name, "outcome": f"{basket} in the basket"}


@server.tool()
async def confirm(ctx: Context, number: int) -> Done:
    """Ask the user."""
    run_here(number)
    answer = await ctx.elicit(f"{name} asks: go on with call {number}?", Confirmation)
    return {"instance": name, "outcome": f"the user was asked, and said {'yes' if answer.action == 'accept' else 'no'}"}


@server.tool()
async def announce(number: int) -> Done:
    """Send a notification to every session, by whichever instance its client reads."""
    run_here(number)
    await app.notify_all("notifications/message", {"level": "info", "logger": name, "data": number})
    return {"instance": name, "outcome": "a notification was sent"}


@server.tool()
async def brew(ctx: Context, number: int, seconds: float) -> Done:
    """Take a while."""
    run_here(number)
    await ctx.report_progress(0, seconds, name)
    await asyncio.sleep(seconds)
    return {"instance": name, "outcome": "brewed"}


if __name__ == "__main__":
    uvicorn.run(app, port=int(port), log_level="error")
