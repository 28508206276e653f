"""A server without the SDK, so that what is measured is what a client costs: standard library only, handshake era.

python benchmarks/bare_server.py TOOLS [PORT]   (over stdio; given a port, over HTTP)
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any

ECHO = {
    "name": "echo",
    "description": "Say it again.",
    "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
}


def tool(number: int) -> dict[str, Any]:
    """One of many."""
    properties = {"text": {"type": "string", "description": "What to work on."}, "count": {"type": "integer"}}
    schema = {"type": "object", "properties": properties, "required": ["text"]}
    return {"name": f"work_{number}", "description": f"Does work number {number}.", "inputSchema": schema}


class Bare:
    """What the server answers to each message."""

    def __init__(self, tools: int) -> None:
        self.tools = [ECHO, *map(tool, range(tools - 1))]

    def answer(self, text: bytes) -> bytes | None:
        """The answer to a message; `None` where it wants none."""
        message = json.loads(text)
        if "id" not in message:
            return None
        return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": self.result(message)}).encode()

    def result(self, message: dict[str, Any]) -> dict[str, Any]:
        """The result of a request."""
        match message["method"]:
            case "initialize":
                about = {"protocolVersion": "2025-11-25", "serverInfo": {"name": "bare", "version": "1"}}
                return {**about, "capabilities": {"tools": {}}}
            case "tools/list":
                return {"tools": self.tools}
            case "tools/call":
                return {"content": [{"type": "text", "text": message["params"]["arguments"]["text"]}]}
            case _:
                return {}


def serve_stdio(bare: Bare) -> None:
    """Answer each line with a line."""
    for line in sys.stdin.buffer:
        answer = bare.answer(line)
        while answer:
            answer = answer if answer.endswith(b"\n") else answer + b"\n"
            answer = answer[os.write(1, answer) :]


async def serve_http(bare: Bare, port: int) -> None:
    """Answer each POST, on connections that stay open; there is no stream to be had by GET."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                _, _, rest = head.partition(b"content-length:")
                body = await reader.readexactly(int(rest.split(b"\r\n", 1)[0] or 0)) if rest else b""
                answer = bare.answer(body) if head.startswith(b"post") else None
                status = b"200 OK" if answer else b"202 Accepted" if head.startswith(b"post") else b"405 Not Allowed"
                lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(answer or b"")]
                lines += [b"Content-Type: application/json"] if answer else []
                writer.write(b"\r\n".join([*lines, b"", answer or b""]))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with await asyncio.start_server(connected, "127.0.0.1", port) as server:
        await server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        asyncio.run(serve_http(Bare(int(sys.argv[1])), int(sys.argv[2])))
    else:
        serve_stdio(Bare(int(sys.argv[1])))
