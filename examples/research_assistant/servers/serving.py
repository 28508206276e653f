"""Runs an MCP server over HTTP on loopback and says on stdout where it listens."""

from __future__ import annotations

import argparse
import contextlib
import signal
import socket

import uvicorn
from mcp.server.mcpserver import MCPServer

# How long an open stream may hold up the end once the server was told to stop.
_SHUTDOWN_SECONDS = 1


def run(server: MCPServer, default_transport: str) -> None:
    """Run `server` as the command line says: `stdio`, `sse` or `streamable-http`, and `--port`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", nargs="?", default=default_transport, choices=["stdio", "sse", "streamable-http"])
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    options = parser.parse_args()
    if options.transport == "stdio":
        # Python would raise in the event loop, which then waits for the thread that reads stdin.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        server.run("stdio")
        return
    app = server.sse_app() if options.transport == "sse" else server.streamable_http_app()
    path = "/sse" if options.transport == "sse" else "/mcp"
    # Named outright: asyncio turns off the delay of small packets only where it knows that it is TCP.
    listener = socket.socket(proto=socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", options.port))
    # Listening before it is announced: whoever reads the line can connect at once.
    listener.listen()
    print(f"LISTENING http://127.0.0.1:{listener.getsockname()[1]}{path}", flush=True)
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=_SHUTDOWN_SECONDS)
    with contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run([listener])
