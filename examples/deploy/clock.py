"""A server to begin with: it tells the time, and how often it was asked in this session."""

from datetime import UTC, datetime

from mcp.server.mcpserver import MCPServer
from mcp.types import ToolAnnotations

server = MCPServer("clock", log_level="WARNING")
asked = 0


@server.tool(annotations=ToolAnnotations(read_only_hint=True))
def now() -> str:
    """The time in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@server.tool()
def count() -> int:
    """How often this was asked in this session."""
    global asked
    asked += 1
    return asked


if __name__ == "__main__":
    server.run()
