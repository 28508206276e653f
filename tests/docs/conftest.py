"""Where blocks of the docs run: a fresh folder with the page's files, a PATH with this environment's programs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.docs import forked


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder for the PATH with `python3` and `jackfield`, which start quickly."""
    folder = tmp_path_factory.mktemp("programs")
    address = str(folder / "socket")
    forking = subprocess.Popen(
        [sys.executable, forked.__file__, address], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert forking.stdin
    assert forking.stdout
    assert forking.stdout.readline() == "READY\n"
    forked.put_launchers(folder / "bin", address)
    yield folder / "bin"
    forking.stdin.close()
    assert forking.wait(30) == 0
    forking.stdout.close()


@pytest.fixture
def reader(programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of somebody who reads the docs and tries what they say."""
    folder = tmp_path / "reader"
    folder.mkdir()
    # A `node` that came with this environment is not on everybody's PATH.
    path = [str(programs), os.environ["PATH"], str(Path(sys.executable).parent)]
    monkeypatch.setenv("PATH", os.pathsep.join(path))
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("JACKFIELD_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "executable", str(programs / "python3"))
    monkeypatch.chdir(folder)
    return folder
