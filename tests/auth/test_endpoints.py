"""Requests to an authorization server: where they may go, and how much an answer may be."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from tests.auth.conftest import answering, signed_in

from jackfield import AuthenticationError, HttpConfig, ServerUnavailableError
from jackfield.auth import endpoints
from jackfield.auth.bearer import BearerTransport
from jackfield.auth.endpoints import AuthorizationClient

REMOTE = HttpConfig(server_name="notes", url="https://notes.example/mcp", headers={"X-Gate": "g4te"})


async def send(request: httpx2.Request, config: HttpConfig = REMOTE) -> httpx2.Response:
    async with AuthorizationClient(config, "Signing in to") as client:
        return await client.send(request)


async def test_nothing_goes_over_plain_http_where_the_server_itself_does_not() -> None:
    with pytest.raises(AuthenticationError) as caught:
        await send(httpx2.Request("POST", "http://as.example/token?code=s3cret", data={"code": "s3cret"}))
    assert "Signing in to server 'notes' failed: it would use plain http to http://as.example/token." in str(
        caught.value
    )
    assert "s3cret" not in str(caught.value)
    assert caught.value.sent is False


async def test_an_answer_without_end_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    async def without_end(stream: SocketStream) -> None:
        await stream.send(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        try:
            while True:
                await stream.send(b"x" * 65536)
        except anyio.BrokenResourceError:
            pass  # hung up, as it should be

    async with answering(without_end) as url:
        with anyio.fail_after(20), pytest.raises(AuthenticationError, match="answered with more than 1,048,576 bytes"):
            await send(httpx2.Request("GET", f"{url}/x"), HttpConfig(server_name="notes", url=f"{url}/mcp"))


async def test_an_answer_that_does_not_come_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(endpoints, "REQUEST_SECONDS", 0.2)

    async def silent(stream: SocketStream) -> None:
        await anyio.sleep(20)

    async with answering(silent) as url:
        with anyio.fail_after(10), pytest.raises(ServerUnavailableError) as caught:
            await send(httpx2.Request("GET", f"{url}/x"), HttpConfig(server_name="notes", url=f"{url}/mcp"))
    assert "cannot be reached" in str(caught.value)
    assert caught.value.retryable


async def test_the_token_is_sent_to_its_own_server_only(protected: Callable[..., object]) -> None:
    config = protected().config()  # type: ignore[attr-defined]
    credentials = await signed_in(config)
    seen: list[tuple[str, str | None]] = []

    def note(request: httpx2.Request) -> httpx2.Response:
        seen.append((str(request.url), request.headers.get("authorization")))
        return httpx2.Response(200)

    sender = BearerTransport(config, httpx2.MockTransport(note))
    own = httpx2.URL(config.url)
    for url in (own, own.copy_with(path="/messages"), own.copy_with(port=1), own.copy_with(host="localhost")):
        await sender.handle_async_request(httpx2.Request("POST", url))
    token = f"Bearer {credentials.access_token}"
    assert [given for _, given in seen] == [token, token, None, None]
