"""What `jackfield auth` says of sign-ins, and how it finds out whether there is a browser."""

from __future__ import annotations

import sys
import time
import webbrowser
from dataclasses import replace
from pathlib import Path

import pytest

from jackfield.auth.account import SignInStatus
from jackfield.cli import auth, browser
from jackfield.cli.output import Output

from .conftest import Command

STATUS = SignInStatus(
    server_name="notes",
    address="https://notes.example/mcp",
    is_signed_in=True,
    expires_at=None,
    is_renewable=False,
    scope=None,
    client_id="c",
    issuer="https://login.example",
    kept_in="/home/ada/.state/notes.json",
)


@pytest.mark.parametrize(
    ("left", "renewable", "said"),
    [
        (None, False, "unknown"),
        (-5, False, "over"),
        (-5, True, "over, then renewed"),
        (3599, False, "in 59 min"),
        (3599, True, "in 59 min, then renewed"),
    ],
)
def test_when_a_token_ends(left: float | None, renewable: bool, said: str) -> None:
    expires_at = None if left is None else time.time() + left
    status = replace(STATUS, expires_at=expires_at, is_renewable=renewable)
    assert auth._ends(status) == said
    assert auth._ends(replace(status, is_signed_in=False)) == ""


def test_how_a_sign_in_stands_and_where_it_is_kept() -> None:
    signed_out = replace(STATUS, is_signed_in=False, kept_in=None)
    ended = replace(STATUS, is_signed_in=False)
    assert [auth._state(one) for one in (STATUS, ended, signed_out)] == ["signed in", "ended", "not signed in"]
    in_keyring = replace(STATUS, kept_in="the keyring SecretService")
    assert [auth._kind_of_place(one) for one in (STATUS, in_keyring, signed_out)] == ["file", "keyring", ""]
    assert auth._place(in_keyring) == "the keyring SecretService"
    assert Path(auth._place(STATUS)).name == "notes.json"


@pytest.mark.parametrize(
    ("environment", "has_one"),
    [({}, False), ({"BROWSER": "firefox"}, True), ({"DISPLAY": ":0"}, True), ({"WAYLAND_DISPLAY": "w"}, True)],
)
def test_where_there_is_a_browser(environment: dict[str, str], has_one: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert browser.has_browser() is has_one or sys.platform == "darwin"


def test_a_browser_that_cannot_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(url: str) -> bool:
        raise webbrowser.Error("could not locate runnable browser")

    monkeypatch.setattr(webbrowser, "open", fails)
    assert browser.open_browser("https://login.example") is False


async def test_nothing_is_pasted_where_the_shell_closed_stdin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    assert await auth._Person(Output(), "https://notes.example", opens_browser=False).paste() is None


def test_the_status_where_nothing_is_reached_over_http(jackfield: Command) -> None:
    jackfield.configure_user(local={"command": "x"})
    done = jackfield("auth", "--status")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == "No server over HTTP is configured.\n"


def test_the_status_of_the_others_where_one_is_wrong(jackfield: Command) -> None:
    jackfield.configure_user(wrong={"url": "https://${NOT_SET}/mcp"}, notes={"url": "https://notes.example/mcp"})
    done = jackfield("auth", "--status", "--json")
    assert [one["name"] for one in done.json] == ["notes"]
    assert "NOT_SET is not set" in done.stderr
