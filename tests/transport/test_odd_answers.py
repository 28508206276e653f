"""Whatever a server writes over HTTP costs its own request: the session and the other calls go on."""

from __future__ import annotations

import asyncio
import functools
import gzip
import json
import resource
import zlib
from collections.abc import Callable
from typing import Any

import httpx2
import pytest
from tests.servers.raw_http import EVENTS, RawServer, at_tool, head, text, whole

from jackfield import (
    AuthenticationError,
    Event,
    JackfieldError,
    MCPClientSessionManager,
    ServerUnavailableError,
    Session,
    SessionLost,
)
from jackfield.auth.endpoints import AuthorizationClient

Written = Callable[[dict[str, Any]], bytes]


def event(message: dict[str, Any], words: str = "odd") -> bytes:
    return b"data: " + text(message, words) + b"\n\n"


def chunked(data: bytes, kind: str = EVENTS) -> bytes:
    return head(200, kind, b"Transfer-Encoding: chunked") + b"\r\n\r\n%x\r\n%s\r\n0\r\n\r\n" % (len(data), data)


GZIP = b"Content-Encoding: gzip"
# What a call whose answer is odd comes to: its text, or its error's code.
ODD: dict[str, tuple[Written, str]] = {
    "a header in UTF-8": (lambda m: whole(text(m, "odd"), 200, "application/json", "X-Owner: José".encode()), "odd"),
    "a kind with odd parameters": (lambda m: whole(text(m, "odd"), 200, "Application/JSON ; charset=\xb2"), "odd"),
    "a byte order mark": (lambda m: whole(b"\xef\xbb\xbf" + text(m, "odd")), "odd"),
    "events with a byte order mark": (lambda m: chunked(b"\xef\xbb\xbf" + event(m)), "odd"),
    "compressed": (lambda m: whole(gzip.compress(text(m, "odd")), 200, "application/json", GZIP), "odd"),
    "compressed events": (lambda m: whole(gzip.compress(event(m)), 200, EVENTS, GZIP), "odd"),
    "deflate without its frame": (
        lambda m: whole(zlib.compress(text(m, "odd"))[2:-4], 200, "application/json", b"Content-Encoding: deflate"),
        "odd",
    ),
    "an encoding that nobody knows": (
        lambda m: whole(text(m, "odd"), 200, "application/json", b"Content-Encoding: utf-8"),
        "odd",
    ),
    "says gzip": (lambda m: whole(b"{}", 200, "application/json", GZIP), "request_failed"),
    "says gzip, events": (lambda m: whole(b"data: {}\n\n", 200, EVENTS, GZIP), "request_failed"),
    "says gzip and br": (
        lambda m: whole(b"{}", 200, "application/json", b"Content-Encoding: gzip, br, gzip"),
        "request_failed",
    ),
    "500 says gzip": (lambda m: whole(b"oops", 500, "text/plain", GZIP), "unavailable"),
    "compressed thrice": (
        lambda m: whole(b"{}", 200, "application/json", b"Content-Encoding: gzip, gzip, gzip"),
        "request_failed",
    ),
    "no length at all": (
        lambda m: head(200, "application/json", b"Content-Length: abc") + b"\r\n\r\n{}",
        "unavailable",
    ),
    "cut": (lambda m: head(200, "application/json", b"Content-Length: 999") + b'\r\n\r\n{"js', "unavailable"),
    "500 cut": (lambda m: head(500, "application/json", b"Content-Length: 999") + b'\r\n\r\n{"js', "unavailable"),
    "events cut": (lambda m: head(200, EVENTS, b"Content-Length: 999") + b"\r\n\r\ndata: {", "unavailable"),
    "a bad chunk": (
        lambda m: head(200, "application/json", b"Transfer-Encoding: chunked") + b"\r\n\r\nzz\r\n",
        "unavailable",
    ),
    "no HTTP": (lambda m: b"what?\r\n\r\n", "unavailable"),
    "HTTP/1.0": (lambda m: b"HTTP/1.0 200\r\nContent-Type: application/json\r\n\r\n" + text(m, "odd"), "odd"),
    "deep": (lambda m: whole(b"[" * 3900), "tool_error"),
    "400 deep": (lambda m: whole(b"[" * 3900, 400), "unavailable"),
    "to no address": (lambda m: whole(b"", 307, "text/plain", b"Location: /\xff\xfe"), "unavailable"),
    "to no address at all": (lambda m: whole(b"", 307, "text/plain", b"Location: http://[::1"), "unavailable"),
    "in a circle": (lambda m: whole(b"again", 307, "text/plain", b"Location: /mcp"), "unavailable"),
    "to another host": (
        lambda m: whole(b"", 308, "text/plain", b"Location: http://localhost:9/mcp"),
        "unavailable",
    ),
    "odd cookies": (
        lambda m: whole(text(m, "odd"), 200, "application/json", b"Set-Cookie: a=\xff\xb2; Path=/; Expires=never; =;"),
        "odd",
    ),
    "half a surrogate pair": (lambda m: whole(text(m, "o\ud83ddd")), "o\ufffddd"),
    "half a surrogate pair, events": (lambda m: chunked(event(m, "o\udc00dd")), "o\ufffddd"),
    "no UTF-8": (lambda m: whole(text(m, "o@dd").replace(b"@", b"\xff")), "o\ufffddd"),
    "numbers that are none": (
        lambda m: whole(text(m, "odd").replace(b'"content"', b'"_meta": {"x": 1e999, "y": NaN}, "content"')),
        "odd",
    ),
    "events with odd fields": (
        lambda m: chunked(
            b"retry: 999999999999\r\nid: \xff\xb2\rid\n: x\r\n\r\n" + b"id: " + b"9" * 9999 + b"\n" + event(m)
        ),
        "odd",
    ),
}
CLOSES = {"no length at all", "cut", "500 cut", "events cut", "a bad chunk", "no HTTP", "HTTP/1.0"}


