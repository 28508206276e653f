"""Users with credentials of their own, whichever instance of the gateway their requests and their browsers reach."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import httpx2
from redis.asyncio import Redis
from tests.auth.conftest import Protected, protected, workshop
from tests.cli.conftest import Command
from tests.conftest import needs
from tests.daily import daily
from tests.gateway.conftest import everything
from tests.gateway.several import Team, running_team
from tests.gateway.test_credentials import private, recording
from tests.gateway.test_user_sign_in import LEGACY, browser, said
from tests.serving.authorized import Client, answer_of
from tests.serving.cluster.cluster import missing, running_store

from jackfield.auth.token_file import add_token

__all__ = ["protected", "workshop"]

USERS = ("ann", "bob")
CALLS = daily(100, whole=1000)


async def session(client: Client, url: str) -> None:
    opened = await client.request(url, "initialize", LEGACY)
    client.session = opened.headers["mcp-session-id"]
    await client.post(url, {"method": "notifications/initialized"})


async def refused(command: Command, line: Sequence[str], environment: Mapping[str, str]) -> tuple[int, str]:
    """How an instance ends that does not begin."""
    with anyio.fail_after(60):
        done = await anyio.run_process(line, check=False, env=environment, cwd=command.project)
    return done.returncode, done.stderr.decode()


async def test_an_instance_without_its_store_says_so(jackfield: Command, tmp_path: Path) -> None:
    jackfield.configure_user(one=everything())
    keys = private(tmp_path / "keys", "k" * 32)
    for store in (("--redis", "redis://127.0.0.1:1"), ("--postgres", "postgres://127.0.0.1:1/none")):
        line = jackfield.line("serve", "--http", "0", *store, "--keys-file", str(keys))
        code, text = await refused(jackfield, line, jackfield.environment)
        assert (code, text.startswith("Error: "), "127.0.0.1:1" in text) == (4, True, True), text
        assert "Traceback" not in text


async def sign_in(team: Team, client: Client, token: str) -> None:
    """Begin at one instance, and come back to the other."""
    first, second = (one.url.removesuffix("/mcp") for one in team.instances)
    public = team.url.removesuffix("/mcp")
    error = (await said(client, team.url, "jackfield_sign_in", server="notes"))["error"]
    [asked] = error["data"]["elicitations"]
    link = asked["url"].replace(public, first)
    assert link.startswith(first)
    async with client.stream(second + "/mcp") as stream, browser() as of_user, browser() as of_mallory:
        assert (await of_user.get(link.replace(first, second))).status_code == 200
        sent_on = await of_user.post(link, data={"token": token}, follow_redirects=False)
        assert sent_on.status_code == 303
        back = (await of_user.get(sent_on.headers["location"], follow_redirects=False)).headers["location"]
        assert back.startswith(f"{public}/oauth/callback?")
        back = back.replace(public, second)
        # Not from another browser, nor with another state, wherever it comes back to.
        await of_mallory.get(link)
        assert (await of_mallory.get(back)).status_code == 400
        assert (await of_user.get(re.sub("state=[^&]*", "state=0", back))).status_code == 400
        done = await of_user.get(back)
        assert (done.status_code, "<h1>Signed in</h1>" in done.text) == (200, True), done.text
        assert (await of_user.get(back)).status_code == 400, "it counts once"
        with anyio.fail_after(20):
            async for line in stream.aiter_lines():
                if line.startswith("data:") and "elicitation/complete" in line:
                    break


async def test_users_call_and_sign_in_by_any_instance(
    jackfield: Command, tmp_path: Path, protected: Callable[..., Protected]
) -> None:
    needs(missing())
    file = tmp_path / "tokens.toml"
    tokens = {user: add_token(file, user, scopes=["servers:*"]).token for user in USERS}
    secrets = "".join(f'[{user}]\nweb = "web of {user}"\n' for user in USERS)
    credentials = private(tmp_path / "credentials.toml", secrets)
    server = protected()
    async with AsyncExitStack() as stack:
        web, store = (
            await stack.enter_async_context(recording()),
            await stack.enter_async_context(running_store("redis")),
        )
        jackfield.configure_user(
            web={"type": "http", "url": web.url, "credentials": {"file": str(credentials)}},
            notes={"type": "http", "url": server.url, "credentials": {"oauth": True}},
        )
        options = ("--all-tools", "--token-file", str(file))
        team = await stack.enter_async_context(
            running_team(jackfield, tmp_path / "team", store, *options, is_public=True, apart=True)
        )
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=60))
        ann, bob = clients = [Client(http, tokens[user]) for user in USERS]
        for client in clients:
            await session(client, team.url)
        await sign_in(team, ann, tokens["ann"])
        for _ in range(4):
            # At each instance it is Ann who has signed in, and nobody else.
            with anyio.fail_after(30):
                while "error" in (answer := await said(ann, team.url, "whose")):
                    await anyio.sleep(0.05)
            assert answer["result"]["content"][0]["text"] == "ada's, by Bearer access"
            assert (await said(bob, team.url, "jackfield_sign_in", server="notes"))["error"]["code"] == -32042
        # Tokens are renewed once, whichever instances want that at the same time.
        server.forget("access")

        async def whose(number: int) -> None:
            url = team.instances[number % 2].url
            answer = await said(ann, url, "whose", 100 + number)
            assert answer["result"]["content"][0]["text"] == "ada's, by Bearer access"

        async with anyio.create_task_group() as tasks:
            for number in range(8):
                tasks.start_soon(whose, number)
        assert server.log()["refreshes"] == 1
        await sign_in(team, bob, tokens["bob"])
        # They are nowhere but in the store, where nobody can read them.
        assert list(tmp_path.rglob("tokens/**/*.json")) == []
        async with Redis.from_url(store) as redis:
            kept = [await redis.dump(key) for key in await redis.keys("*") if b":s:" not in key]
            assert not any(word in (value or b"") for value in kept for word in (b"access-", b"refresh-"))
            assert await redis.hlen("jf:values:tokens") == 2

        wrong: list[str] = []
        chosen, limit = random.Random(19), anyio.CapacityLimiter(8)

        async def call(user: str, number: int, era: str) -> None:
            async with limit:
                client, given = Client(http, tokens[user]), {"name": "who", "arguments": {}}
                if era == "handshake":
                    client.session = clients[USERS.index(user)].session
                    response = await client.request(team.url, "tools/call", given, number=number)
                else:
                    response = await client.modern(team.url, "tools/call", given)
                used, known = (block["text"] for block in answer_of(response.text)["result"]["content"])
                if used != f"web of {user}" or any(token in known for token in tokens.values()):
                    wrong.append(f"{user}: {used} {known}")

        async with anyio.create_task_group() as tasks:
            for number in range(CALLS):
                tasks.start_soon(call, chosen.choice(USERS), 1000 + number, chosen.choice(("handshake", "modern")))
        assert wrong == []
        everything = b"\n".join(web.got)
        assert b"web of bob" in everything
        assert not any(token.encode() in everything for token in tokens.values()), "a server saw a client's token"
