"""Where blocks of the docs run: a fresh folder with the page's files, a PATH with this environment's programs."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.forked import launchers


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody who reads the docs and tries what they say; their home is another."""
    folder, home = tmp_path / "reader", tmp_path / "home"
    folder.mkdir()
    home.mkdir()
    programs = launchers()
    # A `node` that came with this environment is not on everybody's PATH.
    path = [str(programs), os.environ["PATH"], str(Path(sys.executable).parent)]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("JACKFIELD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "state"))
    runtime = tmp_path / "run"  # where `jackfield top` sees what else runs for this user
    runtime.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(runtime))
    monkeypatch.setattr(sys, "executable", str(programs / "python3"))
    monkeypatch.chdir(folder)
    return folder
