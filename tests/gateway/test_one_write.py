"""An answer of the gateway leaves in one piece, whole also where its connection is closed after it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from jackfield.gateway.http_protocol import HttpConnection, OneWriteProtocol
from jackfield.gateway.slow_clients import WaitingClients

BODY = b"x" * 100
LARGE = b"y" * 3_000_000


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    body = LARGE if scope["path"] == "/large" else BODY
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    half = len(body) // 2
    await send({"type": "http.response.body", "body": body[:half], "more_body": True})
    await send({"type": "http.response.body", "body": body[half:]})


@contextlib.asynccontextmanager
async def served(
    written: list[bytes],
    direct: Direct | None = None,
    *,
    buffer_bytes: int | None = None,
    waiting: WaitingClients | None = None,
) -> AsyncIterator[int]:
    """Serve by a protocol whose writes to the socket are noted; the system keeps so much of them."""

    class Noted(OneWriteProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            if buffer_bytes is not None:
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, buffer_bytes)
            write = transport.write

            def note(data: Any) -> None:
                written.append(bytes(data))
                write(data)

            transport.write = note  # type: ignore[method-assign]
            super().connection_made(transport)

    config = uvicorn.Config(app, http=Noted, log_level="critical", lifespan="off")
    config.load()
    server = await asyncio.get_running_loop().create_server(
        lambda: Noted(
            config=config,
            server_state=uvicorn.Server(config).server_state,
            app_state={},
            direct=direct,  # type: ignore[call-arg]
            waiting=waiting,
        ),
        "127.0.0.1",
        0,
    )
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize("path", ["/", "/large"])
@pytest.mark.parametrize("connection", ["keep-alive", "close"])
async def test_an_answer_leaves_in_one_write(path: str, connection: str) -> None:
    written: list[bytes] = []
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: {connection}\r\n\r\n".encode()
    body = LARGE if path == "/large" else BODY
    async with served(written) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for count in range(1 if connection == "close" else 3):
                writer.write(request)
                await reader.readuntil(b"\r\n\r\n")
                assert await reader.readexactly(len(body)) == body
                assert len(written) == count + 1
            if connection == "close":
                assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


def test_it_is_one_of_uvicorns() -> None:
    try:
        from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
    except ImportError:
        assert issubclass(OneWriteProtocol, H11Protocol)
    else:
        assert issubclass(OneWriteProtocol, HttpToolsProtocol)


class Direct:
    """Answers what begins in a certain way, and says what else came with it."""

    beginning = b"POST /direct "

    def connected(self, http: HttpConnection) -> Direct:
        self._http = http
        return self

    is_idle = True

    def feed(self, data: bytes) -> None:
        self._http.transport.write(b"HTTP/1.1 299 Direct\r\ncontent-length: 0\r\n\r\n")
        self._http.answered()

    def lost(self) -> None:
        pass


@pytest.mark.parametrize(
    "before",
    [
        # The application has answered, and not read the body.
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n",
        # The rest of it goes on with the head.
        b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: %d",
    ],
    ids=["body", "head"],
)
async def test_a_piece_of_a_request_is_no_request(before: bytes) -> None:
    piece = b"POST /direct HTTP/1.1\r\n\r\n"
    async with served([], Direct()) as port:
        with anyio.fail_after(20):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            # A whole one is taken, also after others.
            for request, status in ((b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 200), (piece, 299), (piece, 299)):
                writer.write(request)
                assert f" {status} ".encode() in await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(len(BODY) if status == 200 else 0)
            answered = b""
            writer.write(before % len(piece))
            if b"Content-Length" in before:
                answered = await reader.readuntil(b"\r\n\r\n") + await reader.readexactly(len(BODY))
            else:
                await anyio.sleep(0.05)  # so that what follows comes apart from it
            writer.write(piece)
            writer.write_eof()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1):
                    answered += await reader.read()
            assert b" 299 " not in answered
            writer.close()
