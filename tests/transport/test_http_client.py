"""The requests of a session, which are built from each other, are those that httpx2 builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import anyio.abc
import httpx2
import pytest

from jackfield import HttpConfig
from jackfield.config.http_connections import http_connections
from jackfield.config.network_streams import use_quick_streams
from jackfield.transport.http_client import SessionClient, WholeResponse

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
BODIES: list[Any] = [{"text": "x" * 10}, {"text": 'ü \u2028 "quoted"'}, {"number": 1.5, "none": None, "list": [1, []]}]
OPTIONS: dict[str, Any] = {
    "headers": [(b"Authorization", "Bearer ä".encode()), (b"Accept-Encoding", b"gzip")],
    "timeout": 7.0,
}


def client_of(answer: httpx2.Response | None = None, **options: Any) -> SessionClient:
    def answered(request: httpx2.Request) -> httpx2.Response:
        assert answer is not None
        answer.request = request
        return answer

    return SessionClient(transport=httpx2.MockTransport(answered), **options)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/mcp?a=b c", "https://user:word@host/", "http://[::1]/x"])
@pytest.mark.parametrize("more", [{}, {"mcp-session-id": "1"}, {"X-Other": "yes"}])
async def test_requests_are_those_of_httpx2(url: str, more: dict[str, str]) -> None:
    async with client_of(**OPTIONS) as ours, httpx2.AsyncClient(**OPTIONS) as theirs:
        for body in [*BODIES, *BODIES]:
            mine, other = (
                client.build_request("POST", url, json=body, headers=HEADERS | more) for client in (ours, theirs)
            )
            assert (mine.method, mine.url, mine.content) == (other.method, other.url, other.content)
            assert sorted(mine.headers.raw) == sorted(other.headers.raw)
            assert mine.extensions == other.extensions
            assert b"".join([part async for part in mine.stream]) == other.content  # type: ignore[union-attr]


async def test_what_is_put_into_a_request_is_in_no_other() -> None:
    async with client_of() as client:
        first = client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        first.headers["Authorization"] = "Bearer one"
        first.extensions["mark"] = True
        first.extensions["timeout"] = {"read": 1.0}
        second = client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        assert "Authorization" not in second.headers
        assert "mark" not in second.extensions
        assert second.extensions["timeout"]["read"] == client.timeout.read


async def test_cookies_and_a_change_of_the_client_are_sent() -> None:
    async with client_of() as client:
        client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        client.cookies.set("kept", "yes")
        assert client.build_request("POST", "http://host/", json={}, headers=HEADERS).headers["Cookie"] == "kept=yes"


async def test_values_that_are_not_json_are_refused_as_by_httpx2() -> None:
    async with client_of() as client:
        with pytest.raises(ValueError, match="not JSON compliant"):
            client.build_request("POST", "http://host/", json={"number": float("nan")}, headers=HEADERS)


async def test_many_different_headers_do_not_pile_up() -> None:
    async with client_of() as client:
        for number in range(1000):
            headers = {**HEADERS, "mcp-name": f"tool-{number}"}
            assert (
                client.build_request("POST", "http://host/", json={}, headers=headers).headers["mcp-name"]
                == f"tool-{number}"
            )
        assert len(client._patterns) <= 64  # pyright: ignore[reportPrivateUsage]


async def test_a_whole_response_is_read_as_any_other() -> None:
    response = WholeResponse(200, body=b'{"a": 1}', headers={"content-type": "application/json"})
    assert await response.aread() == response.content == b'{"a": 1}'
    assert response.json() == {"a": 1}
    assert b"".join([part async for part in response.aiter_bytes()]) == b'{"a": 1}'


ANSWERS: list[httpx2.Response] = [
    httpx2.Response(200, content=b"ok"),
    httpx2.Response(500, content=b"broken"),
    httpx2.Response(307, headers={"location": "/there"}),
    httpx2.Response(303, headers={"location": "http://elsewhere/"}),
    httpx2.Response(200, headers={"set-cookie": "kept=yes"}, content=b"ok"),
]


@pytest.mark.parametrize(
    "answer", ANSWERS, ids=lambda answer: f"{answer.status_code} {answer.headers.get('set-cookie')}"
)
@pytest.mark.parametrize("is_logged", [False, True])
async def test_responses_are_those_of_httpx2(
    answer: httpx2.Response, is_logged: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO" if is_logged else "WARNING", "httpx2")
    seen: list[tuple[object, ...]] = []
    asked = 0

    def answered(request: httpx2.Request) -> httpx2.Response:
        nonlocal asked
        asked += 1
        stream = httpx2.ByteStream(answer.content)
        return httpx2.Response(answer.status_code, headers=answer.headers, stream=stream, request=request)

    for make in (SessionClient, httpx2.AsyncClient):
        caplog.clear()
        async with make(transport=httpx2.MockTransport(answered)) as client:
            request = client.build_request("POST", "http://host/here", json={"a": 1}, headers=HEADERS)
            response = await client.send(request, stream=True, follow_redirects=False)
            following = response.next_request
            seen.append(
                (
                    response.status_code,
                    await response.aread(),
                    response.request is request,
                    following and (following.method, following.url, sorted(following.headers.raw)),
                    dict(client.cookies),
                    [record.getMessage() for record in caplog.records],
                )
            )
    assert seen[0] == seen[1]
    assert asked == 2
    assert bool(caplog.records) == is_logged


async def test_a_client_that_is_closed_or_has_credentials_sends_as_httpx2_does() -> None:
    async with client_of(httpx2.Response(200, content=b"ok"), auth=("user", "word")) as client:
        request = client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        response = await client.send(request, stream=True, follow_redirects=False)
        assert response.request.headers["authorization"].startswith("Basic ")
    async with client_of(httpx2.Response(200, content=b"ok")) as client:
        request = client.build_request("POST", "http://user:word@host/", json={}, headers=HEADERS)
        response = await client.send(request, stream=True, follow_redirects=False)
        assert response.request.headers["authorization"].startswith("Basic ")
    with pytest.raises(RuntimeError, match="closed"):
        await client.send(request, stream=True, follow_redirects=False)


class Recorder:
    """A network backend and its streams, which write down what is written."""

    def __init__(self, inner: Any, pieces: list[bytes]) -> None:
        self._inner = inner
        self._pieces = pieces

    async def connect_tcp(self, *args: Any, **options: Any) -> Recorder:
        return Recorder(await self._inner.connect_tcp(*args, **options), self._pieces)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._pieces.append(buffer)
        await self._inner.write(buffer, timeout)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


async def test_head_and_body_of_a_request_leave_in_one_piece() -> None:
    """Fails if httpx2 moves what `use_quick_streams` uses: requests then go out in two pieces, as httpx2 sends them."""
    pieces: list[bytes] = []
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def connected(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            request = b""
            async for piece in stream:
                request += piece
                head, blank, body = request.partition(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15] == b"Content-Length:"), 0)
                is_chunked = b"Transfer-Encoding: chunked" in head
                if body.endswith(b"0\r\n\r\n") if is_chunked else blank and len(body) == length:
                    request = b""
                    await stream.send(answer)

    connections = httpx2.AsyncHTTPTransport()
    pool: Any = connections._pool  # pyright: ignore[reportPrivateUsage]
    pool._network_backend = Recorder(pool._network_backend, pieces)
    use_quick_streams(connections)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
        httpx2.AsyncClient(transport=connections) as client,
    ):
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        tasks.start_soon(listener.serve, connected)
        for content, expected in ((b"x" * 10, 1), (b"ends as a head does\r\n\r\n", 1), (b"", 1), (b"x" * 3_000_000, 2)):
            pieces.clear()
            assert (await client.post(url, content=content)).text == "ok"
            assert len(pieces) == expected
            assert b"".join(pieces).endswith(b"\r\n\r\n" + content)
        pieces.clear()
        assert (await client.get(url)).text == "ok"
        assert len(pieces) == 1
        assert (await client.post(url, content=in_parts())).text == "ok"
        tasks.cancel_scope.cancel()


async def test_a_connection_that_was_closed_is_not_used_again() -> None:
    """By the server while it was idle, which is seen before the next request."""
    closed: list[anyio.Event] = []
    stream: Any = None

    async def connected(stream: anyio.abc.SocketStream) -> None:
        async with stream:
            await stream.receive()
            await stream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        closed[-1].set()

    connections = httpx2.AsyncHTTPTransport()
    use_quick_streams(connections)
    async with (
        await anyio.create_tcp_listener(local_host="127.0.0.1") as listener,
        anyio.create_task_group() as tasks,
        httpx2.AsyncClient(transport=connections) as client,
    ):
        url = f"http://127.0.0.1:{listener.extra(anyio.abc.SocketAttribute.local_port)}/"
        tasks.start_soon(listener.serve, connected)
        for _ in range(5):
            closed.append(anyio.Event())
            async with client.stream("POST", url, content=b"x") as response:
                stream = response.extensions["network_stream"]
                assert stream.get_extra_info("server_addr")[0] == "127.0.0.1"
                assert await response.aread() == b"ok"
            await closed[-1].wait()
            assert stream.get_extra_info("is_readable")
        assert len(closed) == 5
        await stream.aclose()
        assert stream.get_extra_info("is_readable")
        tasks.cancel_scope.cancel()


async def in_parts() -> AsyncIterator[bytes]:
    for part in (b"a", b"b\r\n\r\n", b"c"):
        yield part


def test_connections_of_sessions_join_their_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("jackfield.config.http_connections.proxy_chooser", lambda: None)
    connections: Any = http_connections(HttpConfig(server_name="one", url="http://127.0.0.1/"), httpx2.Limits())
    assert type(connections._pool._network_backend).__name__ == "_QuickBackend"
