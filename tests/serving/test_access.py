"""Who may use a served session: over two instances that share a backend."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import httpx2
import jwt
import pytest
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.lowlevel.server import Server
from mcp.server.mcpserver import MCPServer
from redis.asyncio import Redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount
from tests.serving.authorized import (
    AUDIENCE,
    INITIALIZE,
    MODERN,
    MODERN_META,
    Client,
    Gate,
    Issuer,
    Key,
    answer_of,
    guarded,
    guarded_server,
    instances,
    issuing,
    listening,
    modern_headers,
    text_of,
    until,
)
from tests.serving.contract.conftest import ENGINES, Engine
from tests.serving.redis_server import RedisServer

from jackfield.serving import BearerFile, JWTAuth, RedisBackend, open_streams, serve_sessions

# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    """What the instances of a test share."""
    return ENGINES[request.param](request)


NOT_FOUND = "Session not found: it expired, was ended, or is not yours. Initialize again."


async def test_a_session_is_its_users_on_every_instance(engine: Engine) -> None:
    async with guarded(backend=engine.backend) as made:
        two, issuer, http = made.instances, made.issuer, made.http
        here, there = two.urls
        ann = Client(http, issuer.token("ann"))
        await ann.initialize(here)
        assert json.loads(await ann.call(there, "whoami")) == ["app", "ann", ["notes:read", "notes:write"]]
        others = {
            "another user": issuer.token("bob"),
            "the same user with another client": issuer.token("ann", client_id="other"),
            "a client without a user": issuer.token("ann", sub=None),
        }
        for url in two.urls:
            for who, token in others.items():
                other = Client(http, token, ann.session)
                answers = [
                    await other.request(url, "tools/call", {"name": "whoami", "arguments": {}}),
                    await other.post(url, {"method": "notifications/initialized"}),
                    await other.post(url, {"id": "x:y", "result": {}}),
                    await http.get(url, headers=other.headers(accept="text/event-stream")),
                    await http.get(url, headers=other.headers(accept="text/event-stream", last_event_id="get/0")),
                    await http.delete(url, headers=other.headers()),
                ]
                for answer in answers:
                    assert (answer.status_code, answer.json()["error"]["message"]) == (404, NOT_FOUND), who
        assert json.loads(await ann.call(here, "whoami"))[1] == "ann"


async def test_nothing_of_a_session_can_be_changed_by_another_user(engine: Engine) -> None:
    async with guarded(backend=engine.backend) as made:
        two, issuer, http = made.instances, made.issuer, made.http
        here, there = two.urls
        ann, bob = Client(http, issuer.token("ann")), Client(http, issuer.token("bob"))
        bob.session = await ann.initialize(here)
        async with ann.stream(here) as stream, anyio.create_task_group() as tasks:
            answers: list[str] = []

            async def run(tool: str, number: int) -> None:
                answers.append(await ann.call(here, tool, number))

            tasks.start_soon(run, "wait", 5)
            await until(lambda: two.gate.running == 1)
            for url in (here, there):
                # A running id of hers: not even that it runs is said.
                refused = [
                    await bob.request(url, "tools/call", {"name": "whoami", "arguments": {}}, number=5),
                    await bob.post(url, {"method": "notifications/cancelled", "params": {"requestId": 5}}),
                    await bob.post(
                        url, {"method": "notifications/progress", "params": {"progressToken": 5, "progress": 1}}
                    ),
                    await http.get(url, headers=bob.headers(accept="text/event-stream", last_event_id="get/0")),
                    await http.delete(url, headers=bob.headers()),
                ]
                assert {answer.status_code for answer in refused} == {404}
            assert two.gate.running == 1
            assert two.gate.cancelled == 0
            host = two.served[0].host
            assert len(await host.sessions.running_on(host.instance.name)) == 1
            two.gate.opened.set()
            await until(lambda: answers == ["went on"])
            # Her stream was not taken over.
            assert ann.session is not None
            await two.served[1].notify(ann.session, "notifications/message", {"level": "info", "data": "still here"})
            async for line in stream.aiter_lines():
                if "still here" in line:
                    break


async def test_an_answer_counts_only_from_whom_was_asked(engine: Engine) -> None:
    async with guarded(backend=engine.backend) as made:
        two, issuer, http = made.instances, made.issuer, made.http
        here, there = two.urls
        ann, bob = Client(http, issuer.token("ann")), Client(http, issuer.token("bob"))
        await ann.initialize(here)
        own = await bob.initialize(there)
        body = {"id": 1, "jsonrpc": "2.0", "method": "tools/call", "params": {"name": "ask", "arguments": {}}}
        async with http.stream("POST", here, json=body, headers=ann.headers()) as response:
            lines = response.aiter_lines()
            async for line in lines:
                if line.startswith("data: {"):
                    asked = json.loads(line[6:])["id"]
                    break
            forged = {"id": asked, "result": {"action": "accept", "content": {"city": "Mordor"}}}
            assert (await bob.post(there, forged)).status_code == 202  # in bob's own session nobody asked
            bob.session = ann.session
            assert (await bob.post(here, forged)).status_code == 404
            assert (await bob.post(there, forged)).status_code == 404
            real = {"id": asked, "result": {"action": "accept", "content": {"city": "Riga"}}}
            assert (await ann.post(there, real)).status_code == 202
            rest = [line async for line in lines]
        assert text_of(answer_of("\n".join(rest))) == "accept: Riga"
        bob.session = own
        assert json.loads(await bob.call(here, "whoami"))[1] == "bob"


async def test_without_a_good_token_there_is_a_challenge() -> None:
    async with guarded() as made:
        two, issuer, http = made.instances, made.issuer, made.http
        ann = Client(http, issuer.token("ann"))
        await ann.initialize(two.urls[0])
        for url in two.urls:
            for token in (None, "eve", issuer.token("ann")[:-8] + "AAAAAAAA"):
                eve = Client(http, token, ann.session)
                for answer in (
                    await eve.request(url, "tools/call", {"name": "whoami", "arguments": {}}),
                    await eve.request(url, "initialize", INITIALIZE),
                    await eve.request(url, "tools/list", mcp_protocol_version=MODERN, mcp_method="tools/list"),
                    await http.get(url, headers=eve.headers()),
                    await http.delete(url, headers=eve.headers()),
                ):
                    assert answer.status_code == 401
                    challenge = answer.headers["www-authenticate"]
                    where = 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'
                    assert challenge.startswith("Bearer ")
                    assert where in challenge
        assert json.loads(await ann.call(two.urls[1], "whoami"))[1] == "ann"


def _unsigned(claims: dict[str, Any]) -> str:
    parts = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
        for part in ({"alg": "none", "typ": "JWT", "kid": "first"}, claims)
    ]
    return ".".join([*parts, ""])


def _confused(issuer: Issuer) -> str:
    """Signed by HMAC, with the public key as the secret."""
    import hashlib
    import hmac

    header = {"alg": "HS256", "typ": "JWT", "kid": "first"}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (header, issuer.claims())]
    signature = hmac.new(issuer.key.public_pem, b".".join(parts), hashlib.sha256).digest()
    return b".".join([*parts, base64.urlsafe_b64encode(signature).rstrip(b"=")]).decode()


def _bad_tokens(issuer: Issuer) -> dict[str, str]:
    now = int(time.time())
    return {
        "another audience": issuer.token(aud="https://other.example.com/mcp"),
        "no audience": issuer.token(aud=None),
        "another issuer": issuer.token(iss="https://evil.example.com"),
        "no issuer": issuer.token(iss=None),
        "the issuer with a slash": issuer.token(iss=issuer.url + "/"),
        "expired": issuer.token(exp=now - 60),
        "without an end": issuer.token(exp=None),
        "not valid yet": issuer.token(nbf=now + 60),
        "issued in the future": issuer.token(iat=now + 600),
        "alg none": _unsigned(issuer.claims()),
        "signed with the public key": _confused(issuer),
        "key unknown": issuer.token(key=Key("second")),
        "key of another, under a known name": issuer.token(key=Key("first")),
        "neither user nor client": issuer.token(sub=None, client_id=None),
        "the user is no text": jwt.encode(
            {**issuer.claims(), "sub": "x", "client_id": ["app"]}, issuer.key.private, "ES256", {"kid": "first"}
        ),
    }


async def test_tokens_that_are_not_for_this_server_are_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with guarded() as made:
        two, issuer, http = made.instances, made.issuer, made.http
        caplog.set_level(logging.DEBUG)
        ann = Client(http, issuer.token("ann"))
        await ann.initialize(two.urls[0])
        bad = _bad_tokens(issuer)
        for url in two.urls:
            for why, token in bad.items():
                answer = await Client(http, token, ann.session).request(url, "ping")
                assert answer.status_code == 401, why
        for token in [*bad.values(), ann.token]:
            assert token
            assert token not in caplog.text
            assert token.split(".")[1] not in caplog.text


async def test_the_scopes_of_the_current_token_count() -> None:
    async with guarded() as made:
        two, issuer, http = made.instances, made.issuer, made.http
        ann = Client(http, issuer.token("ann", scope="notes:read notes:write"))
        await ann.initialize(two.urls[0])
        ann.token = issuer.token("ann", scope="notes:read")
        for url in two.urls:
            assert json.loads(await ann.call(url, "whoami"))[2] == ["notes:read"]
        ann.token = issuer.token("ann", scope=None, scp=["admin"])
        assert json.loads(await ann.call(two.urls[1], "whoami"))[2] == ["admin"]


async def test_required_scopes_are_asked_for_by_name() -> None:
    async with guarded(1, required_scopes=["notes:read", "notes:write"]) as one:
        [url], ann = one.urls, one.client()
        await ann.initialize(url)
        ann.token = one.issuer.token("ann", scope="notes:read")
        lacking = await ann.request(url, "ping")
        assert lacking.status_code == 403
        for part in ('error="insufficient_scope"', 'scope="notes:read notes:write"', "resource_metadata="):
            assert part in lacking.headers["www-authenticate"]
        nobody = await Client(one.http, None).request(url, "ping")
        assert 'scope="notes:read notes:write"' in nobody.headers["www-authenticate"]


async def test_clients_learn_who_issues_tokens() -> None:
    async with guarded(1, required_scopes=["notes:read"]) as one:
        base = one.urls[0].removesuffix("/mcp") + "/.well-known/oauth-protected-resource"
        for url in (base + "/mcp", base):
            answer = await one.http.get(url)
            assert answer.status_code == 200
            said = answer.json()
            assert said["resource"] == AUDIENCE
            assert said["authorization_servers"] == [one.issuer.url]
            assert said["scopes_supported"] == ["notes:read"]
        assert [route.path for route in one.instances.served[0].well_known_routes] == [  # type: ignore[attr-defined]
            "/.well-known/oauth-protected-resource/mcp",
            "/.well-known/oauth-protected-resource",
        ]


async def test_stateless_servers_and_the_newer_protocol_check_tokens_too() -> None:
    for stateless in (True, False):
        async with guarded(1, stateless=stateless) as one:
            [url], ann, eve = one.urls, one.client(), Client(one.http, "eve")
            answer = await ann.modern(url, "tools/call", {"name": "whoami", "arguments": {}})
            assert json.loads(text_of(answer_of(answer.text)))[1] == "ann", answer.text
            refused = await eve.modern(url, "tools/call", {"name": "whoami", "arguments": {}})
            assert refused.status_code == 401
            if stateless:
                plain = {"name": "whoami", "arguments": {}}
                answer = await ann.request(url, "tools/call", plain)
                assert json.loads(text_of(answer_of(answer.text)))[1] == "ann"
                assert (await eve.request(url, "tools/call", plain)).status_code == 401


class Two:
    """A verifier of the SDK's kind, which may be out of order."""

    def __init__(self) -> None:
        self.failure: Exception | None = None

    async def verify_token(self, token: str) -> AccessToken | None:
        if self.failure is not None:
            raise self.failure
        known = {"ann-token-of-the-test": "ann", "bob-token-of-the-test": "bob"}
        subject = known.get(token)
        return None if subject is None else AccessToken(token=token, client_id="app", scopes=[], subject=subject)


