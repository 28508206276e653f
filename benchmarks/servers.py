"""The server of the benchmarks: trivial, so that what is measured is the client."""

from __future__ import annotations

from mcp.server.mcpserver import MCPServer

server = MCPServer("benchmark", log_level="WARNING")


@server.tool(structured_output=False)
def echo(text: str) -> str:
    """Say it again."""
    return text


if __name__ == "__main__":
    server.run("stdio")
