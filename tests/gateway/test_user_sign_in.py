"""Users sign in to a server by the gateway, each for themselves, and nobody can make them do it for somebody else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.server.auth.provider import AccessToken
from tests.auth.conftest import Protected, protected, state_folder, workshop
from tests.serving.authorized import INITIALIZE, MODERN_META, Client, answer_of, modern_headers

from jackfield import Catalog, HttpConfig, MCPClientSessionManager, MCPConfig
from jackfield.auth.resource import ProtectedResource
from jackfield.auth.token_file import add_token
from jackfield.auth.tokens import BearerFile
from jackfield.gateway.gateway import Gateway
from jackfield.gateway.http import listen, serve_http
from jackfield.gateway.http_settings import HttpSettings
from jackfield.gateway.user_tokens import UserTokens

__all__ = ["protected", "state_folder", "workshop"]

KEYS = [b"k" * 32]
OPENS_URLS = {"elicitation": {"form": {}, "url": {}}}
LEGACY = {**INITIALIZE, "capabilities": OPENS_URLS}
MODERN = {**MODERN_META, "io.modelcontextprotocol/clientCapabilities": OPENS_URLS}


@dataclass
class Place:
    """The gateway, in front of a server that its users sign in to."""

    url: str
    http: httpx2.AsyncClient

    def client(self, token: str) -> Client:
        return Client(self.http, token)


@asynccontextmanager
async def gateway(folder: Path, server: Protected, auth: Any, issuer: str = "") -> AsyncIterator[Place]:
    config = HttpConfig(server_name="notes", url=server.url, credentials={"oauth": True})
    settings = HttpSettings(auth=auth)
    listener, url = listen("0", settings)
    if issuer:
        auth.resource = ProtectedResource(url, (issuer,))
    listening = anyio.Event()
    async with MCPClientSessionManager(MCPConfig(servers=[config]), catalog=Catalog(folder / "catalog")) as manager:
        async with Gateway(manager, all_tools=True) as made, anyio.create_task_group() as tasks:
            made.credentials.tokens = UserTokens(KEYS)

            async def serve() -> None:
                await serve_http(made, listener, settings, on_listening=lambda _: listening.set())

            tasks.start_soon(serve)
            await listening.wait()
            async with httpx2.AsyncClient(timeout=30) as http:
                yield Place(url, http)
            tasks.cancel_scope.cancel()


async def said(client: Client, url: str, tool: str, number: int = 1, **arguments: Any) -> dict[str, Any]:
    """The answer to a call of an older client."""
    response = await client.request(url, "tools/call", {"name": tool, "arguments": arguments}, number=number)
    return answer_of(response.text)


async def names(client: Client, url: str) -> set[str]:
    """The tools that a client is offered."""
    listed = answer_of((await client.request(url, "tools/list", number=90)).text)
    return {tool["name"] for tool in listed["result"]["tools"]}


@asynccontextmanager
async def browser() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(timeout=30, follow_redirects=True) as made:
        yield made


async def test_users_sign_in_for_themselves(
    tmp_path: Path, protected: Callable[..., Protected], state_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server, file = protected(), tmp_path / "tokens.toml"
    tokens = {user: add_token(file, user, scopes=["servers:*"]).token for user in ("ann", "bob")}
    expired = add_token(file, "ann", scopes=["servers:*"], expires_at=datetime(2020, 1, 1, tzinfo=UTC)).token
    async with gateway(tmp_path, server, BearerFile(file)) as place:
        url, ann, bob = place.url, place.client(tokens["ann"]), place.client(tokens["bob"])
        for client in (ann, bob):
            opened = await client.request(url, "initialize", LEGACY)
            client.session = opened.headers["mcp-session-id"]
            await client.post(url, {"method": "notifications/initialized"})
        assert await names(ann, url) == {"jackfield_sign_in"}, "nothing is known of a server before"

        # The client is asked to open a URL.
        error = (await said(ann, url, "jackfield_sign_in", server="notes"))["error"]
        assert error["code"] == -32042
        assert error["message"] == "User 'ann' must sign in to server 'notes'. Nothing was sent."
        [asked] = error["data"]["elicitations"]
        assert asked["mode"] == "url"
        link = asked["url"]
        assert link.startswith(url.removesuffix("/mcp") + "/connect/")
        assert not any(token in link for token in tokens.values())

        async with ann.stream(url) as stream, browser() as of_ann, browser() as of_mallory:
            page = await of_ann.get(link)
            assert page.status_code == 200
            assert "Only" not in page.text
            assert "<b>ann</b>" in page.text
            assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
            assert "HttpOnly" in page.headers["set-cookie"]

            # Nobody else goes on from there, whoever opens the link.
            assert (await of_mallory.post(link, data={"token": tokens["ann"]})).status_code == 403, "no cookie"
            assert (await of_mallory.get(link)).status_code == 200
            for wrong in (tokens["bob"], "", "ann", expired):
                refused = await of_mallory.post(link, data={"token": wrong})
                assert (refused.status_code, "not a token of ann" in refused.text) == (403, True)
            evil = {"origin": "https://evil.example"}
            assert (await of_ann.post(link, data={"token": tokens["ann"]}, headers=evil)).status_code == 403
            assert (await of_ann.get(link, headers={"host": "evil.example"})).status_code == 421
            assert (await of_ann.get(link[:-3] + "abc")).status_code == 404

            # A redirect counts only in the browser that began.
            sent_on = await of_ann.post(link, data={"token": tokens["ann"]}, follow_redirects=False)
            assert sent_on.status_code == 303
            back = (await of_ann.get(sent_on.headers["location"], follow_redirects=False)).headers["location"]
            assert back.startswith(url.removesuffix("/mcp") + "/oauth/callback?")
            assert (await of_mallory.get(back)).status_code == 400
            done = await of_ann.get(back)
            assert (done.status_code, "<h1>Signed in</h1>" in done.text) == (200, True), done.text
            assert (await of_ann.get(back)).status_code == 400, "it counts once"

            with anyio.fail_after(20):
                async for line in stream.aiter_lines():
                    if line.startswith("data:") and "elicitation/complete" in line:
                        assert json.loads(line[5:])["params"] == {"elicitationId": asked["elicitationId"]}
                        break
        with anyio.fail_after(20):
            while "whose" not in await names(ann, url):
                await anyio.sleep(0.05)
        used = (await said(ann, url, "whose"))["result"]["content"][0]["text"]
        assert used == "ada's, by Bearer access"

        # It is Ann's alone, and encrypted.
        assert await names(bob, url) == {"jackfield_sign_in"}
        assert (await said(bob, url, "jackfield_sign_in", server="notes"))["error"]["code"] == -32042
        kept = list((state_folder.parent / "gateway").rglob("*.json"))
        assert len(kept) == 1
        assert kept[0].stat().st_mode & 0o777 == 0o600
        assert not any(word in kept[0].read_text() for word in ("access-", "refresh-"))
        assert set(json.loads(kept[0].read_text())) >= {"kept_in", "sealed"}

        # Tokens are renewed; when that is over, the user is asked again.
        server.forget("access")
        assert (await said(ann, url, "whose", 2))["result"]["content"][0]["text"] == used
        assert server.log()["refreshes"] == 1
        server.forget("access", "refresh")
        assert (await said(ann, url, "whose", 3))["error"]["code"] == -32042
        assert (await said(ann, url, "whose", 4))["error"]["code"] == -32042
    assert not any(token in caplog.text for token in tokens.values())


async def test_a_client_of_2026_is_asked_by_an_answer(tmp_path: Path, protected: Callable[..., Protected]) -> None:
    server, file = protected(), tmp_path / "tokens.toml"
    token = add_token(file, "ann", scopes=["servers:*"]).token
    async with gateway(tmp_path, server, BearerFile(file)) as place:
        ann = place.client(token)
        params = {"name": "jackfield_sign_in", "arguments": {"server": "notes"}}

        async def call(number: int, meta: Any = MODERN, **more: Any) -> dict[str, Any]:
            headers = modern_headers("tools/call", params)
            sent = {**params, "_meta": meta, **more}
            return answer_of((await ann.request(place.url, "tools/call", sent, number=number, **headers)).text)

        asked = (await call(1))["result"]
        assert asked["resultType"] == "input_required"
        [(key, question)] = asked["inputRequests"].items()
        assert question["method"] == "elicitation/create"
        assert question["params"]["mode"] == "url"
        async with browser() as of_ann:
            link = question["params"]["url"]
            await of_ann.get(link)
            done = await of_ann.post(link, data={"token": token})
            assert "<h1>Signed in</h1>" in done.text, done.text
        answers = {key: {"action": "accept"}}
        result = (await call(2, requestState=asked["requestState"], inputResponses=answers))["result"]
        assert result["content"][0]["text"] == "The user has signed in to notes."

        params = {"name": "whose", "arguments": {}}
        with anyio.fail_after(20):
            while "ada's" not in str(await call(3)):
                await anyio.sleep(0.05)

        # One that cannot open URLs is told in words; one whose user does not want to, why nothing happened.
        server.forget("access", "refresh")
        words = await call(4, MODERN_META)
        assert words["result"]["isError"] is True
        assert f"The user opens {place.url.removesuffix('/mcp')}/connect/" in words["result"]["content"][0]["text"]
        asked = (await call(5))["result"]
        [key] = asked["inputRequests"]
        answers = {key: {"action": "decline"}}
        declined = await call(6, requestState=asked["requestState"], inputResponses=answers)
        assert "did not agree to open" in declined["error"]["message"]


class OfIssuer:
    """Takes tokens of an authorization server, at which everybody in front of a browser is Ann."""

    def __init__(self, issuer: str) -> None:
        self.required_scopes: list[str] = []
        self.issuer = issuer
        self.resource: ProtectedResource | None = None

    async def verify_token(self, token: str) -> AccessToken:
        user = token.removeprefix("client-token-of-") if token.startswith("client-token") else "ann"
        claims = {"iss": self.issuer}
        return AccessToken(token=token, client_id="x", scopes=["servers:*"], subject=user, claims=claims)


async def test_whose_tokens_are_of_an_issuer_signs_in_there_first(
    tmp_path: Path, protected: Callable[..., Protected]
) -> None:
    own, server = protected(), protected()
    async with gateway(tmp_path, server, OfIssuer(own.issuer), own.issuer) as place:

        async def visited(user: str) -> tuple[httpx2.Response, list[str]]:
            """What Ann sees who opens the link of a user's program, and where her browser was on the way."""
            client = place.client(f"client-token-of-{user}")
            opened = await client.request(place.url, "initialize", LEGACY)
            client.session = opened.headers["mcp-session-id"]
            await client.post(place.url, {"method": "notifications/initialized"})
            error = (await said(client, place.url, "jackfield_sign_in", server="notes"))["error"]
            async with browser() as of_ann:
                link = error["data"]["elicitations"][0]["url"]
                assert f"sign in as {user} first" in (await of_ann.get(link)).text
                last = await of_ann.post(link)
            return last, [str(one.url) for one in (*last.history, last)]

        last, way = await visited("mallory")
        assert (last.status_code, "You are not mallory" in last.text) == (403, True), last.text
        assert any(url.startswith(f"{own.issuer}/authorize") for url in way)
        assert not any(url.startswith(server.issuer) for url in way), "nothing was connected"
        last, way = await visited("ann")
        assert (last.status_code, "<h1>Signed in</h1>" in last.text) == (200, True), last.text
        servers = [url.split("/authorize")[0] for url in way if "/authorize" in url]
        assert servers == [own.issuer, server.issuer]