async def test_a_server_with_auth_settings_of_its_own_keeps_them() -> None:
    verifier = Two()

    def make(gate: Gate) -> MCPServer[Any]:
        settings = AuthSettings.model_validate(
            {
                "issuer_url": "https://auth.example.com",
                "resource_server_url": "https://mcp.example.com/mcp",
                "required_scopes": [],
                "validate_token_resource": False,
            }
        )
        server: MCPServer[Any] = MCPServer("own", auth=settings, token_verifier=verifier, log_level="ERROR")

        @server.tool()
        async def hello() -> str:
            return "hello"

        @server.custom_route("/health", ["GET"])
        async def health(request: Request) -> Response:
            return Response(type(request.user).__name__)

        return server

    async with httpx2.AsyncClient() as http, instances(2, server=make) as both:
        here, there = both.urls
        ann, bob = Client(http, "ann-token-of-the-test"), Client(http, "bob-token-of-the-test")
        bob.session = await ann.initialize(here)
        assert await ann.call(there, "hello") == "hello"
        assert (await bob.request(there, "ping")).status_code == 404
        assert (await Client(http, "eve", ann.session).request(there, "ping")).status_code == 401
        metadata = await http.get(here.removesuffix("/mcp") + "/.well-known/oauth-protected-resource/mcp")
        assert metadata.json()["authorization_servers"] == ["https://auth.example.com"]
        # Routes of the author's own need no token, but learn whose it is.
        health = here.removesuffix("/mcp") + "/health"
        assert (await http.get(health)).text == "UnauthenticatedUser"
        assert (await http.get(health, headers=ann.headers())).text == "AuthenticatedUser"
        verifier.failure = OSError("away")
        assert (await http.get(health, headers=ann.headers())).status_code == 200
        assert (await ann.request(here, "ping")).status_code == 503
        verifier.failure = None
    with pytest.raises(ValueError, match="The server was created with its own `auth` settings: omit `auth`"):
        serve_sessions(make(Gate()), auth=verifier)


