"""The requests of a session, which are built from each other, are those that httpx2 builds."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from jackfield.transport.http_client import SessionClient, WholeResponse

HEADERS = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
BODIES: list[Any] = [{"text": "x" * 10}, {"text": 'ü \u2028 "quoted"'}, {"number": 1.5, "none": None, "list": [1, []]}]
OPTIONS: dict[str, Any] = {
    "headers": [(b"Authorization", "Bearer ä".encode()), (b"Accept-Encoding", b"gzip")],
    "timeout": 7.0,
}


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/mcp?a=b c", "https://user:word@host/", "http://[::1]/x"])
@pytest.mark.parametrize("more", [{}, {"mcp-session-id": "1"}, {"X-Other": "yes"}])
async def test_requests_are_those_of_httpx2(url: str, more: dict[str, str]) -> None:
    async with SessionClient(**OPTIONS) as ours, httpx2.AsyncClient(**OPTIONS) as theirs:
        for body in [*BODIES, *BODIES]:
            mine, other = (
                client.build_request("POST", url, json=body, headers=HEADERS | more) for client in (ours, theirs)
            )
            assert (mine.method, mine.url, mine.content) == (other.method, other.url, other.content)
            assert sorted(mine.headers.raw) == sorted(other.headers.raw)
            assert mine.extensions == other.extensions
            assert b"".join([part async for part in mine.stream]) == other.content  # type: ignore[union-attr]


async def test_what_is_put_into_a_request_is_in_no_other() -> None:
    async with SessionClient() as client:
        first = client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        first.headers["Authorization"] = "Bearer one"
        first.extensions["mark"] = True
        first.extensions["timeout"] = {"read": 1.0}
        second = client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        assert "Authorization" not in second.headers
        assert "mark" not in second.extensions
        assert second.extensions["timeout"]["read"] == client.timeout.read


async def test_cookies_and_a_change_of_the_client_are_sent() -> None:
    async with SessionClient() as client:
        client.build_request("POST", "http://host/", json={}, headers=HEADERS)
        client.cookies.set("kept", "yes")
        assert client.build_request("POST", "http://host/", json={}, headers=HEADERS).headers["Cookie"] == "kept=yes"


async def test_values_that_are_not_json_are_refused_as_by_httpx2() -> None:
    async with SessionClient() as client:
        with pytest.raises(ValueError, match="not JSON compliant"):
            client.build_request("POST", "http://host/", json={"number": float("nan")}, headers=HEADERS)


async def test_many_different_headers_do_not_pile_up() -> None:
    async with SessionClient() as client:
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
