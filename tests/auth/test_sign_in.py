"""Signing in: a real authorization server, a real protected MCP server, and a browser that follows redirects."""

from __future__ import annotations

import logging
import random
import socket
import stat
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import anyio
import httpx2
import pytest
from benchmarks.fuzzing.leaks import Exits, Secrets
from tests.auth.conftest import Protected, browse, redirect_of, signed_in, status_of
from tests.config.test_secrets import assert_hidden, texts
from tests.conftest import Listening, quick_python

from jackfield import (
    AuthenticationError,
    ConfigError,
    HttpConfig,
    MCPClientSessionManager,
    ServerUnavailableError,
    SessionTimeoutError,
)
from jackfield.auth.account import sign_in_status, sign_out
from jackfield.auth.credentials import Credentials
from jackfield.auth.sign_in import sign_in
from jackfield.auth.store import CredentialStore

Start = Callable[..., Protected]


def secrets_of(credentials: Credentials) -> list[str]:
    found = (credentials.access_token, credentials.refresh_token, credentials.client_secret)
    return [secret for secret in found if secret]


# The whole way


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_from_no_tokens_to_a_call(
    kind: str, protected: Start, state_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = protected(*(["--sse"] if kind == "sse" else []))
    config = server.sse_config() if kind == "sse" else server.config()
    events: list[Any] = []
    manager = MCPClientSessionManager(on_event=events.append)
    with pytest.raises(AuthenticationError) as refused:
        async with manager.open_session(config):
            pass
    assert "jackfield auth notes" in str(refused.value)
    assert refused.value.sent is False

    credentials = await signed_in(config)
    async with manager.open_session(config) as session:
        assert (await session.call_tool("whose")).text == "ada's, by Bearer access"

    seen = server.log()
    assert (seen["registrations"], seen["authorizations"], seen["clients"]) == (1, 1, 1)
    [asked] = seen["asked"]
    assert asked["scopes"] == ["notes:read"]  # what the server's challenge or metadata names
    assert asked["resource"] == config.url
    assert len(asked["code_challenge"]) == 43
    redirect = urlsplit(asked["redirect_uri"])
    assert (redirect.scheme, redirect.hostname, redirect.path) == ("http", "127.0.0.1", "/callback")
    assert redirect.port

    [kept] = state_folder.glob("*.json")
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(state_folder.stat().st_mode) == 0o700
    assert credentials.access_token in kept.read_text()  # there is no keyring here
    lines = [record.getMessage() for record in caplog.records]
    for secret in secrets_of(credentials):
        assert_hidden(
            secret, [repr(credentials), repr(events), repr(manager), *lines, repr(await sign_in_status(config))]
        )
    assert_hidden(asked["state"], lines)


@pytest.mark.parametrize("fails", ["refused", "useless", "renewal"])
async def test_no_token_or_code_comes_out_of_what_fails(
    fails: str, protected: Start, state_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server = protected("--client", "known:client-s3cret", *(["--bad-token", fails] if fails != "renewal" else []))
    config = server.config(auth={"client_id": "known", "client_secret": "client-s3cret"})
    secrets, exits = Secrets(random.Random(5)), Exits()
    secrets.values["client secret"] = "client-s3cret"

    async def catch(url: str) -> None:
        back = await redirect_of(url)
        secrets.values["code"] = parse_qs(urlsplit(back).query)["code"][0]
        await status_of(back)

    async def use() -> None:
        credentials = await sign_in(config, show_url=catch, sign_in_timeout=20)
        secrets.values |= {f"token {number}": text for number, text in enumerate(secrets_of(credentials))}
        server.forget("access", "refresh")
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool("whose")

    with pytest.raises(AuthenticationError) as caught:
        await use()
    exits.add_error(caught.value)
    for record in caplog.records:
        exits.add(record.name, f"{logging.Formatter().format(record)} {record.args!r}")
    assert "code" in secrets.values
    assert not list(exits.leaks(fails, secrets))


ON_TRIO = """
import sys, anyio
from jackfield import MCPClientSessionManager
from tests.auth.conftest import Protected, signed_in

async def run():
    server = Protected(*sys.argv[1:])
    await signed_in(server.config())
    async with MCPClientSessionManager().open_session(server.config()) as session:
        server.forget("access")
        print((await session.call_tool("whose")).text)

anyio.run(run, backend="trio")
"""


def test_on_trio_as_well(protected: Start) -> None:
    # In a process of its own: trio keeps its threads for a while.
    server = protected()
    command = [quick_python(), "-c", ON_TRIO, server.url, server.issuer]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.stdout.strip(), ended.returncode) == ("ada's, by Bearer access", 0), ended.stderr
    assert server.log()["refreshes"] == 1


async def test_the_name_does_not_matter_but_the_address_does(protected: Start) -> None:
    server = protected()
    await signed_in(server.config("one"))
    async with MCPClientSessionManager().open_session(server.config("another")) as session:
        assert await session.list_tools()
    with pytest.raises(AuthenticationError):
        async with MCPClientSessionManager().open_session(server.config(headers={"Authorization": "Bearer no"})):
            pass
    with pytest.raises(AuthenticationError):
        async with MCPClientSessionManager().open_session(server.config(auth="none")):
            pass


async def test_the_verifier_is_what_the_challenge_was_made_of(protected: Start) -> None:
    """PKCE: whoever catches the code cannot use it."""
    server = protected("--client", "public")
    caught: dict[str, str] = {}

    async def catch(url: str) -> None:
        back = await redirect_of(url)
        caught.update(parse_qsl(urlsplit(back).query))
        query = parse_qs(urlsplit(url).query)
        form = {
            "grant_type": "authorization_code",
            "client_id": query["client_id"][0],
            "redirect_uri": query["redirect_uri"][0],
            "code": caught["code"],
            "code_verifier": "a" * 64,
        }
        async with httpx2.AsyncClient() as thief:
            caught["refused"] = (await thief.post(f"{server.issuer}/token", data=form)).text
        await browse(back)

    await sign_in(server.config(auth={"client_id": "public"}), show_url=catch, sign_in_timeout=20)
    assert "incorrect code_verifier" in caught["refused"]


# Clients


async def test_configured_scopes_are_asked_for_as_well(protected: Start) -> None:
    server = protected()
    credentials = await signed_in(server.config(auth={"scopes": ["notes:write"]}))
    assert sorted(server.log()["asked"][0]["scopes"]) == ["notes:read", "notes:write"]
    credentials = replace(credentials, scope=" ".join(sorted((credentials.scope or "").split())))
    assert credentials.scope == "notes:read notes:write"


@pytest.mark.parametrize("client", ["known", "known:s3cret-of-the-client"])
async def test_a_client_that_was_registered_by_hand(client: str, protected: Start) -> None:
    server = protected("--client", client)
    client_id, _, secret = client.partition(":")
    config = server.config(auth={"client_id": client_id, "client_secret": secret or None})
    credentials = await signed_in(config)
    assert "registrations" not in server.log()
    assert server.log()["asked"][0]["client_id"] == "known"
    async with MCPClientSessionManager().open_session(config) as session:
        server.forget("access")
        assert (await session.call_tool("whose")).text.startswith("ada's")
    assert server.log()["refreshes"] == 1
    assert "s3cret" not in repr(credentials)
    with pytest.raises(AuthenticationError):  # another client's tokens
        async with MCPClientSessionManager().open_session(server.config()):
            pass


async def test_a_client_metadata_document_takes_the_place_of_a_registration(protected: Start) -> None:
    server = protected("--documents", "--no-registration")
    document = "https://agents.example/jackfield.json"
    config = server.config(auth={"client_metadata_url": document})
    await signed_in(config)
    assert server.log()["asked"][0]["client_id"] == document
    async with MCPClientSessionManager().open_session(config) as session:
        server.forget("access")
        assert (await session.call_tool("whose")).text.startswith("ada's")


async def test_a_fixed_redirect_port(protected: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = protected()
    await signed_in(server.config(auth={"redirect_uri": f"http://127.0.0.1:{port}/back"}))
    assert server.log()["asked"][0]["redirect_uri"] == f"http://127.0.0.1:{port}/back"


async def test_headers_of_the_configuration_open_the_gateway_and_stay_at_this_server(protected: Start) -> None:
    server = protected("--header", "X-Gate=1")
    await signed_in(server.config(headers={"X-Gate": "1"}))
    with pytest.raises(ServerUnavailableError, match="HTTP 403"):
        await signed_in(server.config())


async def test_an_issuer_in_the_redirect_may_be_right(protected: Start) -> None:
    await signed_in(protected("--iss", "right").config())


@pytest.mark.parametrize("issuer", ["/oauth", "/", "https://evil.example"])
@pytest.mark.parametrize("says_who_it_is", [True, False])
async def test_a_server_that_is_its_own_authorization_server_may_be_called_by_an_address_below_its_own(
    issuer: str, says_who_it_is: bool, protected: Start
) -> None:
    server = protected("--legacy", issuer, *(["--iss", "right"] if says_who_it_is else []))
    if "evil" in issuer:
        with pytest.raises(AuthenticationError, match=r"evil\.example"):
            await signed_in(server.config())
        assert server.log()["clients"] == 0
        return
    await signed_in(server.config())
    async with MCPClientSessionManager().open_session(server.config()) as session:
        assert (await session.call_tool("add_note", {"text": "a"})).data == 1
        server.forget("access")
        assert (await session.call_tool("add_note", {"text": "b"})).data == 2


async def test_a_server_that_leads_to_another_path_of_its_own(protected: Start) -> None:
    server = protected()
    config = server.config()
    elsewhere = HttpConfig(server_name="notes", url=f"{server.url}/", session=config.session)
    await signed_in(elsewhere)
    async with MCPClientSessionManager().open_session(elsewhere) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's")


@pytest.mark.parametrize("at_first", ["welcome", "broken"])
async def test_a_server_that_asks_for_no_token_at_first_may_still_say_where_to_get_one(
    at_first: str, protected: Start
) -> None:
    config = protected("--at-first", at_first).config()
    await signed_in(config)
    async with MCPClientSessionManager().open_session(config) as session:
        assert (await session.call_tool("whose")).text.startswith("ada's")


async def test_a_server_in_trouble_says_nothing_of_how_to_sign_in(protected: Start) -> None:
    config = protected("--at-first", "broken", "--open").config()
    with pytest.raises(ServerUnavailableError, match="answered HTTP 500, and does not say how to sign in") as failed:
        await signed_in(config)
    assert failed.value.retryable


# What goes wrong


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--deny"], "access_denied: the person said no"),
        (["--iss", "wrong"], "iss mismatch"),
        (["--iss", "missing"], "missing iss"),
        (["--metadata", "other-issuer"], "issuer mismatch"),
        (["--metadata", "other-resource"], "does not match"),
        (["--metadata", "no-pkce"], "PKCE"),
        (["--metadata", "none"], "does not offer OAuth"),
        (["--no-registration"], "does not let this client register itself"),
        (["--bad-token", "refused"], "invalid_grant: no such code"),
        (["--bad-token", "shape"], "no tokens"),
        (["--bad-token", "useless"], "does not accept the token"),
        (["--open"], "does not require a sign-in"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
async def test_a_sign_in_that_fails_says_why_keeps_nothing_and_shows_no_secret(
    options: list[str],
    says: str,
    protected: Start,
    state_folder: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    server = protected(*options)
    redirected: list[str] = []

    async def watched(url: str) -> None:
        redirected.append(await redirect_of(url))
        await browse(redirected[0])

    with pytest.raises(AuthenticationError, match=says) as failed:
        await sign_in(server.config(), show_url=watched, sign_in_timeout=20)
    assert failed.value.hint
    assert failed.value.sent is False
    assert not list(state_folder.glob("*.json"))
    shown = [*texts(failed.value), *(record.getMessage() for record in caplog.records), *capfd.readouterr()]
    for secret in (
        "refresh-in-a-bad-shape",
        *(parse_qs(urlsplit(url).query).get("code", [""])[0] for url in redirected),
    ):
        if secret:
            assert_hidden(secret, shown)
    assert not any("Traceback" in text for text in shown)


async def test_a_server_without_oauth_is_not_signed_in_to(listening: Callable[..., Listening]) -> None:
    server = listening("everything.py", "streamable-http")
    with pytest.raises(AuthenticationError, match="does not require a sign-in"):
        await signed_in(server.http())


async def test_a_server_that_is_not_there(protected: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(ServerUnavailableError, match="cannot be reached") as failed:
        await signed_in(HttpConfig(server_name="gone", url=f"http://127.0.0.1:{port}/mcp?key=s3cret"))
    assert "s3cret" not in str(failed.value)


@pytest.mark.parametrize("more", [{"headers": {"Authorization": "Bearer x"}}, {"auth": "none"}])
async def test_a_configuration_with_another_way_in(more: dict[str, Any], protected: Start) -> None:
    with pytest.raises(ConfigError, match="would not use a sign-in"):
        await signed_in(protected().config(**more))


async def test_a_redirect_that_is_not_of_this_sign_in_is_ignored(protected: Start) -> None:
    server, notices, pages = protected(), [], []

    async def attacked(url: str) -> None:
        back = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        for query in ({"code": "theirs", "state": "theirs"}, {"error": "access_denied"}, {"code": "theirs"}):
            pages.append(await status_of(f"{back}?{urlencode(query)}"))  # noqa: PERF401
        await browse(url)

    await sign_in(server.config(), show_url=attacked, on_notice=notices.append, sign_in_timeout=20)
    assert pages == [400, 400, 400]
    assert notices == ["A redirect that does not belong to this sign-in was ignored."] * 3


async def test_nobody_signs_in(protected: Start) -> None:
    async def look_away(url: str) -> None:
        pass

    with pytest.raises(SessionTimeoutError, match=r"not completed within 0\.1 s"):
        await sign_in(protected().config(), show_url=look_away, sign_in_timeout=0.1)


async def test_a_port_that_is_taken(protected: Start) -> None:
    server = protected()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = server.config(auth={"redirect_uri": f"http://127.0.0.1:{taken.getsockname()[1]}/callback"})
        with pytest.raises(AuthenticationError, match=r"redirect_uri .* cannot be used"):
            await signed_in(config)


async def test_a_sign_in_that_is_cancelled_leaves_nothing(protected: Start, state_folder: Path) -> None:
    shown = anyio.Event()

    async def look_away(url: str) -> None:
        shown.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(lambda: sign_in(protected().config(), show_url=look_away))
        await shown.wait()
        tasks.cancel_scope.cancel()
    assert not list(state_folder.glob("*.json"))


async def test_a_folder_that_cannot_be_written_is_told_before_anybody_signs_in(
    protected: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "file"))
    server = protected()
    with pytest.raises(AuthenticationError, match="cannot be stored"):
        await signed_in(server.config())
    assert server.log()["asked"] == []


# By hand: the browser is on another machine


class Pasting:
    """A person who opens the page elsewhere and pastes what `answers` makes of the redirect."""

    def __init__(self, *answers: Callable[[str], str | None]) -> None:
        self.answers = list(answers)
        self.redirect = ""
        self.opened = anyio.Event()

    async def show(self, url: str) -> None:
        self.redirect = await redirect_of(url)
        self.opened.set()

    async def paste(self) -> str | None:
        await self.opened.wait()
        return self.answers.pop(0)(self.redirect) if self.answers else None


async def test_the_address_can_be_pasted(protected: Start) -> None:
    server, notices = protected(), []
    person = Pasting(
        lambda url: "what?",
        lambda url: "",
        lambda url: "http://127.0.0.1:1/callback?code=old&state=old",
        lambda url: f"  {url}\n",
    )
    await sign_in(
        server.config(), show_url=person.show, paste=person.paste, on_notice=notices.append, sign_in_timeout=20
    )
    assert [notice.split(":")[0] for notice in notices] == [
        "This is not the address",
        "This address belongs to another sign-in. Paste the one of the page opened just now.",
    ]


async def test_the_browser_may_still_come_by_itself_where_pasting_is_possible(protected: Start) -> None:
    async def never() -> str | None:
        await anyio.sleep_forever()
        return None

    await sign_in(protected().config(), show_url=browse, paste=never, sign_in_timeout=20)


async def test_pasting_works_where_the_port_is_taken(protected: Start) -> None:
    server, notices = protected(), []
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = server.config(auth={"redirect_uri": f"http://127.0.0.1:{taken.getsockname()[1]}/callback"})
        person = Pasting(lambda url: url)
        await sign_in(config, show_url=person.show, paste=person.paste, on_notice=notices.append, sign_in_timeout=20)
        assert "cannot be received here" in notices[0]
        nobody = Pasting()
        with pytest.raises(AuthenticationError, match="no address was pasted"):
            await sign_in(config, show_url=nobody.show, paste=nobody.paste, sign_in_timeout=20)


async def test_a_denial_can_be_pasted_as_well(protected: Start) -> None:
    person = Pasting(lambda url: url)
    with pytest.raises(AuthenticationError, match="access_denied"):
        await sign_in(protected("--deny").config(), show_url=person.show, paste=person.paste, sign_in_timeout=20)


# Status and the end


async def test_status_and_signing_out(protected: Start, state_folder: Path) -> None:
    server = protected()
    config = server.config()
    assert not (await sign_in_status(config)).is_signed_in
    assert not (await sign_out(config)).was_signed_in
    await signed_in(config)
    status = await sign_in_status(config)
    assert status.is_signed_in
    assert status.is_renewable
    assert status.expires_at
    assert (status.scope, status.issuer) == ("notes:read", server.issuer)
    assert status.kept_in == str(next(state_folder.glob("*.json")))

    async with MCPClientSessionManager().open_session(config) as session:
        ended = await sign_out(config)
        assert (ended.was_signed_in, ended.is_revoked) == (True, True)
        assert server.log()["revocations"] == 1
        with pytest.raises(AuthenticationError):
            await session.call_tool("whose")
        await signed_in(config)
        assert (await session.call_tool("whose")).text.startswith("ada's")
    assert not [path for path in state_folder.iterdir() if path.suffix not in (".json", ".lock")]


async def test_signing_out_where_the_authorization_server_is_gone(protected: Start, state_folder: Path) -> None:
    server = protected()
    config = server.config()
    await signed_in(config)
    store = CredentialStore(config)
    credentials = await store.read()
    assert credentials
    gone = {**(credentials.authorization_server or {}), "revocation_endpoint": "http://127.0.0.1:1/revoke"}
    await store.write(replace(credentials, authorization_server=gone))
    ended = await sign_out(config)
    assert (ended.was_signed_in, ended.is_revoked) == (True, False)
    assert not list(state_folder.glob("*.json"))
