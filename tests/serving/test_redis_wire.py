"""The replies of a Redis, as one connection reads them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio
import pytest
from redis.asyncio.connection import Connection
from tests.serving.redis_server import RedisServer

from jackfield.serving.redis_wire import RedisWire, RefusedError, text_of

REPLIES = b"*3\r\n$4\r\n\r\n\r\n\r\n:-12\r\n*2\r\n$-1\r\n*-1\r\n+OK\r\n$0\r\n\r\n*0\r\n-WRONGTYPE no list\r\n"
READ = [["\r\n\r\n", -12, [None, None]], "OK", "", []]


@asynccontextmanager
async def connected(port: int, **options: Any) -> AsyncGenerator[RedisWire]:
    connection = Connection(host="127.0.0.1", port=port, protocol=2, **options)
    await connection.connect()
    try:
        yield RedisWire(connection)
    finally:
        await connection.disconnect(nowait=True)


@asynccontextmanager
async def answering(pieces: Sequence[bytes]) -> AsyncGenerator[RedisWire]:
    """A server that answers the first command with these pieces, and ends the connection then."""
    has_answered = anyio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readline()) not in (b"PING\r\n", b""):
            if line == b"SETINFO\r\n":  # redis-py says who it is
                writer.write(b"+OK\r\n")
        with suppress(ConnectionError):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
                # A packet of its own.
                await asyncio.sleep(0.001)
        writer.close()
        has_answered.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        async with connected(server.sockets[0].getsockname()[1]) as wire:
            yield wire
        with anyio.fail_after(20):
            await has_answered.wait()


async def ask(wire: RedisWire, times: int = 1) -> Sequence[object]:
    with anyio.fail_after(20):
        return await wire.ask([[b"PING"]] * times)


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(REPLIES)])
async def test_replies_in_any_pieces(size: int) -> None:
    async with answering([REPLIES[at : at + size] for at in range(0, len(REPLIES), size)]) as wire:
        *read, refused = await ask(wire, 5)
        assert read == READ
        assert isinstance(refused, RefusedError)
        assert str(refused) == "WRONGTYPE no list"
        assert refused.has_code("OOM", "WRONGTYPE")


@pytest.mark.parametrize(
    ("stored", "text"),
    [
        (b"\xc3\xa9\xf0\x9f\x98\x80\x00", "\u00e9\U0001f600\x00"),
        (b"half \xed\xa0\xbd", "half \ud83d"),
        (b"\xff bin\xc3", "\ufffd bin\ufffd"),
        (b"\xed\xa0\xbd \xff", "\ud83d \ufffd"),
    ],
)
async def test_text_of_a_reply(stored: bytes, text: str) -> None:
    async with answering([b"$%d\r\n%b\r\n+OK\r\n" % (len(stored), stored)]) as wire:
        assert await ask(wire, 2) == [text, "OK"]
    assert text_of(stored) == text_of(bytearray(stored)) == text


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        (b"", "closed the connection"),
        (b"$100\r\nhalf", "closed the connection"),
        (b"HTTP/1.1 400 Bad Request\r\n", "does not answer like Redis"),
        (b"$many\r\n", "does not answer like Redis"),
        (b"*many\r\n", "does not answer like Redis"),
        (b":many\r\n", "does not answer like Redis"),
        (b"$-2\r\n", "does not answer like Redis"),
        (b"+OK\r\n+and more\r\n", "and more"),
    ],
)
async def test_what_is_no_answer(sent: bytes, error: str) -> None:
    async with answering([sent] if sent else []) as wire:
        with pytest.raises(ConnectionError, match=error):
            await ask(wire)
        assert wire.is_closed
        with pytest.raises(ConnectionError, match="was closed"):
            await ask(wire)


async def test_what_a_redis_answers(redis_server: RedisServer) -> None:
    async with connected(redis_server.port) as wire:
        script = b"return {1, false, 'x', {'\\r\\n', {}}, redis.status_reply('fine'), string.rep('\\r\\n', 1000000)}"
        commands = [[b"EVAL", script, b"0"], [b"NONSENSE"], [b"ECHO", "\u00e9\u2028".encode()]]
        whole, refused, echoed = await wire.ask(commands)
        assert whole == [1, None, "x", ["\r\n", []], "fine", "\r\n" * 1_000_000]
        assert isinstance(refused, RefusedError)
        assert echoed == "\u00e9\u2028"


async def test_what_redis_py_said_first_is_settled(redis_server: RedisServer) -> None:
    async with connected(redis_server.port, db=3, client_name="first") as wire:
        await wire.ask([[b"SET", b"of-database-3", b"here"]])
        assert await wire.ask([[b"CLIENT", b"GETNAME"], [b"GETDEL", b"of-database-3"]]) == ["first", "here"]
