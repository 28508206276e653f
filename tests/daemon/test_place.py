"""The directory of the background process is ours alone, or is not used."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.daemon.conftest import others_id

from jackfield import DaemonError
from jackfield.daemon.folder import LOCK, SOCKET, Place
from jackfield.local import directory as directory_module
from jackfield.local.directory import peer, runtime_dir


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the place is to be; not there yet."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "run"))
    return tmp_path / "run" / "jackfield"


def test_where_it_is() -> None:
    assert runtime_dir({"XDG_RUNTIME_DIR": "/run/user/1"}) == Path("/run/user/1/jackfield")
    fallback = runtime_dir({"XDG_RUNTIME_DIR": "relative/is/invalid"})
    assert fallback == runtime_dir({})
    assert str(os.getuid()) in str(fallback)


def test_nothing_is_created_by_looking(directory: Path) -> None:
    assert Place.find(create=False) is None
    assert not directory.parent.exists()


def test_it_is_private(directory: Path) -> None:
    before = os.umask(0)
    try:
        place = Place.find(create=True)
        assert place
        with place, place.listen():
            lock = place.take_lock()
            assert lock is not None
            assert stat.S_IMODE(directory.stat().st_mode) == 0o700
            assert stat.S_IMODE((directory / SOCKET).stat().st_mode) == 0o600
            assert stat.S_IMODE((directory / LOCK).stat().st_mode) == 0o600
            os.close(lock)
            assert os.umask(0) == 0
    finally:
        os.umask(before)


@pytest.mark.parametrize("mode", [0o755, 0o701, 0o710, 0o777])
def test_a_directory_that_others_may_use_is_not_trusted(directory: Path, mode: int) -> None:
    directory.mkdir(parents=True)
    directory.chmod(mode)
    for create in (False, True):
        with pytest.raises(DaemonError, match="others may use it") as caught:
            Place.find(create=create)
    assert caught.value.hint is not None
    assert "chmod 700" in caught.value.hint


def test_a_directory_of_another_user_is_not_trusted(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    os.chown(directory, others_id(), -1)
    with pytest.raises(DaemonError, match="another user"):
        Place.find(create=False)


def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.parent.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DaemonError):
        Place.find(create=True)


def test_a_lock_that_is_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (tmp_path / "precious").write_text("stays")
    (directory / LOCK).symlink_to(tmp_path / "precious")
    place = Place.find(create=True)
    assert place
    with place, pytest.raises(DaemonError):
        place.take_lock()


@pytest.mark.parametrize("where", ["/sys", "/proc/self"])
def test_where_nothing_can_be_created(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", where)
    assert Place.find(create=False) is None
    with pytest.raises(DaemonError, match="Kept sessions need the directory") as caught:
        Place.find(create=True)
    assert caught.value.hint is not None
    assert "XDG_RUNTIME_DIR" in caught.value.hint


def test_a_file_in_its_place(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    with pytest.raises(DaemonError):
        Place.find(create=True)
    with pytest.raises(DaemonError):
        Place.find(create=False)


def test_the_lock_is_held_once_and_by_what_inherited_it(directory: Path) -> None:
    place = Place.find(create=True)
    assert place
    with place:
        assert not place.is_locked()
        lock = place.take_lock()
        assert lock is not None
        assert place.is_locked()
        assert place.take_lock() is None
        with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[lock]) as heir:
            os.close(lock)
            assert place.is_locked()
            heir.communicate(b"\n")
        assert not place.is_locked()


def test_the_lock_is_noticed_to_be_gone(directory: Path) -> None:
    place = Place.find(create=True)
    assert place
    with place:
        lock = place.take_lock()
        assert lock is not None
        assert place.has_lock(lock)
        (directory / LOCK).unlink()
        assert not place.has_lock(lock)
        (directory / LOCK).write_text("")
        assert not place.has_lock(lock)
        os.close(lock)


def test_a_long_path_is_no_hindrance(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ("x" * 120) / ("y" * 120)
    folder.mkdir(parents=True)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    place = Place.find(create=True)
    assert place
    with place, place.listen() as listener, place.connect(1.0) as connection:
        accepted, _ = listener.accept()
        with accepted:
            assert peer(connection) == peer(accepted) == (os.geteuid(), os.getpid())


def test_a_long_path_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module.os.path, "isdir", lambda path: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    place = Place.find(create=True)
    assert place
    with place, pytest.raises(DaemonError, match="too long"):
        place.listen()


def test_a_stale_socket_is_replaced(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        place = Place.find(create=True)
        assert place
        with place:
            stale.bind(place._address(SOCKET))
        stale.close()
    place = Place.find(create=True)
    assert place
    with place:
        with pytest.raises(ConnectionRefusedError):
            place.connect(1.0)
        with place.listen(), place.connect(1.0):
            pass


def found() -> Place:
    """The place, made if it is not there."""
    place = Place.find(create=True)
    assert place
    return place


@pytest.mark.parametrize(
    ("platform", "has_session", "environment", "where"),
    [
        ("linux", True, {}, "/run/user/{user}/jackfield"),
        ("linux", False, {}, "/tmp/jackfield-{user}"),
        ("linux", False, {"TMPDIR": "/var/x"}, "/tmp/jackfield-{user}"),
        ("darwin", False, {"TMPDIR": "/var/x"}, "/var/x/jackfield-{user}"),
        ("darwin", False, {"TMPDIR": "x"}, "/tmp/jackfield-{user}"),
        ("darwin", False, {"TMPDIR": "/var/x", "XDG_RUNTIME_DIR": "/r"}, "/r/jackfield"),
    ],
)
def test_where_it_is_elsewhere(
    platform: str, has_session: bool, environment: dict[str, str], where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory_module, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(directory_module.os.path, "isdir", lambda path: has_session)
    assert str(runtime_dir(environment)) == where.format(user=os.getuid())


def test_a_platform_without_unix_sockets(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "sys", SimpleNamespace(platform="win32"))
    with pytest.raises(DaemonError, match="Unix sockets") as caught:
        Place.find(create=True)
    assert caught.value.sent is False
    assert not directory.parent.exists()


def test_a_file_where_its_parent_should_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    assert Place.find(create=False) is None
    with pytest.raises(DaemonError, match="Kept sessions need the directory"):
        Place.find(create=True)


def test_the_id_in_the_lock(directory: Path) -> None:
    with found() as place:
        assert place.daemon_id() == ""
        (directory / LOCK).write_bytes(b"0123\xff")
        assert place.daemon_id() == "0123\ufffd"


def test_a_file_system_without_locks_is_told_and_nothing_is_left_open(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with found() as place:
        before = len(os.listdir("/proc/self/fd"))
        with monkeypatch.context() as patch:
            patch.setattr(fcntl, "flock", no_locks)
            with pytest.raises(OSError, match="No locks available"):
                place.take_lock()
        assert len(os.listdir("/proc/self/fd")) == before
        assert not place.is_locked()


def test_another_users_socket_is_not_spoken_to(directory: Path) -> None:
    other, own = others_id(), os.geteuid()
    with found() as place, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place._address(SOCKET))
        os.seteuid(other)
        try:
            listener.listen()
        finally:
            os.seteuid(own)
        with pytest.raises(DaemonError, match="another user") as caught:
            place.connect(1.0)
        assert caught.value.sent is False


def test_who_listens(directory: Path) -> None:
    with found() as place:
        assert place.listener_id() is None
        with place.listen():
            assert place.listener_id() == os.getpid()
        assert place.listener_id() is None


def test_a_short_path_where_there_is_no_proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module.os.path, "isdir", lambda path: False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        place = Place(Path(), os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY))
        with place, place.listen(), place.connect(1.0):
            assert (tmp_path / SOCKET).is_socket()


class OfMacOS:
    """Answers as a connected socket does there: <sys/un.h>, struct xucred, and a process id."""

    def getsockopt(self, level: int, option: int, length: int) -> Any:
        assert level == 0
        return {1: struct.pack("=IIh", 0, 501, 1).ljust(76, b"\0"), 2: struct.pack("=i", 77)}[option][:length]


def test_the_other_side_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory_module, "sys", SimpleNamespace(platform="darwin"))
    assert peer(OfMacOS()) == (501, 77)  # type: ignore[arg-type]
    monkeypatch.setattr(directory_module, "sys", SimpleNamespace(platform="freebsd"))
    assert peer(OfMacOS()) == (None, None)  # type: ignore[arg-type]