@pytest.mark.parametrize("sse", [False, True], ids=["http", "sse"])
async def test_a_redirect_within_the_server_is_followed(sse: bool) -> None:
    seen = []

    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message["method"] != "tools/call" or len(seen) == 2:
            return None
        seen.append(message)
        writer.write(whole(b"elsewhere", 307 + len(seen) % 2, "text/plain", b"Location: ?moved"))
        return True

    async with (
        RawServer(odd, sse=sse) as server,
        MCPClientSessionManager().open_session(server.config()) as session,
    ):
        assert [await outcome(session, "work") for _ in range(2)] == ["done", "done"]


async def outcome(session: Session, tool: str) -> str:
    try:
        return (await session.call_tool(tool)).text
    except JackfieldError as error:
        return error.code


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_answer_costs_its_call_alone(name: str) -> None:
    write, expected = ODD[name]
    async with (
        RawServer(at_tool("odd", write, closes=name in CLOSES)) as server,
        MCPClientSessionManager().open_session(server.config()) as session,
    ):
        slow, odd = await asyncio.gather(outcome(session, "slow"), outcome(session, "odd"))
        assert (odd, slow, await outcome(session, "work")) == (expected, "done", "done")
        assert session.generation == 1


@pytest.mark.parametrize("sse", [False, True], ids=["http", "sse"])
@pytest.mark.parametrize(
    "line",
    [
        "X-Owner: José".encode(),
        b"X-Owner: \xff",
        b"Mcp-Session-Id: \xc3\xa9 \xff",
        b"Mcp-Session-Id: a b",
        b"Mcp-Session-Id:",
        b"Set-Cookie: caf\xe9=\xff; Max-Age=x; Domain=\xff",
    ],
)
async def test_an_odd_header_in_each_answer_does_no_harm(line: bytes, sse: bool) -> None:
    async with (
        RawServer(in_each=b"\r\n" + line, sse=sse) as server,
        MCPClientSessionManager().open_session(server.config()) as session,
    ):
        assert [await outcome(session, "work") for _ in range(2)] == ["done", "done"]
        name, _, value = line.partition(b":")
        if name == b"Mcp-Session-Id" and not sse:
            assert server.headers.get("mcp-session-id", b"") == value.strip()


