"""Tokens are renewed on the way, once, whoever needs them: tasks, sessions, processes."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import SocketStream
from tests.auth.conftest import Protected, answering, signed_in
from tests.config.test_secrets import assert_hidden, texts
from tests.conftest import MARK, TOKEN, eventually, quick_python
from tests.daily import daily

from jackfield import AuthenticationError, JackfieldError, MCPClientSessionManager, ServerUnavailableError
from jackfield.auth.account import sign_in_status, sign_out
from jackfield.auth.bearer import BearerTransport
from jackfield.auth.credentials import Credentials
from jackfield.auth.renewal import renew
from jackfield.auth.store import CredentialStore
from jackfield.config.servers import RemoteConfig

Start = Callable[..., Protected]


async def kept(config: RemoteConfig) -> Credentials:
    credentials = await CredentialStore(config).read()
    assert credentials is not None
    return credentials


async def age(config: RemoteConfig, **changes: Any) -> None:
    """Let the stored access token be over, or change what is stored."""
    store = CredentialStore(config)
    async with store.locked():
        credentials = await kept(config)
        await store.write(replace(credentials, **(changes or {"expires_at": time.time() - 1})))


@pytest.mark.parametrize("kind", ["http", "sse"])
@pytest.mark.parametrize("how", ["over", "refused"])
async def test_a_token_is_renewed_in_the_middle_of_a_session(kind: str, how: str, protected: Start) -> None:
    server = protected(*(["--sse"] if kind == "sse" else []))
    config = server.sse_config() if kind == "sse" else server.config()
    before = await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("add_note", {"text": "a"})).data == 1
        if how == "over":
            await age(config)
        else:
            server.forget("access")
        assert (await session.call_tool("add_note", {"text": "b"})).data == 2
        assert session.generation == 1
    assert server.log()["refreshes"] == 1
    after = await kept(config)
    assert after.access_token != before.access_token
    assert after.refresh_token != before.refresh_token
    assert (after.scope, after.client) == (before.scope, before.client)


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_refusal_without_a_challenge_does_not_prove_that_a_call_was_not_executed(
    kind: str, protected: Start
) -> None:
    server = protected(*(["--sse"] if kind == "sse" else []))
    # In the newer protocol the tools may be listed again after the first call, which renews the token as well.
    config = server.sse_config() if kind == "sse" else server.config(protocol="handshake")
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("add_note", {"text": "a"})).data == 1
        server.change(challenge="none")
        server.forget("access")
        with pytest.raises(AuthenticationError, match="without a challenge") as caught:
            await session.call_tool("add_note", {"text": "b"})
        assert (caught.value.sent, caught.value.retryable) == (None, True)
        assert (await session.call_tool("add_note", {"text": "c"})).data == 2, "with a renewed token"


async def test_tokens_that_end_every_second(protected: Start) -> None:
    """No clock of the test's: the authorization server's own lifetimes."""
    server = protected("--lifetime", "1")
    await signed_in(server.config())
    async with MCPClientSessionManager().open_session(server.config()) as session:
        while server.log().get("refreshes", 0) < 3:
            assert (await session.call_tool("whose")).text.startswith("ada's")
            await anyio.sleep(0.1)
    assert "reuses" not in server.log()


async def test_many_calls_at_once_renew_once(protected: Start) -> None:
    server = protected("--slow-refresh", "0.2")
    config = server.config()
    await signed_in(config)
    async with MCPClientSessionManager() as manager:
        async with manager.open_session(config) as one, manager.open_session(config) as other:
            await age(config)
            answers: list[Any] = []

            async def call(number: int) -> None:
                session = one if number % 2 else other
                answers.append((await session.call_tool("whose")).text)

            async with anyio.create_task_group() as tasks:
                for number in range(40):
                    tasks.start_soon(call, number)
    assert len(answers) == 40
    assert server.log()["refreshes"] == 1
    assert "reuses" not in server.log()


AT_ONCE = """
import asyncio, sys, time
from jackfield import MCPClientSessionManager
from tests.auth.conftest import Protected

async def run():
    config = Protected(*sys.argv[1:3]).config()
    async with MCPClientSessionManager().open_session(config) as session:
        print("ready", flush=True)
        sys.stdin.readline()
        for _ in range(int(sys.argv[3])):
            print((await session.call_tool("whose")).text, flush=True)
            await asyncio.sleep(0.05)

