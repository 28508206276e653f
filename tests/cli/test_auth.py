"""`jackfield auth` as a person, a script and a program at the other end of a pipe use it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pexpect
import pytest
from tests.auth.conftest import Protected, protected, redirect_of, workshop
from tests.conftest import strays

from jackfield.cli.describe import described
from jackfield.config.discover import FoundServer, Source

from .conftest import Command, golden, golden_layouts

__all__ = ["protected", "workshop"]

Start = Callable[..., Protected]

BROWSER = """#!{python}
import sys, urllib.request
urllib.request.urlopen(sys.argv[1], timeout=20).read()
"""


@pytest.fixture
def browser(tmp_path: Path) -> dict[str, str]:
    """A browser whose person consents to everything, as the variable that names it."""
    script = tmp_path / "browser"
    script.write_text(BROWSER.format(python=sys.executable))
    script.chmod(0o755)
    return {"BROWSER": str(script)}


def with_server(jackfield: Command, server: Protected, name: str = "notes", **more: Any) -> None:
    jackfield.configure_user(**{name: {"url": server.url, **more}})


def secrets_in(jackfield: Command) -> list[str]:
    """What is secret of the sign-ins that are kept."""
    found: list[str] = []
    for file in (jackfield.home / ".state" / "jackfield" / "auth").glob("*.json"):
        data = json.loads(file.read_text())
        found += [data[name] for name in ("access_token", "refresh_token", "client_secret") if data[name]]
    return found


SCRUBS = (
    (r"http://127\.0\.0\.1:\d+/authorize\S+", "<AUTHORIZATION URL>"),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:<PORT>"),
    (r"[0-9a-f]{32}\.json", "<HASH>.json"),
    (r"in 59 min", "in <TIME>"),
)


def test_signing_in_using_and_signing_out(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    server = protected()
    with_server(jackfield, server)
    refused = jackfield("refresh", "notes")
    assert refused.exit_code == 5
    assert "jackfield auth notes" in refused.stderr
    assert jackfield("auth", "notes", "--status").exit_code == 5

    done = jackfield("auth", "notes", env=browser)
    assert (done.exit_code, done.stdout) == (0, ""), done.stderr
    golden("auth.signed-in", done.stderr, *SCRUBS)
    status = jackfield("auth", "notes", "--status", "--json")
    assert status.exit_code == 0
    assert status.json["signed_in"]
    assert status.json["renewable"]
    assert status.json["kept_in"].startswith(str(jackfield.home / ".state" / "jackfield" / "auth"))

    used = jackfield("refresh", "notes")
    assert used.exit_code == 0, used.stderr
    assert used.stdout.startswith("notes\t3\t")

    secrets = secrets_in(jackfield)
    assert len(secrets) == 3
    ended = jackfield("auth", "notes", "--logout", "--json")
    assert ended.json == {"name": "notes", "was_signed_in": True, "revoked": True}
    for run in (done, status, used, ended):
        for secret in secrets:
            assert secret not in run.stdout + run.stderr
    again = jackfield("auth", "notes", "--logout")
    assert (again.exit_code, again.stderr) == (0, "You were not signed in to notes.\n")


def test_the_data_of_a_sign_in(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    server = protected("--grants", "notes:read")
    with_server(jackfield, server)
    done = jackfield("auth", "notes", "--json", "--scope", "notes:read notes:write", env=browser)
    assert done.exit_code == 0
    assert done.json["name"] == "notes"
    assert done.json["issuer"] == server.issuer
    assert (done.json["scope"], done.json["wanted_scope"]) == ("notes:read", "notes:write")
    assert "was not granted: notes:write" in done.stderr
    assert "notes:read (wanted: notes:write)" in jackfield("auth", "notes", "--status").stdout


def test_a_url_will_do(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    server = protected()
    assert jackfield("auth", server.url, env=browser).exit_code == 0
    with_server(jackfield, server, "by-any-name")
    assert jackfield("refresh", "by-any-name").exit_code == 0


def test_the_status_of_all(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    server, other = protected(), protected()
    jackfield.configure_user(
        notes={"url": server.url},
        other={"url": other.url, "auth": "oauth"},
        local={"command": "x"},
    )
    assert jackfield("auth", "notes", env=browser).exit_code == 0
    golden_layouts(jackfield, "auth.status", "auth", "--status", scrubs=SCRUBS)
    assert [one["signed_in"] for one in jackfield("auth", "--status", "--json").json] == [True, False]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--deny"], "access_denied: the person said no"),
        (["--metadata", "none"], "does not offer OAuth"),
        (["--open"], "does not require a sign-in"),
        (["--no-registration"], "auth.client_id"),
    ],
)
def test_a_sign_in_that_fails(
    options: list[str], says: str, jackfield: Command, protected: Start, browser: dict[str, str]
) -> None:
    with_server(jackfield, protected(*options))
    done = jackfield("auth", "notes", env=browser)
    assert (done.exit_code, done.stdout) == (5, "")
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_an_error_as_json(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    with_server(jackfield, protected("--deny"))
    done = jackfield("auth", "notes", "--json", env=browser)
    assert (done.exit_code, done.error["code"]) == (5, "auth_required")


def test_nobody_comes_back(jackfield: Command, protected: Start) -> None:
    with_server(jackfield, protected())
    done = jackfield("auth", "notes", "--timeout", "0.2", env={"BROWSER": "true"})
    assert done.exit_code == 6
    assert "not completed within 0.2 s" in done.stderr


def test_a_browser_that_cannot_be_opened(jackfield: Command, protected: Start) -> None:
    with_server(jackfield, protected())
    done = jackfield("auth", "notes", "--timeout", "0.2", env={"BROWSER": "no-such-browser"})
    assert done.exit_code == 6
    assert "No browser could be opened." in done.stderr


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "Which server?"),
        (["local"], "nothing to sign in to"),
        (["any"], "jackfield auth URL"),
        (["nots"], "Did you mean 'notes'?"),
        (["notes", "--status", "--logout"], "cannot be given together"),
        (["notes", "--timeout", "0"], "--timeout"),
        (["notes", "--scope", "a", "--status"], "--scope is for signing in"),
        (["notes", "--scope", 'a "b"'], "is not a scope"),
        (["notes", "--timeout", "soon"], "'soon' is not a number"),
    ],
)
def test_a_wrong_command_line(jackfield: Command, arguments: list[str], says: str) -> None:
    jackfield.configure_user(notes={"url": "http://127.0.0.1:1/mcp"}, local={"command": "x"})
    done = jackfield("auth", *arguments)
    assert done.exit_code == 2
    assert says in done.stderr


def test_other_ends(jackfield: Command) -> None:
    jackfield.configure_user(
        gone={"url": "http://127.0.0.1:1/mcp"}, keyed={"url": "http://h/mcp", "headers": {"Authorization": "Bearer x"}}
    )
    jackfield.configure(untrusted={"url": "http://127.0.0.1:1/mcp"})
    assert jackfield("auth", "gone").exit_code == 4
    keyed = jackfield("auth", "keyed")
    assert keyed.exit_code == 3
    assert "Authorization header" in keyed.stderr
    assert jackfield("auth", "untrusted").exit_code == 7
    assert jackfield("auth", "untrusted", "--status").exit_code == 5


def test_what_is_kept_may_be_unreadable(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    server = protected()
    with_server(jackfield, server)
    assert jackfield("auth", "notes", env=browser).exit_code == 0
    [file] = (jackfield.home / ".state" / "jackfield" / "auth").glob("*.json")
    file.write_text("{")
    done = jackfield("refresh", "notes")
    assert done.exit_code == 5
    assert "damaged" in done.stderr
    assert "jackfield auth notes" in done.stderr
    assert jackfield("auth", "notes", env=browser).exit_code == 0
    assert jackfield("auth", "notes", "--status").exit_code == 0


def test_a_home_that_cannot_be_written(jackfield: Command, protected: Start, browser: dict[str, str]) -> None:
    with_server(jackfield, protected())
    (jackfield.home / "file").write_text("")
    done = jackfield("auth", "notes", env={**browser, "JACKFIELD_STATE_DIR": str(jackfield.home / "file")})
    assert done.exit_code == 5
    assert "cannot be stored" in done.stderr
    assert "JACKFIELD_STATE_DIR" in done.stderr


def test_a_keyring_is_used_where_there_is_one(
    jackfield: Command, protected: Start, browser: dict[str, str], tmp_path: Path
) -> None:
    with_server(jackfield, protected())
    env = {
        "PYTHON_KEYRING_BACKEND": "tests.auth.file_keyring.FileKeyring",
        "TEST_KEYRING_FILE": str(tmp_path / "keyring.json"),
        "PYTHONPATH": os.getcwd(),
    }
    done = jackfield("auth", "notes", env={**browser, **env})
    assert "stored in the system's keyring" in done.stderr
    [file] = (jackfield.home / ".state" / "jackfield" / "auth").glob("*.json")
    assert "access-" not in file.read_text()
    assert "access-" in (tmp_path / "keyring.json").read_text()
    assert jackfield("refresh", "notes", env=env).exit_code == 0
    assert jackfield("auth", "notes", "--logout", env=env).exit_code == 0
    assert "access-" not in (tmp_path / "keyring.json").read_text()


def test_client_credentials_need_no_person(jackfield: Command, protected: Start) -> None:
    server = protected("--client", "robot:s3cret-of-the-robot")
    auth = {"grant": "client_credentials", "client_id": "robot", "client_secret": "${ROBOT}"}
    with_server(jackfield, server, auth=auth)
    env = {"ROBOT": "s3cret-of-the-robot"}
    done = jackfield("auth", "notes", env=env)
    assert done.exit_code == 0
    assert done.stderr.startswith("Got a token for notes. It is stored in ")
    status = jackfield("auth", "notes", "--status", "--json", env=env)
    assert (status.json["signed_in"], status.json["renewable"]) == (True, True)
    used = jackfield("refresh", "notes", env=env)
    assert used.stdout.startswith("notes\t3\t"), used.stderr
    doctor = jackfield("doctor", "notes", "--json", env=env)
    steps = {step["step"]: step for step in doctor.json["servers"][0]["steps"]}
    assert steps["auth"]["result"] == "warning"
    assert "auth.issuer" in steps["auth"]["hint"]
    wrong = jackfield("doctor", "notes", "--json", env={"ROBOT": "another-s3cret-of-it"})
    assert wrong.exit_code == 0, "the token is still good"
    assert jackfield("auth", "notes", "--logout", env=env).exit_code == 0
    wrong = jackfield("doctor", "notes", "--json", env={"ROBOT": "another-s3cret-of-it"})
    assert wrong.exit_code == 5
    connect = {step["step"]: step for step in wrong.json["servers"][0]["steps"]}["connect"]
    assert "invalid_client" in connect["text"]
    assert "jackfield auth notes" in connect["hint"]
    for run in (done, status, used, doctor, wrong):
        assert "s3cret" not in run.stdout + run.stderr


@pytest.mark.parametrize(
    ("auth", "shown"),
    [
        ({"client_id": "c", "client_secret": "s3cret"}, "client_secret = **********"),
        ({"CLIENT_ID": "c", "CLIENT_SECRET": "s3cret"}, "CLIENT_SECRET = **********"),
        ({"client_id": "c", "client_secret": "${SECRET}"}, "client_secret = ${SECRET}"),
        ({"client_id": "c", "private_key": "s3cret"}, "private_key = **********"),
        ({"client_id": "c", "private_key_file": "~/.ssh/id_rsa"}, "private_key_file = ~/.ssh/id_rsa"),
        ("s3cret", "**********"),
        ("oauth", "oauth"),
    ],
)
def test_what_an_entry_says_of_a_client_has_no_secret(auth: object, shown: str, tmp_path: Path) -> None:
    source = Source(tmp_path / ".mcp.json", "Claude", "project", tmp_path)
    says = list(described(FoundServer("notes", {"url": "https://h/mcp", "auth": auth}, source)))
    assert ("auth", shown) in says
    assert "s3cret" not in repr(says)


# By hand


def url_of(text: str) -> str:
    found = re.search(r"http://127\.0\.0\.1:\d+/authorize\S+", text)
    assert found, text
    return found[0]


def test_pasting_in_a_terminal(jackfield: Command, protected: Start) -> None:
    with_server(jackfield, protected())
    terminal = jackfield.spawn("auth", "notes", "--no-browser")
    terminal.expect("Address: ")
    shown = terminal.before or ""
    golden("auth.no-browser", shown.replace("\r\n", "\n"), *SCRUBS)
    terminal.sendline("what?")
    terminal.expect("This is not the address")
    terminal.expect("Address: ")
    terminal.sendline("http://127.0.0.1:1/callback?code=a&state=b")
    terminal.expect("belongs to another sign-in")
    terminal.expect("Address: ")
    terminal.sendline(asyncio.run(redirect_of(url_of(shown))))
    terminal.expect("Signed in to notes")
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0


def test_pasting_through_a_pipe(jackfield: Command, protected: Start) -> None:
    """As a program does it that drives this one."""
    with_server(jackfield, protected())
    with subprocess.Popen(
        jackfield.line("auth", "notes", "--no-browser"),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=jackfield.environment, cwd=jackfield.project,
    ) as process:  # fmt: skip
        assert process.stderr
        shown = ""
        while "/authorize" not in shown:
            shown += process.stderr.readline()
        output, errors = process.communicate(asyncio.run(redirect_of(url_of(shown))) + "\n", timeout=30)
    assert (process.returncode, output) == (0, "")
    assert "Signed in to notes" in errors
    assert "Address:" not in errors


def test_ctrl_c_while_it_waits(jackfield: Command, protected: Start) -> None:
    with_server(jackfield, protected())
    terminal = jackfield.spawn("auth", "notes", "--no-browser")
    terminal.expect("Address: ")
    terminal.sendintr()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in (terminal.before or "")
    assert not strays()
    assert not list((jackfield.home / ".state").rglob("*.json"))