async def test_a_verifier_that_fails_refuses_nobody_and_shows_no_token(
    caplog: pytest.LogCaptureFixture,
) -> None:
    verifier = Two()
    async with httpx2.AsyncClient() as http, instances(1, auth=verifier) as one:
        [url] = one.urls
        ann = Client(http, "ann-token-of-the-test")
        await ann.initialize(url)
        verifier.failure = RuntimeError("introspection(ann-token-of-the-test) failed")
        answer = await ann.request(url, "ping")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "with the same token" in answer.json()["error"]["message"]
        assert "introspection(**********) failed" in caplog.text
        assert "ann-token-of-the-test" not in caplog.text + answer.text
        verifier.failure = None
        assert (await ann.request(url, "ping")).status_code == 200


async def test_keys_that_cannot_be_fetched_are_no_reason_to_sign_in_again() -> None:
    async with guarded(1) as one:
        one.issuer.is_down = True
        answer = await one.client().request(one.urls[0], "initialize", INITIALIZE)
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert "www-authenticate" not in answer.headers
        # A client without any token is asked for one as ever.
        assert (await Client(one.http, None).request(one.urls[0], "initialize", INITIALIZE)).status_code == 401


def test_clients_of_other_machines_need_a_check() -> None:
    for hosts in (["mcp.example.com"], ["*"], ["localhost", "10.0.0.7:*"]):
        for stateless in (False, True):
            with pytest.raises(ValueError, match=r"does not authenticate them\. Give `auth`"):
                serve_sessions(Server("open"), allowed_hosts=hosts, stateless=stateless)
        serve_sessions(Server("open"), allowed_hosts=hosts, auth="none")
    serve_sessions(Server("open"), allowed_hosts=["localhost:8000", "127.0.0.1:*", "[::1]", "[::1]:9000"])
    with pytest.raises(
        TypeError, match="`auth` must be a JWTAuth, a BearerFile, a TokenVerifier of the SDK, or 'none'"
    ):
        serve_sessions(Server("open"), auth="jwt")  # type: ignore[arg-type]


