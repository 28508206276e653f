"""The server of the benchmarks, as one writes it with the SDK: trivial, so that what is measured is the client.

python benchmarks/servers.py [PORT]   (over stdio; given a port, over HTTP)
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer

server = MCPServer("benchmark", log_level="WARNING")


@server.tool(structured_output=False)
def echo(text: str) -> str:
    """Say it again."""
    return text


@server.tool(structured_output=False)
def repeat(size: int) -> str:
    """A text of so many characters."""
    return "x" * size


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run("streamable-http", port=int(sys.argv[1]))
    else:
        server.run("stdio")
