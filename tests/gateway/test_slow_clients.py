"""A client that takes too long to send a request, or to take an answer, does not keep its connection."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from functools import partial

import anyio
import pytest
from tests.gateway.test_one_write import LARGE, Direct, served

from jackfield.gateway import slow_clients
from jackfield.gateway.http_protocol import HttpConnection
from jackfield.gateway.slow_clients import WaitingClients

HEAD = b"POST / HTTP/1.1\r\nHost: x\r\n"
Ended = Callable[[], None]


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slow_clients, "REQUEST_SECONDS", 0.4)
    monkeypatch.setattr(slow_clients, "STALLED_SECONDS", 0.4)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        (b"", b""),
        (b"", b"\r\n"),
        (HEAD, b""),
        (HEAD, b"X-More: x\r\n"),
        # The application has answered, and did not wait for the rest.
        (HEAD + b"Content-Length: 1000\r\n\r\n", b"x"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n"),
        # The second request of a connection.
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" + HEAD, b"X-More: x\r\n"),
    ],
)
async def test_a_request_that_does_not_come(first: bytes, then: bytes) -> None:
    async with served([]) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            ended = asyncio.create_task(reader.read())
            try:
                while not ended.done():
                    writer.write(then)
                    await anyio.sleep(0.05)
                await ended
            except ConnectionError:
                pass
            writer.close()


@pytest.mark.usefixtures("impatient")
async def test_who_is_quick_enough_stays() -> None:
    """As long as requests come whole, however long the connection lasts."""
    async with served([]) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(5):
                writer.write(HEAD)
                await anyio.sleep(0.1)
                writer.write(b"Content-Length: 1\r\n\r\nx")
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(100)
                await anyio.sleep(0.1)
            writer.close()
            await writer.wait_closed()


class Waiting(Direct):
    """Takes its time."""

    def feed(self, data: bytes) -> None:
        self._http.loop.call_later(1.0, partial(super().feed, data))

    def connected(self, http: HttpConnection) -> Waiting:
        super().connected(http)
        return self


@pytest.mark.usefixtures("impatient")
async def test_what_another_instance_asks_may_take_long() -> None:
    async with served([], Waiting()) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"POST /direct HTTP/1.1\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 299")
            writer.close()
            await writer.wait_closed()


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("reads", [False, True])
async def test_an_answer_that_is_not_taken(reads: bool) -> None:
    async with served([], buffer_bytes=4096) as port:
        with anyio.fail_after(20), socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(client, ("127.0.0.1", port))
            await loop.sock_sendall(client, b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
            taken = 0
            if reads:
                # Slower than is waited for at a time, but not standing still.
                for _ in range(12):
                    await anyio.sleep(0.1)
                    taken += len(await loop.sock_recv(client, 65536))
            else:
                await anyio.sleep(1.5)
            try:
                while chunk := await loop.sock_recv(client, 1 << 20):
                    taken += len(chunk)
                    if reads and taken > len(LARGE):
                        break
            except ConnectionError:
                pass
            assert (taken > len(LARGE)) is reads


async def test_the_oldest_that_sent_nothing_make_room() -> None:
    async with served([], waiting=WaitingClients(3)) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            flood = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
            # It was the first, and has sent nothing yet.
            assert await reader.read() == b""
            writer.close()
            # Who sends a request is answered, whatever others do, and stays.
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for _ in range(2):
                writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(100)
                flood += [await asyncio.open_connection("127.0.0.1", port) for _ in range(4)]
            for _, other in (*flood, (reader, writer)):
                other.close()
