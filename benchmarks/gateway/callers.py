"""Clients that call a tool: by hand, so that what is measured is what they call, and the SDK's."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client

from ..serving.raw import INITIALIZE, INITIALIZED, CallError, RawClient

AT_ONCE = 50
LINE_BYTES = 1 << 24


@dataclass(frozen=True)
class Address:
    """What is called: a command that speaks over stdio, or a URL."""

    command: Sequence[str] = ()
    url: str = ""


class Caller(Protocol):
    """Calls the tool `echo` in one session."""

    async def call(self, tool: str, text: str) -> str:
        """Call it; what it answered."""
        ...


class BareStdio:
    """Writes a line for each call and reads a line for each answer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._last = 0
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def open(self) -> None:
        """Open the session."""
        await self._request("initialize", INITIALIZE["params"])
        self._send(INITIALIZED)

    async def call(self, tool: str, text: str) -> str:
        """Call it; what it answered."""
        result = await self._request("tools/call", {"name": tool, "arguments": {"text": text}})
        return result["content"][0]["text"]

    async def read(self) -> None:
        """Give each answer to who waits for it, until there is none."""
        while line := await self._reader.readline():
            message = json.loads(line)
            if "method" not in message:
                self._waiting.pop(message["id"]).set_result(message)

    async def _request(self, method: str, params: object) -> Any:
        self._last += 1
        waiting = self._waiting[self._last] = asyncio.get_running_loop().create_future()
        self._send({"jsonrpc": "2.0", "id": self._last, "method": method, "params": params})
        answer = await waiting
        if "result" not in answer:
            raise CallError(f"{method}: {answer}")
        return answer["result"]

    def _send(self, message: object) -> None:
        self._writer.write(json.dumps(message).encode() + b"\n")


@asynccontextmanager
async def bare_stdio(address: Address) -> AsyncGenerator[Caller]:
    """Start the command and open a session with it."""
    process = await asyncio.create_subprocess_exec(
        *address.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, limit=LINE_BYTES
    )
    assert process.stdin
    assert process.stdout
    client = BareStdio(process.stdout, process.stdin)
    reading = asyncio.create_task(client.read())
    try:
        await client.open()
        yield client
    finally:
        process.stdin.close()
        await process.wait()
        await reading


class BareHttp:
    """One session, and as many connections as there are calls at once."""

    def __init__(self, first: RawClient, url: str, numbers: Iterator[int]) -> None:
        self._url = url
        self._numbers = numbers
        self._session_id = first.session_id
        self._idle = [first]
        self.connections = [first]

    async def call(self, tool: str, text: str) -> str:
        """Call it; what it answered."""
        client = self._idle.pop() if self._idle else self._connection()
        body = await client.call(tool, {"text": text})
        self._idle.append(client)
        # As plain JSON or as one event.
        return json.loads(body[body.index(b'{"') : body.rindex(b"}") + 1])["result"]["content"][0]["text"]

    def _connection(self) -> RawClient:
        client = RawClient(self._url, self._numbers)
        client.session_id = self._session_id
        self.connections.append(client)
        return client


@asynccontextmanager
async def bare_http(address: Address) -> AsyncGenerator[Caller]:
    """Open a session at the URL."""
    numbers = itertools.count(1)
    first = RawClient(address.url, numbers)
    await first.open()
    client = BareHttp(first, address.url, numbers)
    try:
        yield client
    finally:
        for connection in client.connections:
            await connection.close()


class Sdk:
    """The SDK's client."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def call(self, tool: str, text: str) -> str:
        """Call it; what it answered."""
        result: Any = await self._client.session.call_tool(tool, {"text": text})
        return result.content[0].text


@asynccontextmanager
async def sdk(address: Address) -> AsyncGenerator[Caller]:
    """Open a session with the command or at the URL."""
    if address.url:
        async with Client(address.url, mode="legacy") as client:
            yield Sdk(client)
        return
    command, *arguments = address.command
    parameters = StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
    with open(os.devnull, "w") as nothing:
        async with Client(stdio_client(parameters, nothing), mode="legacy") as client:
            yield Sdk(client)


Opened = Callable[[Address], Any]


def bare(address: Address) -> Any:
    """A session by hand."""
    return bare_http(address) if address.url else bare_stdio(address)


async def at_once(calls: int, call: Callable[[], Awaitable[object]]) -> None:
    """Make so many calls, fifty at a time."""
    left = iter(range(calls))

    async def some() -> None:
        for _ in left:
            await call()

    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
