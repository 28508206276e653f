"""An MCP server over HTTP in the test's own loop that writes any bytes at all where a test asks for it."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Self

from jackfield import HttpConfig, SessionConfig, SseConfig

JSON = "application/json"
EVENTS = "text/event-stream"
_TOOLS = [{"name": name, "inputSchema": {"type": "object"}} for name in ("work", "odd", "slow")]
_ABOUT = {"serverInfo": {"name": "raw", "version": "1"}, "capabilities": {"tools": {}}}

Odd = Callable[["RawServer", dict[str, Any], asyncio.StreamWriter], Awaitable["bool | None"]]


def head(status: int = 200, kind: str = JSON, *lines: bytes) -> bytes:
    """The beginning of an answer, up to and without the blank line."""
    return b"\r\n".join([f"HTTP/1.1 {status} X\r\nContent-Type: {kind}".encode(), *lines])


def whole(body: bytes = b"", status: int = 200, kind: str = JSON, *lines: bytes) -> bytes:
    """An answer with the right length."""
    return head(status, kind, b"Content-Length: %d" % len(body), *lines) + b"\r\n\r\n" + body


def result(message: Mapping[str, Any], value: object) -> bytes:
    """A JSON-RPC result for a request."""
    return json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": value}).encode()


def text(message: Mapping[str, Any], words: str) -> bytes:
    """The result of a tool."""
    return result(message, {"content": [{"type": "text", "text": words}], "resultType": "complete"})


class RawServer:
    """Listens while it is entered.

    Args:
        odd: Sees each message before it is answered, and may write to the connection itself: then it returns True, or
            False to have the connection closed.
        in_each: Header lines that stand in each answer.
        era: The version it speaks.
        sse: Whether answers go over the stream of the older transport.
    """

    def __init__(
        self, odd: Odd | None = None, *, in_each: bytes = b"", era: str = "2025-11-25", sse: bool = False
    ) -> None:
        self._odd = odd
        self._in_each = in_each
        self._era = era
        self._sse = sse
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stream: asyncio.StreamWriter | None = None
        self.endpoint = "/messages?session_id=1"
        self.seen: list[str] = []
        """The methods of all messages."""
        self.headers: dict[str, bytes] = {}
        """Of the last request."""
        self.target = b""
        """Of the last request: path and query."""
        self.connections = 0
        self.changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def config(self, **session: Any) -> HttpConfig | SseConfig:
        """To connect to it."""
        settings = SessionConfig(**{"call_timeout": 20, "retry_attempts": 0, "timeout": 10, **session})
        if self._sse:
            return SseConfig(server_name="raw", url=f"{self.url}/sse", session=settings)
        protocol = "handshake" if self._era < "2026" else self._era
        return HttpConfig(server_name="raw", url=f"{self.url}/mcp", protocol=protocol, session=settings)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is so, looking whenever a message came or a connection ended."""
        async with asyncio.timeout(10):
            while not condition():
                self.changed.clear()
                await self.changed.wait()

    def later(self, moment: Awaitable[object], event: bytes) -> None:
        """Write to the stream when something has happened."""

        async def write() -> None:
            await moment
            assert self.stream is not None
            self.stream.write(event)

        self._tasks.add(asyncio.ensure_future(write()))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._one(reader, writer):
                    await writer.drain()
        finally:
            self.connections -= 1
            self.changed.set()
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).rstrip().split(b"\r\n")
        method, self.target, _ = first.split(b" ", 2)
        pairs = (line.partition(b":") for line in lines)
        self.headers = {name.decode().lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(self.headers.get("content-length", 0)))
        message: dict[str, Any] = json.loads(body) if body else {"method": method.decode()}
        self.seen.append(message.get("method", "answer"))
        self.changed.set()
        if self._odd is not None and (done := await self._odd(self, message, writer)) is not None:
            return done
        if method == b"GET" and self._sse:
            self.stream = writer
            writer.write(head(200, EVENTS) + self._in_each + b"\r\n\r\n")
            writer.write(f"event: endpoint\ndata: {self.endpoint}\n\n".encode())
        elif method != b"POST":
            writer.write(self._whole(b"", 405 if method == b"GET" else 200))
        elif "id" not in message or "method" not in message:
            writer.write(self._whole(b"", 202))
        elif self._sse:
            writer.write(self._whole(b"Accepted", 202, "text/plain"))
            assert self.stream is not None
            self.stream.write(b"data: " + self._usual(message) + b"\n\n")
        else:
            writer.write(self._whole(self._usual(message)))
        return True

    def _whole(self, body: bytes, status: int = 200, kind: str = JSON) -> bytes:
        return whole(body, status, kind, *([self._in_each.removeprefix(b"\r\n")] if self._in_each else []))

    def _usual(self, message: dict[str, Any]) -> bytes:
        cached = {"ttlMs": 0, "cacheScope": "private", "resultType": "complete"}
        match message["method"]:
            case "initialize":
                return result(message, {"protocolVersion": self._era, **_ABOUT})
            case "server/discover":
                return result(message, {"supportedVersions": [self._era], **_ABOUT, **cached})
            case "tools/list":
                return result(message, {"tools": _TOOLS, **cached})
            case "tools/call":
                return text(message, "done")
            case _:
                return json.dumps(
                    {"jsonrpc": "2.0", "id": message["id"], "error": {"code": -32601, "message": "no"}}
                ).encode()


def at_tool(name: str, write: Callable[[dict[str, Any]], bytes], *, closes: bool = False) -> Odd:
    """Answers the calls of one tool with bytes of the test's; `slow` is held until the other one was called."""
    called = asyncio.Event()

    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        tool = message.get("params", {}).get("name") if message.get("method") == "tools/call" else None
        if tool == name:
            writer.write(write(message))
            called.set()
            return not closes
        if tool == "slow" and server.stream is not None:
            writer.write(whole(b"", 202))
            server.later(called.wait(), b"data: " + text(message, "done") + b"\n\n")
            return True
        if tool == "slow":
            await called.wait()
        return None

    return odd
