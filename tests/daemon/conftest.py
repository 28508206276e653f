"""A home of its own for each test's background process, which is ended after the test."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest
from tests.conftest import MARK, SERVERS, TOKEN, eventually, quick_python

from jackfield.daemon.ending import end_process
from jackfield.daemon.kept import KeptSession, close_sessions, processes
from jackfield.local.directory import runtime_dir

PYTHON = sys.executable


class Home:
    """Where the background process of one test lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log_file = folder / "state" / "daemon.log"

    def enter(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Make it the home of this process."""
        monkeypatch.setattr(sys, "executable", quick_python())
        monkeypatch.setenv("XDG_RUNTIME_DIR", str(self.folder / "run"))
        monkeypatch.setenv("JACKFIELD_STATE_DIR", str(self.folder / "state"))

    @property
    def directory(self) -> Path:
        """Its socket and lock are here."""
        return runtime_dir()

    @property
    def socket(self) -> Path:
        return self.directory / "keeper.sock"

    @property
    def process(self) -> psutil.Process:
        """The background process, which must be running."""
        found = processes()
        assert found
        return psutil.Process(found["process"]["pid"])

    def all(self) -> list[psutil.Process]:
        """All background processes of this test, running or starting."""
        found = []
        for process in psutil.process_iter():
            try:
                is_daemon = "jackfield.daemon" in process.cmdline() and process.environ().get(MARK) == TOKEN
                if is_daemon and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found

    def is_gone(self, seconds: float = 10.0) -> bool:
        """Whether no background process is left in time."""
        return eventually(lambda: not self.all(), seconds)

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def client(
        self, code: str, config: Mapping[str, Any] | None = None, *, python: str | None = None, **options: Any
    ) -> subprocess.Popen[str]:
        """A Python program that runs `code`, with `session` made of `config`."""
        lines = [
            "import json, os, sys, time",
            "from jackfield.daemon.kept import KeptSession, close_sessions, processes",
            f"config = json.loads({json.dumps(json.dumps(config))})",
            "session = KeptSession(config, origin='test', keep=True) if config else None",
            textwrap.dedent(code),
        ]
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.PIPE)
        script = self.folder / f"client-{secrets.token_hex(4)}.py"
        script.write_text("\n".join(lines))
        return subprocess.Popen([python or quick_python(), script], text=True, **options)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Iterator[Home]:
    """A home whose background process is ended after the test, however it was left."""
    home = Home(tmp_path)
    home.enter(monkeypatch)
    monkeypatch.setenv(MARK, TOKEN)
    yield home
    for process in home.all():
        process.resume()
    end_process()
    assert home.is_gone()


@pytest.fixture(scope="module")
def lasting_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    home = Home(tmp_path_factory.mktemp("home"))
    yield home
    with pytest.MonkeyPatch.context() as patch:
        home.enter(patch)
        end_process()


@pytest.fixture
def shared(lasting_home: Home, monkeypatch: pytest.MonkeyPatch, nothing_left: None) -> Iterator[Home]:
    """A background process that all tests of a module use, each leaving it as it was found: with no session."""
    lasting_home.enter(monkeypatch)
    monkeypatch.setenv("JACKFIELD_DAEMON_LINGER", "600")
    yield lasting_home
    found = processes()
    for info in found["sessions"] if found else ():
        close_sessions(info["server"])


Unruly = Callable[..., dict[str, Any]]


@pytest.fixture
def unruly_fields(tmp_path: Path) -> Unruly:
    """Makes configurations of `servers/unruly.py` as mappings, as a command without pydantic has them."""

    def make(*options: str, name: str = "unruly", **more: Any) -> dict[str, Any]:
        return {
            "server_name": name,
            "command": sys.executable,
            "args": ["-S", str(SERVERS / "unruly.py"), "--log", str(tmp_path / "runs.log"), *options],
            "environment": {MARK: TOKEN},
            **more,
        }

    return make


@pytest.fixture
def kept(unruly_fields: Unruly) -> KeptSession:
    """A session with a plain server, not open yet."""
    return KeptSession(unruly_fields(), origin="test", keep=True)


def fields_of(kept: KeptSession) -> dict[str, Any]:
    """The configuration of a session, for a client in another process."""
    return kept._server["config"]


def text(answer: Any) -> str:
    """The text of a tool's answer."""
    return "\n".join(block["text"] for block in answer.result["content"])


def is_running(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def variables(process: psutil.Process) -> dict[str, str]:
    return process.environ()


def others_id() -> int:
    """A user id that is not ours; only root can give files to it."""
    if os.geteuid() != 0:
        pytest.skip("only root can make files of others")
    return 65534
