"""What the SDK asks of a stream of messages beside sending and receiving them."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import anyio
from mcp.shared.message import SessionMessage


class MessageStream:
    """A stream that is closed when its block is left."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """End it."""
        raise NotImplementedError


class MessageWriter(MessageStream):
    """A stream that messages are sent into."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message.

        Raises:
            anyio.ClosedResourceError: Closed here.
            anyio.BrokenResourceError: Nobody reads any more.
        """
        raise NotImplementedError


class MessageReader(MessageStream):
    """A stream that can be iterated over."""

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> SessionMessage | Exception:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: There is none any more.
        """
        raise NotImplementedError


def is_cancellation(item: SessionMessage) -> bool:
    """Whether a message tells that a request is given up. Whoever is out of time must not wait for a hanging server
    to take note of it."""
    return getattr(item.message, "method", None) == "notifications/cancelled"