@pytest.mark.parametrize("answer", [b"307 X\r\nLocation: /\xff", b"302 X\r\nLocation: /", b"304 X", b"500 X", b"700 X"])
async def test_over_sse_a_post_that_fails_costs_its_call_alone(answer: bytes) -> None:
    raw = b"HTTP/1.1 " + answer + b"\r\nContent-Length: 0\r\n\r\n"
    async with (
        RawServer(at_tool("odd", lambda _: raw), sse=True) as server,
        MCPClientSessionManager().open_session(server.config()) as session,
    ):
        assert await asyncio.gather(outcome(session, "slow"), outcome(session, "odd")) == ["done", "unavailable"]
        assert (await outcome(session, "work"), session.generation) == ("done", 1)


@pytest.mark.parametrize("endpoint", ["http://localhost:9/messages", "http://[::1", "https:"])
async def test_over_sse_an_address_of_another_origin_is_named_at_once(endpoint: str) -> None:
    async with RawServer(sse=True) as server:
        server.endpoint = endpoint
        with pytest.raises(ServerUnavailableError, match="a POST address") as caught:
            async with MCPClientSessionManager().open_session(server.config(timeout=60)):
                pass
    assert caught.value.hint == "Behind a proxy, configure the server's public address, or connect to it directly."


@functools.cache
def bomb() -> bytes:
    """Some hundred bytes that stand for 300 megabytes."""
    layer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join(layer.compress(b"x" * 1024 * 1024) for _ in range(300)) + layer.flush()
    return gzip.compress(packed)


@pytest.mark.parametrize("kind", ["text/plain", "application/json", EVENTS])
@pytest.mark.parametrize("status", [200, 202, 404, 500])
async def test_a_body_costs_what_is_read_of_it(status: int, kind: str) -> None:
    lines = (b"Content-Encoding: gzip, gzip",)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    async with (
        RawServer(at_tool("odd", lambda _: whole(bomb(), status, kind, *lines))) as server,
        MCPClientSessionManager().open_session(server.config(max_message_bytes=100_000)) as session,
    ):
        with pytest.raises(JackfieldError) as caught:
            await session.call_tool("odd")
        assert len(caught.value.server_output or "") <= 4096
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.parametrize("sse", [False, True], ids=["http", "sse"])
async def test_an_acknowledgement_whose_body_dribbles_holds_up_nothing(sse: bool) -> None:
    """Over SSE each POST is acknowledged; over Streamable HTTP notifications are."""

    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message["method"] != ("tools/call" if sse else "notifications/initialized"):
            return None
        writer.write(head(202, "text/plain", b"Content-Length: 10") + b"\r\n\r\nA")
        if server.stream is not None:
            server.stream.write(event(message, "done"))
        await asyncio.Event().wait()

    async with (
        RawServer(odd, sse=sse) as server,
        MCPClientSessionManager().open_session(server.config(call_timeout=8, timeout=8)) as session,
    ):
        async with asyncio.timeout(6):
            assert [await outcome(session, "work") for _ in range(3)] == ["done"] * 3


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
@pytest.mark.parametrize("begun", ["no answer", "json", "events", "events with ids"])
@pytest.mark.parametrize("how", ["timeout", "cancellation"])
async def test_nothing_is_left_of_a_call_that_was_given_up(begun: str, how: str, era: str) -> None:
    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message["method"] == "tools/call" or (begun == "events with ids" and message["method"] == "GET"):
            if begun == "json":
                writer.write(head(200, "application/json", b"Content-Length: 10") + b"\r\n\r\n{")
            elif begun == "events":
                writer.write(head(200, EVENTS) + b"\r\n\r\n: alive\n\n")
            elif begun == "events with ids":
                writer.write(whole(b"id: 1\nretry: 60000\ndata:\n\n", 200, EVENTS))
                return True
            await asyncio.Event().wait()
        return None

    async with (
        RawServer(odd, era=era) as server,
        MCPClientSessionManager().open_session(server.config(call_timeout=0.5 if how == "timeout" else 20)) as session,
    ):
        await session.list_tools()
        tasks = len(asyncio.all_tasks())
        if how == "timeout":
            with pytest.raises(JackfieldError):
                await session.call_tool("work")
        else:
            call = asyncio.ensure_future(session.call_tool("work"))
            await server.until(lambda: "tools/call" in server.seen)
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        if era < "2026":
            await server.until(lambda: "notifications/cancelled" in server.seen)
        async with asyncio.timeout(5):
            while len([task for task in asyncio.all_tasks() if "_serve" not in repr(task)]) > tasks:
                await asyncio.sleep(0.01)


