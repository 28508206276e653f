"""`BearerFile`: a file of tokens, read again when it changes, and refused where it is not private."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from pathlib import Path

import pytest

from jackfield import ConfigError
from jackfield.auth.tokens import BearerFile, TokenCheckError

ANN, CI = "ann-token-of-these-tests", "ci-token-of-these-tests"


def written(path: Path, text: str, mode: int = 0o600) -> Path:
    """A token file."""
    file = path / "tokens.toml"
    file.unlink(missing_ok=True)
    file.touch(mode)
    file.chmod(mode)
    file.write_text(text)
    return file


def entry(**keys: object) -> str:
    """One entry."""
    lines = [
        f"{name} = {value!r}" if not isinstance(value, str) else f'{name} = "{value}"' for name, value in keys.items()
    ]
    return "[[tokens]]\n" + "\n".join(lines) + "\n"


async def test_tokens_and_hashes_are_accepted(tmp_path: Path) -> None:
    digest = hashlib.sha256(CI.encode()).hexdigest().upper()
    text = entry(subject="ann", token=ANN, scopes=["read", "write"], client="phone") + entry(
        subject="ci", sha256=digest
    )
    verifier = BearerFile(written(tmp_path, text), required_scopes=["read"])
    ann, ci = await verifier.verify_token(ANN), await verifier.verify_token(CI)
    assert ann is not None
    assert ci is not None
    assert (ann.subject, ann.client_id, ann.scopes, ann.expires_at) == ("ann", "phone", ["read", "write"], None)
    assert (ci.subject, ci.client_id, ci.scopes) == ("ci", "ci", [])
    for token in ("", "eve", digest, digest.lower(), ANN + " ", ANN[:-1], "\ud800"):
        assert await verifier.verify_token(token) is None
    assert verifier.required_scopes == ("read",)


async def test_an_end_is_given_as_date_or_time(tmp_path: Path) -> None:
    text = "".join(
        f'[[tokens]]\nsubject = "{number}"\ntoken = "{ANN}-{number}"\nexpires = {end}\n'
        for number, end in enumerate(["2027-01-01", "2027-01-01T00:00:00", "2027-01-01T02:00:00+02:00"])
    )
    verifier = BearerFile(written(tmp_path, text))
    for number in range(3):
        accepted = await verifier.verify_token(f"{ANN}-{number}")
        assert accepted is not None
        assert accepted.expires_at == 1798761600


async def test_the_file_is_read_again_when_it_changes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = written(tmp_path, entry(subject="ann", token=ANN))
    verifier = BearerFile(file)
    assert await verifier.verify_token(ANN) is not None
    written(tmp_path, entry(subject="ci", token=CI))
    assert await verifier.verify_token(ANN) is None
    assert await verifier.verify_token(CI) is not None
    # Wrong now: nobody is accepted, not even who was, and nobody is refused.
    written(tmp_path, "[[tokens]")
    for _ in range(2):
        with pytest.raises(TokenCheckError, match="is not TOML"):
            await verifier.verify_token(CI)
    assert caplog.text.count("No token is accepted") == 1
    # As it is for a moment where it is written in place.
    written(tmp_path, "\n")
    with pytest.raises(TokenCheckError, match="is empty"):
        await verifier.verify_token(CI)
    file.unlink()
    with pytest.raises(TokenCheckError, match=r"cannot be read: No such file or directory\."):
        await verifier.verify_token(CI)
    written(tmp_path, entry(subject="ci", token=CI))
    assert await verifier.verify_token(CI) is not None
    file.chmod(0o640)
    with pytest.raises(TokenCheckError, match="can be read or written by others"):
        await verifier.verify_token(CI)


async def test_a_change_within_the_clock_of_the_file_system_is_seen(tmp_path: Path) -> None:
    file = written(tmp_path, entry(subject="ann", token=ANN))
    status = file.stat()
    verifier = BearerFile(file)
    replaced = tmp_path / "next"
    replaced.touch(0o600)
    replaced.write_text(entry(subject="ann", token=ANN[::-1]))
    os.utime(replaced, ns=(status.st_atime_ns, status.st_mtime_ns))
    replaced.rename(file)
    assert await verifier.verify_token(ANN) is None
    assert await verifier.verify_token(ANN[::-1]) is not None


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o620, 0o602, 0o644, 0o610])
def test_a_file_that_is_not_private_is_refused(tmp_path: Path, mode: int) -> None:
    file = written(tmp_path, entry(subject="ann", token=ANN), mode)
    with pytest.raises(ConfigError, match=f"can be read or written by others \\(its mode is {mode:o}\\)") as caught:
        BearerFile(file)
    assert f"chmod 600 {file}" in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (entry(token=ANN), "Entry 1 of the token file {file} has no `subject`"),
        (entry(subject="ann"), "Entry 1 of the token file {file} ('ann') must have either `token` or `sha256`"),
        (entry(subject="ann", token=ANN, sha256="0" * 64), "must have either `token` or `sha256`"),
        (entry(subject="ann", token="short"), "`token` must be text of at least 20 characters without blanks"),
        (entry(subject="ann", token=ANN + " x"), "`token` must be text of at least 20 characters without blanks"),
        (entry(subject="ann", token=7), "`token` must be text"),
        (entry(subject="ann", sha256="abc"), "`sha256` must be the 64 hexadecimal digits"),
        (entry(subject="ann", token=ANN, scopes="read"), "`scopes` must be a list of names without blanks"),
        (entry(subject="ann", token=ANN, scopes=["a b"]), "`scopes` must be a list of names without blanks"),
        (entry(subject="ann", token=ANN, scopes=[""]), "`scopes` must be a list of names without blanks"),
        (entry(subject="ann", token=ANN, client=7), "`client` must be text"),
        (entry(subject="ann", token=ANN, expires=7), "`expires` must be a date or a time"),
        (entry(subject="ann", token=ANN, scope=["read"]), "has an unknown key 'scope'.\nDid you mean 'scopes'?"),
        (
            entry(subject="ann", token=ANN) * 2,
            "Entry 2 of the token file {file} has the same token as an entry before it",
        ),
        ("token = 'x'", "must hold a list of `[[tokens]]` and nothing else"),
        ("[tokens]\nann = 'x'", "must hold a list of `[[tokens]]` and nothing else"),
        ("tokens = ['x']", "Entry 1 of the token file {file} is not a table"),
        ("tokens = ", "is not TOML: Invalid value"),
    ],
)
def test_what_is_wrong_is_said_without_a_token(tmp_path: Path, text: str, said: str) -> None:
    file = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        BearerFile(file)
    assert said.format(file=file) in str(caught.value)
    assert ANN not in str(caught.value) + repr(caught.value)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "")
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        BearerFile(file)
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        BearerFile(tmp_path / "missing")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        BearerFile(tmp_path)


async def test_a_check_costs_microseconds(tmp_path: Path) -> None:
    text = "".join(entry(subject=f"user{number}", token=f"{ANN}-{number}") for number in range(2_000))
    verifier = BearerFile(written(tmp_path, text))
    began_at = time.process_time()
    for number in range(2_000):
        assert await verifier.verify_token(f"{ANN}-{number}") is not None
    # About 0.01 s; 2,000 times reading the file would take minutes.
    assert time.process_time() - began_at < 5


def test_logs_are_quiet_where_all_is_well(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    BearerFile(written(tmp_path, entry(subject="ann", token=ANN)))
    assert not caplog.records
