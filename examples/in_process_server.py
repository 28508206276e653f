"""A server object of this program, used as any other server: nothing is started, nothing listens.

Run: python examples/in_process_server.py
"""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import MCPServer

from jackfield import InProcessConfig, MCPClientSessionManager, MCPConfig

# Without `log_level` it writes a line for each session.
library = MCPServer("library", instructions="Lends books.", log_level="WARNING")
lent: dict[str, str] = {}


@library.tool()
async def lend(book: str, reader: str) -> str:
    """Lend a book to a reader."""
    if book in lent:
        return f"{book} is lent to {lent[book]}."
    lent[book] = reader
    return f"{reader} has {book} now."


async def main() -> None:
    config = MCPConfig(servers=[InProcessConfig(server_name="library", server=library)])
    async with MCPClientSessionManager(config) as manager:
        for reader in ("Ada", "Grace"):
            async with manager.open_session("library", key=reader) as session:
                print((await session.call_tool("lend", {"book": "Emma", "reader": reader})).text)
        print(manager.stats().opened, "sessions")


if __name__ == "__main__":
    asyncio.run(main())