async def test_refused_hosts_and_origins_name_the_setting() -> None:
    async with httpx2.AsyncClient() as http, instances(1) as one:
        [url] = one.urls
        for headers in ({}, {"mcp_protocol_version": MODERN, "mcp_method": "ping"}):
            answer = await Client(http, None).request(url, "ping", host="mcp.example.com", **headers)
            assert answer.status_code == 421
            assert answer.json()["error"]["message"] == (
                "Nothing was run: this server does not accept the Host header 'mcp.example.com'. Its operator can add "
                "it to the `allowed_hosts` of `serve_sessions`."
            )
            answer = await Client(http, None).request(url, "ping", origin="https://evil.example", **headers)
            assert answer.status_code == 403
            assert "`allowed_origins`" in answer.json()["error"]["message"]
    options = {"allowed_hosts": ["*"], "allowed_origins": ["https://app.example"], "auth": "none"}
    async with httpx2.AsyncClient() as http, instances(1, **options) as one:
        [url] = one.urls
        client = Client(http, None)
        assert (await client.request(url, "initialize", INITIALIZE, host="any.example")).status_code == 200
        for origin, status in (("https://app.example", 200), ("https://evil.example", 403)):
            answer = await client.request(url, "initialize", INITIALIZE, host="any.example", origin=origin)
            assert answer.status_code == status


