"""How the background process begins and ends, played in this process: only the fork is left out."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield.daemon import __main__ as daemon
from jackfield.daemon import log
from jackfield.daemon.folder import LOCK, SOCKET, Place


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    monkeypatch.setenv(daemon.LINGER, "0")
    monkeypatch.setattr(os, "fork", lambda: 0)
    # It would take stdout and stderr of the tests away.
    monkeypatch.setattr(log, "open_log", lambda: None)
    return tmp_path / "jackfield"


@pytest.fixture
def lock(directory: Path) -> Iterator[int]:
    place = Place.find(create=True)
    assert place
    with place:
        lock = place.take_lock()
    assert lock is not None
    yield lock
    os.close(lock)


def said_by(lock: int) -> bytes:
    """What it tells whoever started it."""
    ready, written = os.pipe()
    try:
        daemon.main(lock, written)
    finally:
        with os.fdopen(ready, "rb", buffering=0) as file:
            said = file.read(65536)
        with contextlib.suppress(OSError):  # once it listens it has closed it itself
            os.close(written)
    return said


def test_one_that_nobody_needs_ends_and_leaves_nothing(directory: Path, lock: int) -> None:
    assert said_by(lock) == b"ok"
    assert os.listdir(directory) == [LOCK]
    assert (directory / LOCK).read_bytes() == b"", "it ended in good order"


def test_one_whose_directory_is_gone_says_so(directory: Path, lock: int) -> None:
    (directory / LOCK).unlink()
    error = json.loads(said_by(lock))
    assert "was removed while it started" in json.dumps(error)
    directory.rmdir()
    assert "was removed while it started" in said_by(lock).decode()


def test_one_that_cannot_listen_says_so(directory: Path, lock: int) -> None:
    (directory / SOCKET).mkdir()
    assert "No socket: " in said_by(lock).decode()


def test_one_that_fails_leaves_its_id_to_clean_up_by(
    directory: Path, lock: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "jackfield.daemon.server", None)
    with pytest.raises(ImportError):
        said_by(lock)
    assert "Background process failed" in caplog.text
    assert os.listdir(directory) == [LOCK]
    assert len((directory / LOCK).read_bytes()) == 32


@pytest.mark.parametrize(("given", "seconds"), [("", 10.0), ("x", 10.0), ("0", 0.0), ("-3", 0.0), ("2.5", 2.5)])
def test_how_long_it_lingers(given: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(daemon.LINGER, given)
    assert daemon._linger() == seconds


def test_the_former_variable_still_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(daemon.LINGER, raising=False)
    monkeypatch.setenv(daemon.FORMER_LINGER, "2.5")
    assert daemon._linger() == 2.5
