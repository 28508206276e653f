"""Where credentials are kept: a file, or the system's keyring, and what may be wrong with either."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import keyring
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.auth.file_keyring import FileKeyring
from tests.config.test_secrets import assert_hidden, texts

from jackfield import AuthenticationError, HttpConfig, SessionTimeoutError, SseConfig
from jackfield.auth import keyrings, store
from jackfield.auth.account import sign_in_status, sign_out
from jackfield.auth.credentials import Credentials
from jackfield.auth.store import CredentialStore

CONFIG = HttpConfig(server_name="notes", url="https://notes.example/mcp")
CREDENTIALS = Credentials(
    server_url="https://notes.example/mcp",
    access_token="access-s3cret",
    refresh_token="refresh-s3cret",
    client_secret="client-s3cret",
    expires_at=1e10,
    obtained_at=1e9,
    scope="notes:read",
    client={"client_id": "c"},
    authorization_server={"issuer": "https://as.example"},
)


@pytest.fixture
def system_keyring(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A keyring that works; gives its file."""
    before = keyring.get_keyring()
    keyring.set_keyring(FileKeyring())
    path = tmp_path / "keyring.json"
    monkeypatch.setenv("TEST_KEYRING_FILE", str(path))
    yield path
    keyring.set_keyring(before)


@pytest.fixture(params=["file", "keyring"])
def either(request: pytest.FixtureRequest) -> str:
    """With and without a keyring."""
    if request.param == "keyring":
        request.getfixturevalue("system_keyring")
    return request.param


async def keep(credentials: Credentials = CREDENTIALS, config: Any = CONFIG) -> CredentialStore:
    place = CredentialStore(config)
    async with place.locked():
        await place.write(credentials)
    return place


async def test_what_is_written_is_read(either: str, state_folder: Path) -> None:
    place = await keep()
    assert await CredentialStore(CONFIG).read() == CREDENTIALS
    text = place.path.read_text()
    assert ("s3cret" in text) == (either == "file")
    assert stat.S_IMODE(place.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.path.with_suffix(".lock").stat().st_mode) == 0o600
    assert place.kept_in() == (str(place.path) if either == "file" else "the system's keyring")
    before = place.stamp()
    await keep(replace(CREDENTIALS, access_token="T-another"))
    assert place.stamp() != before
    async with place.locked():
        await place.forget()
    assert await place.read() is None
    assert place.stamp() is None
    assert [path.suffix for path in state_folder.iterdir()] == [".lock"]


async def test_no_rendering_shows_a_secret(either: str) -> None:
    place = await keep()
    shown = [
        repr(CREDENTIALS),
        str(CREDENTIALS),
        repr(place),
        repr(await place.read()),
        repr(await sign_in_status(CONFIG)),
    ]
    for secret in ("access-s3cret", "refresh-s3cret", "client-s3cret"):
        assert_hidden(secret, shown)


secrets = st.text(min_size=8).map("S3".__add__)


@given(secrets)
def test_the_repr_of_credentials_shows_none_of_any_kind(secret: str) -> None:
    found = Credentials("https://h", secret, secret, secret)
    assert_hidden(secret, [repr(found), repr(found.without_tokens("revoked")), repr([found])])


async def test_each_server_and_client_has_a_place_of_its_own() -> None:
    def place(url: str, **more: Any) -> str:
        return CredentialStore(HttpConfig(server_name="x", url=url, **more)).name

    here = place("https://notes.example/mcp")
    assert place("HTTPS://NOTES.example/mcp") == here
    assert place("https://notes.example/mcp", auth="oauth") == here
    assert place("https://notes.example/mcp", auth={"scopes": ["a"]}) == here
    assert CredentialStore(SseConfig(server_name="y", url="https://notes.example/mcp")).name == here
    others = [
        place("https://notes.example/other"),
        place("https://notes.example/MCP"),
        place("https://notes.example:8443/mcp"),
        place("http://notes.example/mcp"),
        place("https://notes.example/mcp?tenant=a"),
        place("https://notes.example/mcp", auth={"client_id": "c"}),
        place("https://notes.example/mcp", auth={"client_metadata_url": "https://c.example/d.json"}),
    ]
    assert len({here, *others}) == len(others) + 1


# Keyrings that do not work


