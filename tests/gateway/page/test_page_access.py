"""Who may see the page, and change anything on it; and the sessions of the background process, which need a person."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.cli.conftest import Command, jackfield, unruly_entry
from tests.conftest import eventually
from tests.gateway.page.conftest import PageServing

from jackfield.gateway.web import access
from jackfield.gateway.web.access import PageAccess

__all__ = ["jackfield"]

OWN = {"X-Jackfield-Page": "1"}
NAMED = ["close", "disable", "enable", "refresh", "restart"]
Start = Callable[..., PageServing]


@pytest.fixture
def start(jackfield: Command) -> Iterator[Start]:
    """Starts gateways with a page, and ends them after the test."""
    started: list[PageServing] = []

    def begin(*options: str, env: dict[str, str] | None = None) -> PageServing:
        started.append(PageServing(jackfield, *options, env=env))
        return started[-1]

    yield begin
    for gateway in started:
        gateway.end()


def signed_in(gateway: PageServing) -> dict[str, str]:
    """The headers of a page that was opened by the link."""
    code = gateway.link().partition("#code=")[2]
    answer = httpx2.post(f"{gateway.page}page/sign-in", json={"code": code}, headers=OWN)
    return {**OWN, "Authorization": f"Bearer {answer.json()['token']}"}


def test_nothing_is_told_or_done_for_others(start: Start, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry())
    gateway = start()
    page = signed_in(gateway)
    action = f"{gateway.page}page/actions/close"

    def status(method: str, url: str, headers: dict[str, str], **more: Any) -> int:
        return httpx2.request(method, url, headers=headers, **more).status_code

    assert status("POST", action, page, json={"server": "one"}) == 200
    for path in ("events", "tools?server=one", "transcript?id=1"):
        url = f"{gateway.page}page/{path}"
        assert status("GET", url, {}) == 401
        assert status("GET", url, {"Authorization": "Bearer guessed"}) == 401
        # Neither in the address nor in a cookie.
        token = page["Authorization"].partition(" ")[2]
        assert (
            status("GET", f"{url}{'&' if '?' in url else '?'}token={token}", {"Cookie": f"jackfield.token={token}"})
            == 401
        )
    # A form of another site sends no such header; its script may not.
    no_header = {"Authorization": page["Authorization"]}
    assert status("POST", action, no_header, data={"server": "one"}) == 403
    assert status("POST", action, {**page, "Sec-Fetch-Site": "cross-site"}, json={"server": "one"}) == 403
    assert status("POST", action, {**page, "Origin": "https://evil.example"}, json={"server": "one"}) == 403
    # A name that was made to lead to this machine.
    assert status("GET", gateway.page, {"Host": "evil.example"}) == 421
    assert status("POST", f"{gateway.page}page/sign-in", {**OWN, "Host": "evil.example"}, json={"code": "x"}) == 421
    assert status("POST", f"{gateway.page}page/sign-in", OWN, json={"code": "x"}) == 403
    # What makes no sense is refused in words.
    for name, body, expected in [
        ("close", {"server": "two"}, 409),
        ("explode", {}, 404),
        ("close", "x" * 100_000, 409),
        *[(name, dict.fromkeys(("server", "key", "id"), "\ud800"), 409) for name in NAMED],
    ]:
        answer = httpx2.post(f"{gateway.page}page/actions/{name}", content=json.dumps(body), headers=page)
        assert (answer.status_code, "error" in answer.json()) == (expected, True), name
    for body in ({"code": "\ud800"}, {"token": "\ud800"}, {"code": "x", "nonce": "\ud800"}, ["code"]):
        assert status("POST", f"{gateway.page}page/sign-in", OWN, content=json.dumps(body)) == 403, body
    # Two links a moment after each other would fill the terminal.
    assert [status("POST", f"{gateway.page}page/link", OWN) for _ in range(2)] == [200, 429]
    shown = httpx2.get(gateway.page)
    policy = shown.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not any(word in shown.text for word in ("style=", "onclick", "<script>"))
    assert "set-cookie" not in shown.headers


def test_where_clients_need_a_token_the_page_needs_one_with_the_scope_admin(
    start: Start, jackfield: Command, tmp_path: Path
) -> None:
    jackfield.configure_user(one=unruly_entry())
    file = tmp_path / "users.toml"
    tokens = {}
    for name, options in (("ada", ["--admin"]), ("bob", [])):
        done = jackfield("serve-token", "add", name, *options, "--token-file", str(file))
        tokens[name] = done.stdout.split()[-1]
    gateway = start("--token-file", str(file))
    assert gateway.link() == gateway.page
    assert httpx2.get(f"{gateway.page}page/about").json() == {"sign_in": ["token"]}

    def sign_in(token: str) -> int:
        return httpx2.post(f"{gateway.page}page/sign-in", json={"token": token}, headers=OWN).status_code

    assert {name: sign_in(token) for name, token in tokens.items()} == {"ada": 200, "bob": 403}
    tools = f"{gateway.page}page/tools?server=one"
    headers = {"Authorization": f"Bearer {tokens['ada']}"}
    assert httpx2.get(tools, headers=headers).status_code == 200
    # Each request is checked by the token as it is now.
    assert jackfield("serve-token", "remove", "ada", "--token-file", str(file)).exit_code == 0
    assert eventually(lambda: httpx2.get(tools, headers=headers).status_code == 401, 10)


def test_codes_and_pages_end_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(access.time, "monotonic", lambda: now)
    let_in = PageAccess("http://127.0.0.1/", on_link=lambda link: None)
    late, for_a_tab, code = let_in.code(), let_in.code(nonce="tab"), let_in.code()
    assert let_in.redeem(for_a_tab, "other") is None
    assert let_in.redeem(for_a_tab, "tab") is None
    token = let_in.redeem(code)
    assert token is not None
    now += access.CODE_SECONDS + 1
    assert let_in.redeem(late) is None
    assert [let_in.redeem(let_in.code(nonce="tab", token="given"), "tab")] == ["given"]


async def test_a_page_that_nobody_used_signs_in_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.monotonic()
    monkeypatch.setattr(access.time, "monotonic", lambda: now)
    let_in = PageAccess("http://127.0.0.1/", on_link=lambda link: None)
    token = let_in.redeem(let_in.code())
    assert token is not None
    now += access.IDLE_SECONDS - 1
    assert await let_in.admits(token)
    now += access.IDLE_SECONDS + 1
    assert not await let_in.admits(token)


def test_sessions_of_the_background_process_are_shown_and_closed(start: Start, jackfield: Command) -> None:
    jackfield.configure_user(one=unruly_entry())
    assert jackfield("open", "one", "--key", "mine").exit_code == 0
    try:
        gateway = start()
        page = signed_in(gateway)
        with httpx2.stream("GET", f"{gateway.page}page/events", headers=page, timeout=30) as events:
            told = ""
            for text in events.iter_text():
                told += text
                if '"key":"mine"' in told:
                    break
        answer = httpx2.post(
            f"{gateway.page}page/actions/close-kept", json={"server": "one", "key": "mine"}, headers=page, timeout=30
        )
        assert answer.json() == {"closed": 1}
        assert "one" not in jackfield("ps").stdout
    finally:
        jackfield("close", "--all")
