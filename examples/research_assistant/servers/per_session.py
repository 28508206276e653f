"""What a server keeps for each of its sessions: made when a session first asks for it, closed when the session ends.

Over stdio the process is the session. Over HTTP the handshake (2025-11-25) makes one; the protocol of 2026-07-28 has
none there.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Generic, Protocol, TypeVar

from mcp.server.connection import Connection
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS


def connection_of(ctx: Context) -> Connection | None:
    """The connection that is the caller's session over HTTP; `None` where the protocol has no sessions."""
    if ctx.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS:
        return None
    # The SDK shows handlers the connection by no public name, and tells of its end by nothing else.
    return ctx.session._connection  # pyright: ignore[reportPrivateUsage]


class Closable(Protocol):
    """What has an end."""

    def aclose(self) -> Awaitable[None]:
        """End it."""
        ...


T = TypeVar("T", bound=Closable)


class PerSession(Generic[T]):
    """One value for each session.

    Args:
        make: Makes it; what takes long is better done at its first use.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._key = f"{type(self).__name__} {id(self)}"
        self._of_process: T | None = None

    def of(self, ctx: Context) -> T:
        """The value of the caller's session.

        Raises:
            ToolError: The caller has no session.
        """
        if ctx.headers is None:
            if self._of_process is None:
                self._of_process = self._make()
            return self._of_process
        connection = connection_of(ctx)
        if connection is None:
            raise ToolError(
                "This server keeps state for a session, and this protocol version has no sessions over HTTP. "
                "Connect with the handshake of 2025-11-25."
            )
        if self._key not in connection.state:
            value = connection.state[self._key] = self._make()
            connection.exit_stack.push_async_callback(value.aclose)
        return connection.state[self._key]

    @asynccontextmanager
    async def lifespan(self, _server: MCPServer) -> AsyncGenerator[None]:
        """For the server's `lifespan`: closes what the process kept over stdio."""
        try:
            yield
        finally:
            if self._of_process is not None:
                await self._of_process.aclose()
