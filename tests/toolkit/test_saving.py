"""Files that a server gave: names that do no harm, nothing overwritten, nothing left half."""

from __future__ import annotations

import os
import resource
import signal
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jackfield.toolkit import saving
from jackfield.toolkit.saving import safe_name, write_new


@pytest.mark.parametrize(
    ("suggested", "name"),
    [
        ("rig://notes/today.txt", "notes_today.txt"),
        ("../../etc/passwd", "etc_passwd"),
        ("a b\0c", "a_b_c"),
        ("...", "fallback"),
        ("", "fallback"),
        ("x" * 300 + ".txt", "x" * 96 + ".txt"),
    ],
)
def test_names(suggested: str, name: str) -> None:
    assert safe_name(suggested, "fallback") == name


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    (tmp_path / "elsewhere").write_bytes(b"stays")
    first = write_new(folder, "a.tar.gz", b"1")
    (folder / "a.tar-2.gz").symlink_to(tmp_path / "elsewhere")
    third = write_new(folder, "a.tar.gz", b"3")
    plain = [write_new(folder, "plain", b"").name for _ in range(2)]
    assert [first.name, third.name, *plain] == ["a.tar.gz", "a.tar-3.gz", "plain", "plain-2"]
    assert (first.read_bytes(), third.read_bytes()) == (b"1", b"3")
    assert (tmp_path / "elsewhere").read_bytes() == b"stays"
    assert stat.S_IMODE(first.stat().st_mode) == 0o600


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A limit on the size of files stands for a disk that is full."""
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    # No half of a compiled module is to be left behind.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_no_part_of_a_file_is_left_where_the_disk_is_full(tmp_path: Path, full_disk: None) -> None:
    with pytest.raises(OSError, match="too large"):
        write_new(tmp_path, "a.bin", b"x" * 100)
    assert os.listdir(tmp_path) == []
    assert write_new(tmp_path, "a.bin", b"x" * 10).name == "a.bin"


def test_a_folder_of_too_many_like_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "_MAX_SIBLINGS", 3)
    for _ in range(3):
        write_new(tmp_path, "a.txt", b"")
    with pytest.raises(FileExistsError, match=r"has 3 files named like a\.txt"):
        write_new(tmp_path, "a.txt", b"")
