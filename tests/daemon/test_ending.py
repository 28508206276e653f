"""A background process that hangs is ended by force, and nobody else is."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.conftest import MARK, TOKEN
from tests.daemon.conftest import is_running

from jackfield import DaemonError
from jackfield.daemon import ending
from jackfield.daemon.client import HungError
from jackfield.daemon.ending import end_process
from jackfield.daemon.folder import Place

HANGS = """
import os, signal, socket, sys
if "stubborn" in sys.argv:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.socket(socket.AF_UNIX) as listener:
    listener.bind(sys.argv[1])
    listener.listen()
    print("LISTENING", flush=True)
    signal.pause()
"""

Hang = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Iterator[Place]:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    found = Place.find(create=True)
    assert found
    with found:
        yield found


@pytest.fixture
def hang(place: Place, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hang]:
    """Starts something that holds the lock, listens, and never answers."""

    def hung(request: object) -> None:
        raise HungError(place.listener_id())

    monkeypatch.setattr(ending, "ask", hung)
    monkeypatch.setattr(ending, "_TERM_SECONDS", 0.1)
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        lock = place.take_lock()
        assert lock is not None
        line = [sys.executable, "-S", "-E", "-c", HANGS, str(place.path / "keeper.sock"), *options]
        process = subprocess.Popen(line, stdout=subprocess.PIPE, pass_fds=[lock], env={MARK: TOKEN})
        os.close(lock)
        assert process.stdout
        assert process.stdout.readline() == b"LISTENING\n"
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def test_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert end_process() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("options", "number"), [([], signal.SIGTERM), (["stubborn"], signal.SIGKILL)])
def test_one_that_hangs_is_asked_first_and_killed_then(hang: Hang, options: list[str], number: int) -> None:
    process = hang(*options)
    assert end_process() == []
    assert process.wait() == -number


def test_also_where_processes_have_no_descriptors(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(ending.os, "pidfd_open")
    process = hang()
    assert end_process() == []
    assert process.wait() == -signal.SIGTERM


def test_one_that_does_not_end_in_time_is_told(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ending, "ask", lambda request: {"result": {"closed": []}})
    monkeypatch.setattr(ending, "_CLOSE_SECONDS", 0.02)
    lock = place.take_lock()
    assert lock is not None
    with pytest.raises(DaemonError, match="did not stop"):
        end_process()
    os.close(lock)
    assert end_process() == []


def test_nobody_is_signalled_whom_the_kernel_does_not_name(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    process = hang("stubborn")

    def hung(request: object) -> None:
        raise HungError(None)

    monkeypatch.setattr(ending, "ask", hung)
    with pytest.raises(HungError):
        end_process()
    assert is_running(process.pid)


def test_nobody_is_signalled_who_does_not_listen(hang: Hang, monkeypatch: pytest.MonkeyPatch) -> None:
    process = hang()
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: TOKEN}) as other:

        def hung(request: object) -> None:
            raise HungError(other.pid)

        monkeypatch.setattr(ending, "ask", hung)
        with pytest.raises(HungError):
            end_process()
        assert is_running(other.pid)
        assert is_running(process.pid)
        other.kill()
