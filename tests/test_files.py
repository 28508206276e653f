"""Files of the user's own are written whole or not at all."""

from __future__ import annotations

import stat
import sys
from pathlib import Path

import platformdirs
import pytest

from jackfield.files import user_cache_folder, user_state_folder, write_private


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is platformdirs that says")
@pytest.mark.parametrize("given", [None, "", " ", "/elsewhere"])
def test_folders_are_where_platformdirs_has_them(monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    for name in ("JACKFIELD_CACHE_DIR", "JACKFIELD_STATE_DIR", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    if given is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        monkeypatch.setenv("XDG_STATE_HOME", given)
    assert user_cache_folder() == platformdirs.user_cache_path("jackfield")
    assert user_state_folder() == platformdirs.user_state_path("jackfield")


def test_a_file_and_its_folder_are_the_users_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file.json"
    write_private(path, "é\n")
    assert path.read_text(encoding="utf-8") == "é\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_another_mode_is_kept_to(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_private(path, "", mode=0o644, is_durable=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("text", ["whole", "\ud800"])
def test_what_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, text: str) -> None:
    path = tmp_path / "file.json"
    if text == "whole":
        path.mkdir()  # a folder stands in the way of the last step
    else:
        path.write_text("before")  # half of a pair, which is not text
    with pytest.raises((OSError, UnicodeEncodeError)):
        write_private(path, text)
    assert list(tmp_path.iterdir()) == [path]
    assert path.is_dir() or path.read_text() == "before"