@pytest.mark.parametrize("trouble", ["locked", "silent", "forgetful"])
async def test_a_keyring_that_keeps_nothing_leaves_it_to_the_file(
    trouble: str, system_keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_KEYRING_TROUBLE", trouble)
    monkeypatch.setattr(keyrings, "KEYRING_SECONDS", 0.1)
    place = await keep()
    assert place.kept_in() == str(place.path)
    assert await place.read() == CREDENTIALS


@pytest.mark.parametrize(("trouble", "says"), [("locked", "did not unlock"), ("silent", r"within 0\.1 s")])
async def test_a_keyring_that_cannot_be_read_any_more(
    trouble: str, says: str, system_keyring: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = await keep()
    monkeypatch.setenv("TEST_KEYRING_TROUBLE", trouble)
    monkeypatch.setattr(keyrings, "KEYRING_SECONDS", 0.1)
    with pytest.raises(AuthenticationError, match=says) as failed:
        await place.read()
    assert "jackfield auth notes" in str(failed.value)
    with pytest.raises(AuthenticationError, match="could not be removed"):
        await sign_out(CONFIG)


async def test_an_entry_that_somebody_removed_from_the_keyring(system_keyring: Path) -> None:
    place = await keep()
    system_keyring.unlink()
    assert await place.read() is None
    assert (await sign_out(CONFIG)).was_signed_in
    assert place.stamp() is None


def test_another_process_finds_the_keyring_by_itself(tmp_path: Path) -> None:
    code = (
        "import anyio, sys; from tests.auth.test_store import CONFIG, CREDENTIALS, keep\n"
        "print(anyio.run(keep).kept_in(), 'keyring' in sys.modules)"
    )
    environment = {
        **os.environ,
        "PYTHON_KEYRING_BACKEND": "tests.auth.file_keyring.FileKeyring",
        "TEST_KEYRING_FILE": str(tmp_path / "keyring.json"),
    }
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert said.stdout == "the system's keyring True\n"


def test_where_nobody_signed_in_the_keyring_is_not_even_imported() -> None:
    code = (
        "import anyio, sys; from jackfield import HttpConfig; from jackfield.auth.store import CredentialStore\n"
        "print(anyio.run(CredentialStore(HttpConfig(server_name='a', url='http://h/mcp')).read))\n"
        "print({'keyring', 'mcp', 'filelock'} & set(sys.modules))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "None\nset()\n"


# Files that cannot be used


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "damaged"),
        (b"{", "damaged"),
        (b"[]", "damaged"),
        (b"\xff\xfe", "cannot be read"),
        (b"{}", "another version"),
        (b'{"version": 99}', "another version"),
        (b'{"version": 1}', "damaged"),
        (b'{"version": 1, "server_url": "https://h"}', "damaged"),
    ],
)
async def test_a_damaged_file_is_an_error_that_says_what_to_run(content: bytes, says: str) -> None:
    place = await keep()
    place.path.write_bytes(content)
    with pytest.raises(AuthenticationError, match=says) as failed:
        await place.read()
    assert str(place.path) in str(failed.value)
    assert "Run `jackfield auth notes` to sign in again." in str(failed.value)
    assert (await sign_out(CONFIG)).was_signed_in
    assert await place.read() is None


async def test_a_file_that_is_a_folder() -> None:
    place = await keep()
    place.path.unlink()
    place.path.mkdir()
    with pytest.raises(AuthenticationError, match="cannot be read"):
        await place.read()


async def test_what_an_error_says_of_a_damaged_file_has_no_secret_in_it() -> None:
    place = await keep()
    place.path.write_text(place.path.read_text()[:-5])
    with pytest.raises(AuthenticationError) as failed:
        await place.read()
    for secret in ("access-s3cret", "refresh-s3cret", "client-s3cret"):
        assert_hidden(secret, texts(failed.value))


async def test_keys_of_a_later_version_are_passed_over() -> None:
    place = await keep()
    data = json.loads(place.path.read_text())
    place.path.write_text(json.dumps({**data, "more": 1}))
    assert await place.read() == CREDENTIALS


# The lock


async def test_whoever_waits_too_long_for_the_lock_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "LOCK_SECONDS", 0.1)
    place = CredentialStore(CONFIG)
    async with place.locked():
        with pytest.raises(SessionTimeoutError, match="another process"):
            async with CredentialStore(CONFIG).locked():
                pass


async def test_one_at_a_time() -> None:
    inside = 0

    async def enter() -> None:
        nonlocal inside
        async with CredentialStore(CONFIG).locked():
            inside += 1
            assert inside == 1
            await anyio.sleep(0.005)
            inside -= 1

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(enter)


@pytest.mark.skipif(sys.platform == "darwin", reason="there the keyring is the system's")
def test_looking_for_a_keyring_runs_no_linker(tmp_path: Path) -> None:
    for program in ("ld", "gcc", "cc"):
        (tmp_path / program).write_text(f"#!/bin/sh\necho {program} >> {tmp_path}/ran\n")
        (tmp_path / program).chmod(0o755)
    code = "import jackfield.auth.keyrings, keyring; print(type(keyring.get_keyring()).__module__)"
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("keyring.backends.")
    # Without ours, keyring itself does.
    assert not (tmp_path / "ran").exists()
    subprocess.run([sys.executable, "-c", "import keyring; keyring.get_keyring()"], env=environment, check=True)
    assert "ld" in (tmp_path / "ran").read_text()
