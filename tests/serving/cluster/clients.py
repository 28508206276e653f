"""Clients of a cluster, the SDK's and Jackfield's, with the same few methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import anyio
from mcp.client.client import Client
from mcp.types import ElicitResult, ToolListChangedNotification

from jackfield import HttpConfig, MCPClientSessionManager, SessionCallbacks, SessionConfig

Kind = Literal["sdk", "jackfield"]
KINDS: tuple[Kind, ...] = ("sdk", "jackfield")
CALL_SECONDS = 60.0


class CallFailedError(Exception):
    """The answer of a call is an error, in its own words."""


@dataclass
class Served:
    """One session of one client."""

    kind: Kind
    call_tool: Callable[[str, Mapping[str, Any]], Awaitable[tuple[bool, str]]]
    asked: anyio.Event = field(default_factory=anyio.Event)
    """Set once the server asks the user."""
    may_answer: anyio.Event = field(default_factory=anyio.Event)
    """Lets the user answer."""
    changes: int = 0
    """How often the server told that its tools have changed."""

    async def call(self, name: str, **arguments: Any) -> str:
        """Call a tool; the text of its answer.

        Raises:
            CallFailedError: The tool failed.
            Exception: The client's own, where there was no answer.
        """
        is_error, text = await self.call_tool(name, arguments)
        if is_error:
            raise CallFailedError(text)
        return text

    async def answer(self, *_: Any) -> ElicitResult:
        """The user."""
        self.asked.set()
        await self.may_answer.wait()
        return ElicitResult(action="accept", content={"name": "Ada"})

    async def heard(self, message: object) -> None:
        """A notification."""
        if isinstance(message, ToolListChangedNotification):
            self.changes += 1

    async def until_heard(self, changes: int, seconds: float) -> bool:
        """Wait until so many changes were told; whether they were in time."""
        with anyio.move_on_after(seconds):
            while self.changes < changes:
                await anyio.sleep(0.01)
        return self.changes >= changes


@asynccontextmanager
async def connected(kind: Kind, url: str) -> AsyncGenerator[Served]:
    """A session of a client, of MCP 2025-11-25."""
    if kind == "sdk":
        async with _sdk(url) as served:
            yield served
    else:
        async with _jackfield(url) as served:
            yield served


@asynccontextmanager
async def _sdk(url: str) -> AsyncGenerator[Served]:
    async def call_tool(name: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        result = await client.call_tool(name, dict(arguments))
        return result.is_error, " ".join(block.text for block in result.content if block.type == "text")

    served = Served("sdk", call_tool)
    client = Client(
        url,
        mode="legacy",
        read_timeout_seconds=CALL_SECONDS,
        elicitation_callback=served.answer,
        message_handler=served.heard,
    )
    async with client:
        # Or it does so after the first call, whose answer is lost to it where that fails.
        await client.list_tools()
        yield served


@asynccontextmanager
async def _jackfield(url: str) -> AsyncGenerator[Served]:
    async def call_tool(name: str, arguments: Mapping[str, Any]) -> tuple[bool, str]:
        result = await session.call_tool(name, dict(arguments))
        return result.is_error, result.text

    served = Served("jackfield", call_tool)
    config = HttpConfig(
        server_name="cluster",
        url=url,
        protocol="handshake",
        session=SessionConfig(call_timeout=CALL_SECONDS),
    )
    callbacks = SessionCallbacks(elicitation=served.answer, notification=served.heard)
    async with MCPClientSessionManager(callbacks=callbacks) as manager:
        async with manager.open_session(config) as session:
            await session.list_tools()
            yield served