async def test_over_sse_a_call_given_up_does_not_hold_up_the_next() -> None:
    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message["method"] == "tools/call" and message["params"]["name"] == "slow":
            await asyncio.Event().wait()
        return None

    async with (
        RawServer(odd, sse=True) as server,
        MCPClientSessionManager().open_session(server.config(timeout=60)) as session,
    ):
        with pytest.raises(JackfieldError):
            await session.call_tool("slow", call_timeout=0.3)
        assert (await session.call_tool("work", call_timeout=8)).text == "done"
        await server.until(lambda: "notifications/cancelled" in server.seen)


def test_json_is_read_as_far_as_its_meaning_is_plain() -> None:
    from jackfield.plain import parsed_json, readable_json

    text = b'\xef\xbb\xbf{"a": "\\ud83d x \\ud83d\\ude00 \\\\ud83d \xff \\udc00"}'
    assert json.loads(readable_json(text)) == {"a": "\ufffd x \U0001f600 \\ud83d \ufffd \ufffd"}
    assert readable_json(b'{"a": "\\u00e9"}') == b'{"a": "\\u00e9"}'
    assert parsed_json("[" * 9999) is None


async def test_an_authorization_server_is_read_within_bounds_too() -> None:
    answers = iter(
        [whole(bomb(), 200, "application/json", b"Content-Encoding: gzip, gzip"), whole(b"{}", 200, EVENTS, GZIP)]
    )

    async def odd(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        writer.write(next(answers))
        return True

    async with RawServer(odd) as server, AuthorizationClient(server.config(), "The sign-in to") as client:
        request = httpx2.Request("GET", f"{server.url}/.well-known/oauth-authorization-server")
        with pytest.raises(AuthenticationError, match="more than 1,048,576 bytes"):
            await client.send(request)
        with pytest.raises(ServerUnavailableError, match="not compressed with gzip"):
            await client.send(request)


async def test_what_one_call_failed_with_is_not_how_the_session_was_lost_later() -> None:
    async def forbids(server: RawServer, message: dict[str, Any], writer: asyncio.StreamWriter) -> bool | None:
        if message.get("params", {}).get("name") != "odd":
            return None
        writer.write(whole(b"no", 403))
        return True

    seen: list[Event] = []
    async with RawServer(forbids, sse=True) as server:
        manager = MCPClientSessionManager(on_event=seen.append)
        async with manager.open_session(server.config(retry_attempts=1)) as session:
            with pytest.raises(AuthenticationError):
                await session.call_tool("odd")
            assert server.stream
            server.stream.close()
            async with asyncio.timeout(10):
                while session.generation == 1:
                    await asyncio.sleep(0.01)
            assert (await session.call_tool("work")).state_lost
    lost = next(event.error for event in seen if isinstance(event, SessionLost))
    assert "was lost: its stream ended" in lost.message