async def test_records_hold_no_token(engine: Engine) -> None:
    async with guarded(2, backend=engine.backend) as made:
        ann = made.client()
        session = await ann.initialize(made.urls[0])
        await ann.call(made.urls[1], "whoami")
        host = made.instances.served[0].host
        kept = repr(await engine.contents()) + repr([await host.sessions.live(), vars(host), vars(host.instance)])
        if engine.program == "":
            kept += repr([vars(store) for store in (engine.backend().sessions, engine.backend().streams)])
        assert session in kept
        assert ann.token
        assert ann.token not in kept


async def test_nothing_that_is_written_to_redis_holds_a_token(redis_server: RedisServer) -> None:
    written: list[str] = []

    async def record(started: anyio.Event) -> None:
        async with Redis.from_url(redis_server.url) as client, client.monitor() as monitor:
            started.set()
            async for command in monitor.listen():
                written.append(str(command))  # noqa: PERF401 - it is looked at meanwhile

    def backend() -> RedisBackend:
        return RedisBackend(redis_server.url, prefix="recorded")

    async with guarded(2, backend=backend) as made, anyio.create_task_group() as tasks:
        started = anyio.Event()
        tasks.start_soon(record, started)
        await started.wait()
        ann = made.client()
        session = await ann.initialize(made.urls[0])
        await ann.call(made.urls[1], "whoami")
        async with ann.stream(made.urls[0]):
            made.instances.gate.opened.set()
            await ann.call(made.urls[1], "wait", 2)
        await until(lambda: sum(session in command for command in written) > 5)
        tasks.cancel_scope.cancel()
        assert ann.token
        assert not [command for command in written if ann.token in command or ann.token.split(".")[2] in command]


