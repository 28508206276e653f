"""The server that these examples serve: a shop whose basket lives in the session."""

from __future__ import annotations

from mcp.server.mcpserver import Context, MCPServer
from pydantic import BaseModel

from jackfield.serving import state


class Confirmation(BaseModel):
    """What the user is asked before the order is placed."""

    place_order: bool


def shop() -> MCPServer:
    """A new server. It keeps nothing itself, so that every instance can answer for every session."""
    server = MCPServer("shop", log_level="WARNING")

    @server.tool()
    async def add(ctx: Context, item: str) -> list[str]:
        """Put an item into the basket; returns the basket."""
        basket = [*await _basket(ctx), item]
        await state(ctx).set("basket", basket)
        return basket

    @server.tool()
    async def checkout(ctx: Context) -> str:
        """Ask the user, and place the order."""
        basket = await _basket(ctx)
        answer = await ctx.elicit(f"Order {', '.join(basket) or 'nothing'}?", Confirmation)
        if answer.action != "accept" or not answer.data.place_order:
            return "Nothing was ordered."
        await state(ctx).delete("basket")
        return f"Ordered: {', '.join(basket)}."

    return server


async def _basket(ctx: Context) -> list[str]:
    return await state(ctx).get("basket", [])  # type: ignore[return-value]
