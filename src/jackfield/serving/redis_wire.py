"""`RedisWire`: what is said on one connection to a Redis. A batch of commands goes out at once; its replies come back.

redis-py opens the connection: address, TLS, user and database are its business. Then its transport is read here, since
redis-py reads a reply line by line, each with a coroutine of its own, which costs more than all else that an operation
does.

Source: the Redis serialization protocol, version 2.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, cast

from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError

from .redis_channels import RedisChannels

Command = Sequence[bytes]


class RefusedError(Exception):
    """Redis answered a command with an error; its text begins with a code such as `WRONGTYPE`."""

    def has_code(self, *codes: str) -> bool:
        """Whether its code is one of these."""
        return str(self).partition(" ")[0] in codes


class RedisWire(asyncio.Protocol):
    """One connection, from now on.

    Args:
        connection: Is open, and has no replies on their way. It is closed by its owner.
    """

    def __init__(self, connection: AbstractConnection) -> None:
        # redis-py shows it to nobody; a connection by other means would need all that it knows of URLs.
        writer = cast("asyncio.StreamWriter", cast("Any", connection)._writer)
        self._transport = cast("asyncio.Transport", writer.transport)
        self._of_redis_py = self._transport.get_protocol()
        self._transport.set_protocol(self)
        self._received = bytearray()
        self._replies: asyncio.Future[list[object]] | None = None
        self._expected = 0
        self.is_closed: bool = self._transport.is_closing()

    async def ask(self, commands: Sequence[Command]) -> list[object]:
        """The replies to commands; that of one that Redis refused is a `RefusedError`. One batch at a time.

        Raises:
            ConnectionError: The connection ended; nobody knows which commands took effect.
        """
        if self.is_closed:
            raise ConnectionError("the connection was closed")
        self._expected = len(commands)
        self._replies = asyncio.get_running_loop().create_future()
        self._transport.write(_packed(commands))
        return await self._replies

    def data_received(self, data: bytes) -> None:
        """Take what Redis sent, in whatever pieces."""
        self._received += data
        # Each reply ends like this: so a large one is not looked at with every piece of it.
        if not self._received.endswith(b"\r\n"):
            return
        replies: list[object] = []
        position = 0
        try:
            while position < len(self._received):
                reply, position = _reply(self._received, position)
                replies.append(reply)
        except _IncompleteError:
            return
        except ValueError:
            self._fail(ConnectionError("it does not answer as a Redis does"))
            return
        if len(replies) < self._expected:
            return
        self._received.clear()
        if self._replies is None or len(replies) > self._expected:
            self._fail(ConnectionError(f"it said what it was not asked for: {replies[-1]!s:.100}"))
        elif not self._replies.done():
            self._replies.set_result(replies)
        self._replies = None

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        self._fail(exc or ConnectionError("it closed the connection"))
        # It is waited for by who closes the connection.
        self._of_redis_py.connection_lost(exc)

    def _fail(self, error: Exception) -> None:
        self.is_closed = True
        self._transport.abort()
        if self._replies is not None and not self._replies.done():
            self._replies.set_exception(error)


class RedisLine:
    """The connection of one task, opened when it is needed.

    Args:
        pool: Makes connections.
        channels: Lose their connection when an instance of Redis goes.
    """

    def __init__(self, pool: ConnectionPool, channels: RedisChannels) -> None:
        self._pool: Any = pool
        self._channels = channels
        self._connection: AbstractConnection | None = None
        self._wire: RedisWire | None = None
        self._used_at = 0.0

    async def wire(self) -> RedisWire:
        """One that is open, and has no answers of before."""
        # After another was lost, this one may lead nowhere, too.
        if self._wire is None or self._wire.is_closed or self._used_at <= self._channels.lost_at:
            await self.cut()
            self._connection = cast("AbstractConnection", self._pool.make_connection())
            await self._connection.connect()
            self._wire = RedisWire(self._connection)
        self._used_at = time.monotonic()
        return self._wire

    async def cut(self) -> None:
        """Close it."""
        connection, self._connection, self._wire = self._connection, None, None
        if connection is not None:
            with suppress(RedisError, OSError):
                await connection.disconnect(nowait=True)


class _IncompleteError(Exception):
    """More is to come."""


def _packed(commands: Sequence[Command]) -> bytes:
    parts: list[bytes] = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for argument in command:
            parts += (b"$%d\r\n" % len(argument), argument, b"\r\n")
    return b"".join(parts)


def _reply(received: bytearray, start: int) -> tuple[object, int]:
    """The reply that begins there, and where it ends."""
    end = received.find(b"\r\n", start)
    if end < 0:
        raise _IncompleteError
    line, position = received[start + 1 : end], end + 2
    match chr(received[start]):
        case "$":
            if (size := int(line)) < 0:
                return None, position
            end = position + size
            if len(received) < end + 2:
                raise _IncompleteError
            return text_of(received[position:end]), end + 2
        case "*":
            if (count := int(line)) < 0:
                return None, position
            items: list[object] = []
            for _ in range(count):
                item, position = _reply(received, position)
                items.append(item)
            return items, position
        case ":":
            return int(line), position
        case "+":
            return text_of(line), position
        case "-":
            return RefusedError(text_of(line)), position
        case _:
            raise ValueError("not a reply")


def text_of(value: bytes | bytearray) -> str:
    """What was stored as text; of anything else, as much of it as there is."""
    try:
        return value.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace")