async def test_a_file_of_tokens_decides_at_each_request(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.touch(0o600)

    def write(*subjects: str) -> None:
        file.write_text("".join(f'[[tokens]]\nsubject = "{one}"\ntoken = "{one * 8}"\n' for one in subjects))

    write("ann", "bob")
    async with httpx2.AsyncClient(timeout=30) as http, instances(2, auth=BearerFile(file)) as two:
        here, there = two.urls
        ann, bob = Client(http, "ann" * 8), Client(http, "bob" * 8)
        bob.session = await ann.initialize(here)
        assert json.loads(await ann.call(there, "whoami"))[:2] == ["ann", "ann"]
        assert (await bob.request(there, "ping")).status_code == 404
        # There is no authorization server to send clients to.
        refused = await Client(http, "eve").request(here, "ping")
        assert "resource_metadata" not in refused.headers["www-authenticate"]
        write("bob")
        assert (await ann.request(there, "ping")).status_code == 401
        write("bob", "ann", "ann")
        assert (await ann.request(there, "ping")).status_code == 503
        write("bob", "ann")
        assert json.loads(await ann.call(there, "whoami"))[1] == "ann"
        await two.assert_idle()


async def test_open_streams_end_with_their_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One whose token was removed, has expired or has lost a scope hears nothing more, in both eras."""
    monkeypatch.setattr(open_streams, "CHECK_SECONDS", 0.1)
    file, users = tmp_path / "tokens.toml", ("sue", "ann", "bob", "eve", "kim")
    file.touch(0o600)

    def write(entries: dict[str, str]) -> None:
        file.write_text(
            "".join(f'[[tokens]]\nsubject = "{one}"\ntoken = "{one * 8}"\n{more}\n' for one, more in entries.items())
        )

    scopes = 'scopes = ["a", "b"]'
    soon = datetime.now(UTC) + timedelta(seconds=5)
    write({**dict.fromkeys(users, scopes), "sue": f"{scopes}\nexpires = {soon.isoformat()}"})
    ended: list[str] = []
    opened: list[str] = []
    async with httpx2.AsyncClient(timeout=30) as http, instances(1, auth=BearerFile(file)) as one:
        [url] = one.urls

        async def read(name: str, response: Any) -> None:
            async with response as stream:
                assert stream.status_code == 200
                opened.append(name)
                with contextlib.suppress(httpx2.RemoteProtocolError):
                    async for _ in stream.aiter_bytes():
                        pass
            ended.append(name)

        async with anyio.create_task_group() as tasks:
            for user in users:
                client = Client(http, user * 8)
                await client.initialize(url)
                tasks.start_soon(read, f"{user} legacy", client.stream(url))
                listen = {"notifications": {"toolsListChanged": True}, "_meta": MODERN_META}
                body = {"jsonrpc": "2.0", "id": 1, "method": "subscriptions/listen", "params": listen}
                headers = Client(http, user * 8).headers(**modern_headers("subscriptions/listen"))
                tasks.start_soon(read, f"{user} modern", http.stream("POST", url, json=body, headers=headers))
            await until(lambda: len(opened) == 10)
            file.write_text("this is no TOML [")
            await until(lambda: len(ended) == 2)
            assert {name.split()[0] for name in ended} == {"sue"}, "of the other tokens nothing is known"
            write({"kim": scopes, "bob": 'scopes = ["a"]', "eve": f"{scopes}\nexpires = 2020-01-01T00:00:00Z"})
            await until(lambda: len(ended) == 8)
            await anyio.sleep(0.5)
            assert {name.split()[0] for name in ended} == {"ann", "bob", "eve", "sue"}
            tasks.cancel_scope.cancel()


async def test_a_mounted_server_is_guarded_and_found() -> None:
    async with issuing() as issuer, httpx2.AsyncClient(timeout=30) as http:
        audience = "https://mcp.example.com/tools/mcp"
        served = serve_sessions(guarded_server(Gate()), auth=JWTAuth(issuer=issuer.url, audience=audience))
        outer = Starlette(routes=[*served.well_known_routes, Mount("/tools", served)], lifespan=served.lifespan)
        async with listening(outer) as base:
            url = base + "/tools/mcp"
            refused = await Client(http, None).request(url, "ping")
            challenge = refused.headers["www-authenticate"]
            path = "/.well-known/oauth-protected-resource/tools/mcp"
            assert f'resource_metadata="https://mcp.example.com{path}"' in challenge
            assert (await http.get(base + path)).json()["resource"] == audience
            ann = Client(http, issuer.token("ann", aud=audience))
            await ann.initialize(url)
            assert json.loads(await ann.call(url, "whoami"))[1] == "ann"
