"""`RedisWire`: what is said on one connection to a Redis. A batch of commands goes out at once; its replies come back.

redis-py opens the connection: address, TLS, user and database are its business. Then its transport is read here, with
hiredis: redis-py runs several coroutines for each reply, which costs more than hiredis needs to read it.
"""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, cast

import hiredis
from redis.asyncio.connection import AbstractConnection, ConnectionPool
from redis.exceptions import RedisError

from .redis_channels import RedisChannels

Command = Sequence[bytes]

# The types of hiredis say one argument, and nothing of what comes back.
_pack = cast("Callable[[tuple[bytes, ...]], bytes]", cast("Any", hiredis).pack_command)

_INCOMPLETE = object()
"""Stands for a reply of which more is to come."""

_AS_MUCH_AS_THERE_IS = "jackfield.as-much-as-there-is"


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
        self._reader = hiredis.Reader(
            replyError=RefusedError, notEnoughData=_INCOMPLETE, encoding="utf-8", errors=_AS_MUCH_AS_THERE_IS
        )
        self._received: list[object] = []
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
        if self._replies is None:
            self._fail(_unasked(text_of(data)))
            return
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                self._received.append(reply)
        except hiredis.ProtocolError:
            self._fail(ConnectionError("it does not answer like Redis"))
            return
        if len(self._received) < self._expected or self._reader.has_data():
            return
        replies, self._received = self._received, []
        if len(replies) > self._expected:
            self._fail(_unasked(replies[-1]))
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


def _packed(commands: Sequence[Command]) -> bytes:
    return b"".join([_pack(tuple(command)) for command in commands])


def _unasked(said: object) -> ConnectionError:
    return ConnectionError(f"it sent an unexpected message: {said!s:.100}")


def text_of(value: bytes | bytearray) -> str:
    """What was stored as text, with halves of surrogate pairs; of anything else, as much of it as there is."""
    return value.decode("utf-8", _AS_MUCH_AS_THERE_IS)


def _as_much_as_there_is(error: UnicodeError) -> tuple[str | bytes, int]:
    try:
        return codecs.lookup_error("surrogatepass")(error)
    except UnicodeDecodeError:
        return codecs.replace_errors(error)


# hiredis takes the name of a handler, not the handler.
codecs.register_error(_AS_MUCH_AS_THERE_IS, _as_much_as_there_is)
