"""A client that costs little: HTTP by hand over one connection, so that what is measured is the server."""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

ACCEPT = "accept: application/json, text/event-stream\r\n"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "load", "version": "1"},
    },
}
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}


class CallError(Exception):
    """The server did not answer as it should; with what it said."""


class RawClient:
    """One session over one connection, which is opened again when the server closes it.

    Args:
        url: The server.
        numbers: Ids of calls, where several connections have one session.
    """

    def __init__(self, url: str, numbers: Iterator[int] | None = None) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self.address = parts.hostname, parts.port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._numbers = numbers or itertools.count(1)
        self.session_id = ""

    async def open(self) -> None:
        """Open a session."""
        status, headers, body = await self.request("POST", INITIALIZE)
        if status != 200:
            raise CallError(f"initialize: {status} {body[:200]!r}")
        # A server may have no sessions.
        self.session_id = headers.get("mcp-session-id", "")
        status, _, body = await self.request("POST", INITIALIZED)
        if status != 202:
            raise CallError(f"initialized: {status} {body[:200]!r}")

    async def call(self, tool: str, arguments: Mapping[str, Any] | None = None) -> bytes:
        """Call a tool."""
        status, _, body = await self.request("POST", _call(next(self._numbers), tool, arguments))
        if status != 200 or b'"result"' not in body:
            raise CallError(f"{tool}: {status} {body[:200]!r}")
        return body

    def encoded_call(self, number: int, tool: str) -> bytes:
        """A call of a tool as it is sent."""
        return self._encoded("POST", _call(number, tool))

    async def listen(self) -> asyncio.StreamReader:
        """Open the standalone stream, on this connection, which is then good for nothing else."""
        status, _, _ = await self.request("GET")
        if status != 200:
            raise CallError(f"GET: {status}")
        assert self._reader is not None
        return self._reader

    async def delete(self) -> None:
        """End the session."""
        status, _, body = await self.request("DELETE")
        if status not in (200, 204):
            raise CallError(f"DELETE: {status} {body[:200]!r}")

    async def close(self) -> None:
        """Close the connection."""
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None

    async def request(self, method: str, message: object = None) -> tuple[int, dict[str, str], bytes]:
        """Send one request; of a GET that is answered by a stream, the body is left to be read."""
        if self._writer is None or self._reader is None or self._reader.at_eof():
            await self.close()
            self._reader, self._writer = await asyncio.open_connection(*self.address)
            self._writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._writer.write(self._encoded(method, message))
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
        status = int(lines[0].split(" ", 2)[1])
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        if method == "GET" and status == 200:
            return status, headers, b""
        answer = await self._body(headers)
        if headers.get("connection") == "close":
            await self.close()
        return status, headers, answer

    def _encoded(self, method: str, message: object) -> bytes:
        body = b"" if message is None else json.dumps(message).encode()
        head = f"{method} /mcp HTTP/1.1\r\nhost: {self.address[0]}:{self.address[1]}\r\n{ACCEPT}"
        head += f"content-type: application/json\r\ncontent-length: {len(body)}\r\n" if body else ""
        if self.session_id:
            head += f"mcp-session-id: {self.session_id}\r\nmcp-protocol-version: 2025-11-25\r\n"
        return f"{head}\r\n".encode() + body

    async def _body(self, headers: Mapping[str, str]) -> bytes:
        assert self._reader is not None
        if "content-length" in headers:
            return await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("transfer-encoding") != "chunked":
            return b""
        parts: list[bytes] = []
        while size := int(await self._reader.readline(), 16):
            parts.append(await self._reader.readexactly(size))
            await self._reader.readexactly(2)
        await self._reader.readexactly(2)
        return b"".join(parts)


def _call(number: int, tool: str, arguments: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
    params = {"name": tool, "arguments": dict(arguments or {})}
    return {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
