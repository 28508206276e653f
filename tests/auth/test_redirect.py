"""The page that the browser comes back to stands whatever else comes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from http import HTTPStatus

import anyio
import pytest

from jackfield.auth.redirect import Page, redirect_listener

SEEN: list[Mapping[str, str]] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def judge(parameters: Mapping[str, str]) -> Page:
    return Page(HTTPStatus.OK, "<Title>", "A & B", lambda: SEEN.append(parameters))


async def exchange(port: int, request: bytes) -> bytes:
    async with await anyio.connect_tcp("127.0.0.1", port) as stream:
        await stream.send(request)
        answer = b""
        with anyio.fail_after(5):
            try:
                while True:
                    answer += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                return answer


def port_of(uri: str) -> int:
    return int(uri.rpartition(":")[2].partition("/")[0])


async def test_a_redirect_is_answered_with_a_page_and_told_once_it_was_shown() -> None:
    async with redirect_listener("http://127.0.0.1/callback", judge) as uri:
        answer = await exchange(port_of(uri), b"GET /callback?code=a%20b&state=c HTTP/1.1\r\nHost: x\r\n\r\n")
    head, _, body = answer.decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 200 OK")
    assert f"Content-Length: {len(body)}" in head
    assert "no-store" in head
    assert "&lt;Title&gt;" in body
    assert "A &amp; B" in body
    assert SEEN == [{"code": "a b", "state": "c"}]


@pytest.mark.parametrize(
    "request_head",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /favicon.ico HTTP/1.1\r\n\r\n",
        b"GET /callback/more?code=a HTTP/1.1\r\n\r\n",
        b"POST /callback?code=a HTTP/1.1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\r\n\r\n",
        b"\r\n\r\n",
    ],
)
async def test_anything_else_is_not_found(request_head: bytes) -> None:
    async with redirect_listener("http://127.0.0.1/callback", judge) as uri:
        assert (await exchange(port_of(uri), request_head)).startswith(b"HTTP/1.1 404")
    assert SEEN == []


async def test_connections_that_say_nothing_or_too_much_hold_nobody_up() -> None:
    async with redirect_listener("http://127.0.0.1/callback", judge) as uri:
        # Browsers open connections ahead that they then do not use.
        async with (
            await anyio.connect_tcp("127.0.0.1", port_of(uri)),
            await anyio.connect_tcp("127.0.0.1", port_of(uri)) as half,
        ):
            await half.send(b"GET /callback?code=a")
            assert await exchange(port_of(uri), b"GET /callback?" + b"x" * 20_000 + b" HTTP/1.1\r\n") == b""
            assert await exchange(port_of(uri), b"GET /callback?code=b HTTP/1.1\r\n\r\n")
        await half.aclose()
    assert SEEN == [{"code": "b"}]


async def test_localhost_and_ipv6_and_fixed_ports() -> None:
    async with redirect_listener("http://localhost/cb", judge) as uri:
        assert uri.startswith("http://localhost:")
        assert await exchange(port_of(uri), b"GET /cb?code=a HTTP/1.1\r\n\r\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OSError):
            async with redirect_listener(f"http://127.0.0.1:{port}/cb", judge):
                pass
    async with redirect_listener(f"http://localhost:{port}", judge) as uri:
        assert uri == f"http://localhost:{port}"
        assert await exchange(port, b"GET /?code=a HTTP/1.1\r\n\r\n")
