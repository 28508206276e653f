"""Pattern 4: no sessions at all. Each request stands for itself, so that any number of instances need no store.

For servers that only answer: nothing can be asked of the client, and nothing is sent to it but answers.

Run: python examples/serving/stateless.py [PORT]
"""

from __future__ import annotations

import sys

import uvicorn
from mcp.server.mcpserver import MCPServer

from jackfield.serving import serve_sessions

server = MCPServer("units", log_level="WARNING")


@server.tool()
def inches(centimetres: float) -> float:
    """Convert centimetres to inches."""
    return centimetres / 2.54


app = serve_sessions(server, stateless=True)

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]) if len(sys.argv) > 1 else 8000)
