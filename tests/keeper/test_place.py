"""The directory of the background process is ours alone, or is not used."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.keeper.conftest import others_id

from jackfield import KeeperError
from jackfield.keeper import place as place_module
from jackfield.keeper.place import LOCK, SOCKET, Place, peer, runtime_dir


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
        with pytest.raises(KeeperError, match="others may use it") as caught:
            Place.find(create=create)
    assert caught.value.hint is not None
    assert "chmod 700" in caught.value.hint


def test_a_directory_of_another_user_is_not_trusted(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    os.chown(directory, others_id(), -1)
    with pytest.raises(KeeperError, match="another user"):
        Place.find(create=False)


def test_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.parent.mkdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeeperError):
        Place.find(create=True)


def test_a_lock_that_is_a_link_is_not_followed(directory: Path, tmp_path: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    (tmp_path / "precious").write_text("stays")
    (directory / LOCK).symlink_to(tmp_path / "precious")
    place = Place.find(create=True)
    assert place
    with place, pytest.raises(KeeperError):
        place.take_lock()


@pytest.mark.parametrize("where", ["/sys", "/proc/self"])
def test_where_nothing_can_be_created(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", where)
    assert Place.find(create=False) is None
    with pytest.raises(KeeperError, match="Kept sessions need the directory") as caught:
        Place.find(create=True)
    assert caught.value.hint is not None
    assert "XDG_RUNTIME_DIR" in caught.value.hint


def test_a_file_in_its_place(directory: Path) -> None:
    directory.parent.mkdir()
    directory.write_text("")
    with pytest.raises(KeeperError):
        Place.find(create=True)
    with pytest.raises(KeeperError):
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
    monkeypatch.setattr(place_module.os.path, "isdir", lambda path: False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 120)))
    place = Place.find(create=True)
    assert place
    with place, pytest.raises(KeeperError, match="too long"):
        place.listen()


def test_a_stale_socket_is_replaced(directory: Path) -> None:
    directory.mkdir(parents=True, mode=0o700)
    with socket.socket(socket.AF_UNIX) as stale:
        place = Place.find(create=True)
        assert place
        with place:
            stale.bind(place._address())
        stale.close()
    place = Place.find(create=True)
    assert place
    with place:
        with pytest.raises(ConnectionRefusedError):
            place.connect(1.0)
        with place.listen(), place.connect(1.0):
            pass