asyncio.run(run())
"""


class Caller:
    """A process of its own that calls a tool of the server, when it is told to."""

    def __init__(self, server: Protected, calls: int = 1) -> None:
        command = [quick_python(), "-c", AT_ONCE, server.url, server.issuer, str(calls)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, MARK: TOKEN},
        )

    def wait_until_ready(self) -> None:
        assert self.process.stdout
        assert self.process.stdout.readline() == "ready\n", self.process.stderr and self.process.stderr.read()

    def go(self) -> None:
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()

    def end(self) -> list[str]:
        output, errors = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, errors
        return output.splitlines()


async def test_several_processes_at_once_renew_once(protected: Start) -> None:
    server = protected("--slow-refresh", "0.3")
    await signed_in(server.config())
    callers = [Caller(server) for _ in range(4)]
    for caller in callers:
        caller.wait_until_ready()
    await age(server.config())
    for caller in callers:
        caller.go()
    assert [caller.end() for caller in callers] == [["ada's, by Bearer access"]] * 4
    assert server.log()["refreshes"] == 1
    assert "reuses" not in server.log()


async def test_several_processes_for_a_while_never_use_a_refresh_token_twice(protected: Start) -> None:
    server = protected("--lifetime", "1")
    await signed_in(server.config())
    calls = daily(50, whole=500)
    callers = [Caller(server, calls) for _ in range(3)]
    for caller in callers:
        caller.wait_until_ready()
        caller.go()
    for caller in callers:
        assert len(caller.end()) == calls
    seen = server.log()
    assert seen["refreshes"] >= 2
    assert "reuses" not in seen


async def test_whoever_loses_the_race_takes_the_winners_tokens(protected: Start) -> None:
    """A session that holds old tokens is refused while another one has renewed them."""
    server = protected()
    config = server.config()
    old = await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        await session.call_tool("whose")
        # Another process, between this session's reading and its request.
        renewed = await renew(config, old)
        server.forget("access")
        await CredentialStore(config).write(replace(renewed, access_token="access-that-nobody-knows"))
        assert (await session.call_tool("whose")).text.startswith("ada's")
    assert "reuses" not in server.log()


async def test_what_the_winner_got_may_be_refused_as_well(protected: Start) -> None:
    """The tokens change between a request and its refusal, and the new ones are over by then."""
    server = protected()
    config = server.config()
    old = await signed_in(config)
    store = CredentialStore(config)

    class Late(httpx2.AsyncHTTPTransport):
        async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
            if request.headers["Authorization"].endswith(old.access_token):
                renewed = await renew(config, old)
                server.forget("access")
                await store.write(replace(renewed, access_token="access-that-nobody-knows"))
            return await super().handle_async_request(request)

    async with httpx2.AsyncClient(transport=BearerTransport(config, Late())) as client:
        answer = await client.post(config.url, json={})
    assert answer.status_code not in (401, 403), answer.text
    assert "reuses" not in server.log()


async def test_a_caller_that_is_cancelled_does_not_lose_the_new_tokens(protected: Start) -> None:
    server = protected("--slow-refresh", "0.5")
    config = server.config()
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        await age(config)
        with anyio.move_on_after(0.2) as gave_up:
            await session.call_tool("whose")
        assert gave_up.cancelled_caught
        with anyio.fail_after(10):
            while (await kept(config)).is_over:
                await anyio.sleep(0.01)
        assert (await session.call_tool("whose")).text.startswith("ada's")
    assert server.log()["refreshes"] == 1


async def test_a_process_killed_while_it_renews_leaves_no_lock(protected: Start) -> None:
    server = protected("--slow-refresh", "30")
    config = server.config()
    await signed_in(config)
    caller = Caller(server)
    caller.wait_until_ready()
    await age(config)
    caller.go()
    assert eventually(lambda: server.log().get("refreshes") == 1, 20)
    caller.process.kill()
    caller.process.communicate()
    # Its answer is lost, and with it the only refresh token: that is said, and at once.
    server.change(slow_refresh=0)
    with pytest.raises(AuthenticationError, match="has ended") as ended:
        async with MCPClientSessionManager().open_session(config):
            pass
    assert "jackfield auth notes" in str(ended.value)


async def test_a_refresh_token_that_was_revoked(protected: Start) -> None:
    server = protected()
    config = server.config()
    before = await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        server.forget("access", "refresh")
        with pytest.raises(AuthenticationError, match="has ended") as ended:
            await session.call_tool("whose")
        assert ended.value.sent is False
        assert "Run `jackfield auth notes` to sign in again." in str(ended.value)
        for secret in (before.access_token, before.refresh_token or "", before.client_secret or ""):
            assert_hidden(secret, texts(ended.value))
        assert not (await sign_in_status(config)).is_signed_in
        with pytest.raises(AuthenticationError, match="has ended"):
            await session.call_tool("whose")
        # The session itself lives on.
        await signed_in(config)
        assert (await session.call_tool("whose")).text.startswith("ada's")
        assert session.generation == 1


async def test_a_client_that_the_authorization_server_forgot(protected: Start) -> None:
    server = protected()
    config = server.config()
    await signed_in(config)
    server.forget("clients", "access")
    with pytest.raises(AuthenticationError, match="has ended"):
        async with MCPClientSessionManager().open_session(config):
            pass
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        assert await session.list_tools()


async def test_an_authorization_server_that_is_away(protected: Start) -> None:
    server = protected()
    config = server.config()
    before = await signed_in(config)
    away = {**(before.authorization_server or {}), "token_endpoint": "http://127.0.0.1:1/token"}
    now = time.time()
    # Nearly over, but not yet: the old token will do for now.
    await age(config, authorization_server=away, obtained_at=now - 100, expires_at=now + 5)
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's")
        await age(config)
        with pytest.raises(ServerUnavailableError, match=r"Renewing the tokens .* cannot be reached") as failed:
            await session.call_tool("whose")
        assert failed.value.retryable
        assert (await kept(config)).refresh_token == before.refresh_token
        await age(config, authorization_server=before.authorization_server)
        assert (await session.call_tool("whose")).text.startswith("ada's")


@pytest.mark.parametrize(
    ("status", "body", "kind", "says", "retryable"),
    [
        (500, "out of order", ServerUnavailableError, "could not be renewed: .* answered HTTP 500", True),
        (400, '{"error": "server_error"}', ServerUnavailableError, "could not be renewed: .* server_error", False),
        (200, '{"token_type": "bearer"}', AuthenticationError, "the answer has no tokens", False),
    ],
)
async def test_an_authorization_server_in_trouble_does_not_cost_the_sign_in(
    status: int, body: str, kind: type[JackfieldError], says: str, retryable: bool, protected: Start
) -> None:
    async def answer(stream: SocketStream) -> None:
        head = f"HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        await stream.send((head + body).encode())

    config = protected().config()
    before = await signed_in(config)
    async with answering(answer) as url:
        troubled = {**(before.authorization_server or {}), "token_endpoint": f"{url}/token"}
        await age(config, authorization_server=troubled, expires_at=time.time() - 1)
        with pytest.raises(kind, match=says) as failed:
            async with MCPClientSessionManager().open_session(config):
                pass
    assert failed.value.retryable is retryable
    assert (await kept(config)).refresh_token == before.refresh_token
    await age(config, authorization_server=before.authorization_server)
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's")


async def test_signing_out_where_tokens_cannot_be_revoked(protected: Start) -> None:
    config = protected().config()
    before = await signed_in(config)
    metadata = {name: url for name, url in (before.authorization_server or {}).items() if "revocation" not in name}
    await age(config, authorization_server=metadata)
    ended = await sign_out(config)
    assert (ended.was_signed_in, ended.is_revoked) == (True, False)
    assert not (await sign_out(config)).was_signed_in


async def test_a_token_without_refresh_token_is_used_until_the_server_refuses_it(protected: Start) -> None:
    server = protected()
    config = server.config()
    await signed_in(config)
    await age(config, refresh_token=None, expires_at=time.time() - 100)  # this machine's clock may be wrong
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's")
        server.forget("access")
        with pytest.raises(AuthenticationError, match="HTTP 401"):
            await session.call_tool("whose")


async def test_a_good_token_that_is_refused_is_not_renewed_for_ever(protected: Start) -> None:
    server = protected("--bad-token", "useless")
    config = server.config()
    with pytest.raises(AuthenticationError):
        await signed_in(config)
    server.change(bad_token="")
    await signed_in(config)
    server.change(bad_token="useless")
    server.forget("access")
    async with MCPClientSessionManager(max_sessions=1) as manager:
        for _ in range(3):
            with pytest.raises(AuthenticationError):
                async with manager.open_session(config, key="k"):
                    pass
    assert server.log()["refreshes"] <= 3  # one for each session, not one for each request


async def test_a_store_that_cannot_be_written_does_not_cost_the_refresh_token(
    protected: Start, state_folder: Path
) -> None:
    """A process that may write no file longer than what is there already: a full disk."""
    server = protected()
    config = server.config()
    before = await signed_in(config)
    await age(config)
    code = (
        "import resource, signal, sys, asyncio\n"
        "from jackfield import MCPClientSessionManager\n"
        "from tests.auth.conftest import Protected\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (200, 200))\n"
        "async def run():\n"
        "    async with MCPClientSessionManager().open_session(Protected(*sys.argv[1:]).config()): pass\n"
        "asyncio.run(run())\n"
    )
    ended = subprocess.run(
        # -B: no half of a compiled module is to be left behind.
        [quick_python(), "-B", "-c", code, server.url, server.issuer],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "AuthenticationError: The tokens of server 'notes' cannot be stored" in ended.stderr
    assert "refreshes" not in server.log()
    assert (await kept(config)).refresh_token == before.refresh_token
    assert [path.name for path in state_folder.iterdir() if path.suffix not in (".json", ".lock")] == []
    assert json.loads(next(state_folder.glob("*.json")).read_text())["version"] == 1
