"""Files that a server gave: names that do no harm, nothing overwritten, nothing left half."""

from __future__ import annotations

import stat
import subprocess
from pathlib import Path

import pytest
from tests.conftest import quick_python

from jackfield import files
from jackfield.files import safe_name, write_new


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


# A limit on the size of files stands for a disk that is full. It holds for all that a process writes, so for one apart.
ON_A_FULL_DISK = """
import os, resource, signal, sys
from pathlib import Path
from jackfield.files import write_new

folder = Path(sys.argv[1])
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))
try:
    write_new(folder, "a.bin", b"x" * 100)
except OSError as error:
    print(error.strerror, os.listdir(folder), write_new(folder, "a.bin", b"x" * 10).name)
"""


def test_no_part_of_a_file_is_left_where_the_disk_is_full(tmp_path: Path) -> None:
    done = subprocess.run(
        [quick_python(), "-B", "-c", ON_A_FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert (done.stdout, done.stderr) == ("File too large [] a.bin\n", "")


def test_a_folder_of_too_many_like_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MAX_SIBLINGS", 3)
    for _ in range(3):
        write_new(tmp_path, "a.txt", b"")
    with pytest.raises(FileExistsError, match=r"has 3 files named like a\.txt"):
        write_new(tmp_path, "a.txt", b"")
