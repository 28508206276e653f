"""Whatever is posted: a clear refusal or the right answer, never a failure of the server, at that request's cost."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving.contract.conftest import memory
from tests.serving.instances import ACCEPT, Session, Two, both_of, two

PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ECHO = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "echo", "arguments": {"value": "VALUE"}}}


@pytest.fixture
async def both() -> AsyncGenerator[Two]:
    async with both_of(memory(None)) as instances:  # type: ignore[arg-type]
        yield instances


async def raw(url: str, head: bytes, body: bytes = b"") -> tuple[int, str]:
    """Sends bytes that an HTTP library would not; gives the status and what else came."""
    target = httpx2.URL(url)
    async with await anyio.connect_tcp(target.host, target.port or 80) as stream:
        length = b"content-length: %d\r\n" % len(body)
        await stream.send(b"%s /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n" % head.partition(b"\r\n")[0])
        await stream.send(length + head.partition(b"\r\n")[2] + b"\r\n" + body)
        received = b""
        with anyio.fail_after(10):
            try:
                while True:
                    received += await stream.receive()
            except (anyio.EndOfStream, anyio.BrokenResourceError):
                pass
    head_text, _, text = received.decode("latin-1").partition("\r\n\r\n")
    return int(head_text.split()[1]), text


def head_of(session: Session, **more: bytes | None) -> bytes:
    """Headers of a POST as bytes; `None` leaves one out."""
    given: dict[str, bytes | None] = {name: value.encode() for name, value in session.headers().items()}
    given |= {name.replace("_", "-"): value for name, value in more.items()}
    lines = [name.encode() + b": " + value for name, value in given.items() if value is not None]
    return b"POST\r\n" + b"".join(line + b"\r\n" for line in lines)


async def works(both: Two, session: Session) -> bool:
    """Whether the session still does on both instances."""
    return [await session.call(url, "where") for url in both.urls] == ["a", "b"]


NO_MESSAGES = [
    b"",
    b"{",
    b"\xff\xfe",
    b'"\xed\xa0\x80"',
    json.dumps(PING).encode("utf-16"),
    b"[]",
    json.dumps([PING, PING]).encode(),
    b"null",
    b"5",
    b'"text"',
    b"{}",
    b'{"jsonrpc": "2.0"}',
    b'{"jsonrpc": "1.0", "id": 1, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": null, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": {}, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": true, "method": "ping"}',
    b'{"jsonrpc": "2.0", "id": 1, "method": 5}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": []}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": NaN}}',
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": Infinity}}',
    b'{"jsonrpc": "2.0", "id": 1, "error": 5}',
    b'{"jsonrpc": "2.0", "id": "x", "result": 5}',
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"[" * 1000 + b"]" * 1000,
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": ' + b"[" * 5000 + b"]" * 5000 + b"}}",
    b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"a": ' + b"9" * 100_000 + b"}}",
    b'{"jsonrpc": "2.0", "id": ' + b"9" * 5000 + b', "method": "ping"}',
]


async def test_what_is_no_message_is_refused(both: Two) -> None:
    session = await both.session()
    for body in NO_MESSAGES:
        response = await both.http.post(both.a, content=body, headers=session.headers())
        assert response.status_code == 400, (body[:60], response.text)
        assert response.json()["error"]["code"] in (-32700, -32600)
    assert await works(both, session)


HEADERS: list[tuple[dict[str, str | None], int]] = [
    ({"content_type": "text/plain"}, 415),
    ({"content_type": "application/jsonp"}, 415),
    ({"content_type": None}, 415),
    ({"content_type": "application/json; charset=utf-8"}, 200),
    ({"content_type": "Application/JSON"}, 200),
    ({"content_encoding": "gzip"}, 415),
    ({"content_encoding": "Identity"}, 200),
    ({"accept": None}, 406),
    ({"accept": "application/json"}, 406),
    ({"accept": "text/event-stream"}, 406),
    ({"accept": "text/html"}, 406),
    ({"accept": "*/*"}, 200),
    ({"accept": "text/event-stream;q=0.5, application/json"}, 200),
    ({"mcp_protocol_version": None}, 200),
    ({"mcp_protocol_version": "1999-01-01"}, 400),
]


async def test_headers_that_are_not_those_of_the_protocol(both: Two) -> None:
    session = await both.session()
    body = json.dumps(PING).encode()
    for headers, status in HEADERS:
        given = {name: None if value is None else value.encode() for name, value in headers.items()}
        assert (await raw(both.a, head_of(session, **given), body))[0] == status, headers
    assert await works(both, session)


async def test_other_methods_of_http(both: Two) -> None:
    session = await both.session()
    for method in ("PUT", "PATCH", "HEAD", "OPTIONS"):
        response = await both.http.request(method, both.a, headers=session.headers())
        assert response.status_code == 405
        assert response.headers["allow"] == "GET, POST, DELETE"
    response = await both.http.get(both.a, headers=session.headers(accept="application/json"))
    assert response.status_code == 406
    response = await both.http.get(both.a, headers=session.headers(mcp_session_id=None))
    assert response.status_code == 400
    response = await both.http.delete(both.a, headers=session.headers(mcp_session_id=None))
    assert response.status_code == 400


IDS = [
    (b"ID ", 200),
    (b"  ID\t", 200),
    (b" ", 400),
    (b"ID\xe9", 404),
    (b"\xff\xfe", 404),
    (b"ID,ID", 404),
    (b'"ID"', 404),
    (b"{ID}", 404),
    (b"ID" * 200, 404),
]


async def test_session_ids_as_bytes(both: Two) -> None:
    session = await both.session()
    for value, status in IDS:
        head = head_of(session, mcp_session_id=value.replace(b"ID", session.id.encode()))
        got, text = await raw(both.b, head, json.dumps(PING).encode())
        assert got == status, (value, text)


async def test_texts_that_utf_8_does_not_have(both: Two) -> None:
    """Half of a surrogate pair in arguments is refused; in results, JSON can say it."""
    session = await both.session()
    body = json.dumps(ECHO).replace("VALUE", "\\ud800")
    for url in both.urls:
        response = await both.http.post(url, content=body, headers=session.headers())
        assert response.status_code == 400
    assert await works(both, session)


async def test_any_text_comes_back(both: Two) -> None:
    session = await both.session()
    for value in ("\u2028\u2029\u0085\n\r\x00\x1f", "\U0001f600", "é" * 1000, "data: x\n\nid: 5", ""):
        assert await session.call(both.a, "echo", value=value) == value
        async with session.calling(both.a, "log", texts=[["info", value]]) as stream:
            message = await stream.next()
            assert message is not None
            assert message["params"]["data"] == value


async def test_results_that_json_does_not_have() -> None:
    """Low-level handlers return what they like."""
    from mcp.server.lowlevel.server import Server
    from mcp_types import PaginatedRequestParams

    values: dict[str, Any] = {"nan": float("nan"), "surrogate": "\ud800", "both": [float("inf"), "\ud800"]}

    def make(talk: object, name: str) -> Server[Any]:
        server: Server[Any] = Server("odd")
        for key, value in values.items():

            async def give(ctx: Any, params: Any, value: Any = value) -> dict[str, Any]:
                return {"value": value}

            server.add_request_handler(f"test/{key}", PaginatedRequestParams, give)
        return server

    async with two(memory(None), make=make) as both:  # type: ignore[arg-type]
        session = await both.session()
        assert (await session.request(both.a, "test/nan"))["result"] == {"value": None}
        assert (await session.request(both.b, "test/surrogate"))["result"] == {"value": "\ud800"}
        assert (await session.request(both.b, "test/both"))["result"] == {"value": [None, "\ud800"]}


async def test_large_bodies(both: Two) -> None:
    session = await both.session()
    large = 4 * 1024 * 1024
    body = json.dumps({**ECHO, "params": {"name": "where", "arguments": {"unused": "x"}}})
    fitting = body.replace('"x"', '"' + "x" * (large - len(body)) + '"')
    assert (await both.http.post(both.a, content=fitting, headers=session.headers())).status_code == 200
    for content in (fitting + " " * 10, chunks(fitting + " " * 10)):
        response = await both.http.post(both.b, content=content, headers=session.headers())
        assert response.status_code == 413
        assert "`body_bytes` is 4194304" in response.text
    for length in (b"99999999999999999999999999", b"4194305"):
        head = head_of(session).rstrip(b"\r\n") + b"\r\n"
        status, text = await raw_with_length(both.a, head, length)
        assert status in (400, 413), text
    assert await works(both, session)


async def chunks(text: str) -> AsyncGenerator[bytes]:
    yield text.encode()


async def raw_with_length(url: str, head: bytes, length: bytes) -> tuple[int, str]:
    target = httpx2.URL(url)
    async with await anyio.connect_tcp(target.host, target.port or 80) as stream:
        lines = head.partition(b"\r\n")[2]
        await stream.send(
            b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: " + length + b"\r\n" + lines + b"\r\n{"
        )
        with anyio.fail_after(10):
            received = await stream.receive()
    return int(received.split()[1]), received.decode("latin-1")


async def test_a_client_that_leaves_in_the_middle_of_its_request(both: Two) -> None:
    session = await both.session()
    target = httpx2.URL(both.a)
    for _ in range(5):
        async with await anyio.connect_tcp(target.host, target.port or 80) as stream:
            lines = head_of(session).partition(b"\r\n")[2]
            await stream.send(b"POST /mcp HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 500\r\n" + lines + b"\r\n{")
    assert await works(both, session)


async def test_deep_and_odd_handshakes(both: Two) -> None:
    opening = Session(both.http, "")
    deep: Any = {}
    for _ in range(150):
        deep = {"a": deep}
    params = {
        "protocolVersion": "2025-11-25",
        "capabilities": {"experimental": deep},
        "clientInfo": {"name": "a", "version": "1"},
    }
    response = await opening.post(both.a, {"id": 1, "method": "initialize", "params": params}, mcp_session_id=None)
    assert response.status_code == 200
    session = Session(both.http, response.headers["mcp-session-id"])
    assert await works(both, session)
    for odd in (None, {}, {"protocolVersion": 5}, {**params, "capabilities": 5}, {**params, "clientInfo": {}}):
        response = await opening.post(both.a, {"id": 1, "method": "initialize", "params": odd}, mcp_session_id=None)
        assert response.status_code in (200, 400)
        if response.status_code == 200:
            assert response.json()["error"]["code"] == -32602
        assert "mcp-session-id" not in response.headers
    params["protocolVersion"] = "1999-01-01"
    response = await opening.post(both.a, {"id": 1, "method": "initialize", "params": params}, mcp_session_id=None)
    assert response.json()["result"]["protocolVersion"] == "2025-11-25"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_METHODS = st.sampled_from(
    [
        *("ping", "tools/call", "tools/list", "initialize", "logging/setLevel", "resources/subscribe", "", "x" * 200),
        *("completion/complete", "notifications/cancelled", "notifications/progress", "notifications/initialized"),
    ]
)
_MESSAGES = st.fixed_dictionaries(
    {"jsonrpc": st.sampled_from(["2.0", "1.0"])},
    optional={
        "id": st.integers() | st.text(max_size=4) | _JSON,
        "method": _METHODS | _JSON,
        "params": _JSON
        | st.dictionaries(st.sampled_from(["requestId", "uri", "level", "name", "progressToken"]), _JSON),
        "result": _JSON,
        "error": _JSON,
    },
)
_BODIES = (
    st.binary(max_size=40)
    | _JSON.map(lambda value: json.dumps(value).encode())
    | _MESSAGES.map(lambda value: json.dumps(value).encode())
)
_HEADERS = st.dictionaries(
    st.sampled_from(
        ["accept", "content-type", "mcp-session-id", "last-event-id", "mcp-protocol-version", "content-encoding"]
    ),
    st.sampled_from([ACCEPT, "application/json", "*/*", "", "get/0", "2025-06-18", "2026-07-28", "gzip"])
    | st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40),
    max_size=2,
)


@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(requests=st.lists(st.tuples(_BODIES, _HEADERS), min_size=10, max_size=30))
def test_fuzzed_requests_are_answered_or_refused(requests: list[tuple[bytes, dict[str, str]]]) -> None:
    async def run() -> None:
        async with two(memory(None)) as both:  # type: ignore[arg-type]
            session = await both.session()
            for number, (body, headers) in enumerate(requests):
                sent = {**session.headers(), **headers}
                response = await both.http.post(both.urls[number % 2], content=body, headers=sent)
                assert response.status_code < 500, (response.status_code, response.text)
                assert response.status_code >= 400 or response.status_code == 202 or response.text
            assert await works(both, session)

    anyio.run(run)
