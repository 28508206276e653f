"""Runs the command as a real process, in a home of its own, in a pipe or in a terminal; compares with golden outputs.

`JACKFIELD_GOLDEN=write pytest tests/cli` writes the golden outputs anew; look at the difference before you commit it.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pexpect
import pytest

from jackfield import Catalog
from jackfield.cli.app import main
from jackfield.cli.trust_store import TrustStore
from jackfield.config.discover import Discovery, discover, sources
from jackfield.config.outline import ServerOutline

from ..conftest import MARK, SERVERS, TOKEN, quick_python
from ..daily import daily

GOLDEN = Path(__file__).parent / "golden"
COLORED, PLAIN = ("color", {"FORCE_COLOR": "1"}), ("plain", {"NO_COLOR": "1"})
LAYOUTS = daily(
    [(80, COLORED), (120, PLAIN)],
    whole=[(columns, kind) for columns in (80, 120) for kind in (COLORED, PLAIN)],
)
"""On a terminal; every day each width and each kind once."""
PYTHON = sys.executable


@dataclass(frozen=True)
class Done:
    """What a finished command left."""

    exit_code: int
    stdout: str
    stderr: str = ""

    @property
    def json(self) -> Any:
        """Its data."""
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        """Its error, with `--json`."""
        return json.loads(self.stderr.splitlines()[-1])


class Command:
    """The command `jackfield` with a home and a project folder of its own.

    Args:
        folder: Where both are made.

    Attributes:
        python: `PYTHON` where a test counts processes, or sends signals before the command has begun.
    """

    def __init__(self, folder: Path) -> None:
        self.python = quick_python()
        self.home = folder / "home"
        self.project = self.home / "project"
        self.project.mkdir(parents=True)
        (self.project / ".git").mkdir()
        self.environment = {
            "HOME": str(self.home),
            "XDG_CACHE_HOME": str(self.home / ".cache"),
            "XDG_CONFIG_HOME": str(self.home / ".config"),
            "XDG_RUNTIME_DIR": str(self.home / ".run"),
            "XDG_STATE_HOME": str(self.home / ".state"),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            MARK: TOKEN,
        }
        for name in ("COVERAGE_PROCESS_START", "COVERAGE_PROCESS_CONFIG", "PYTHONPATH", "SSL_CERT_DIR"):
            if name in os.environ:
                self.environment[name] = os.environ[name]

    @property
    def catalog(self) -> Catalog:
        """The catalog that the command uses."""
        return Catalog(self.home / ".cache" / "jackfield" / "catalog")

    def discovered(self) -> Discovery:
        """What the command finds."""
        return discover(sources(self.project, self.environment))

    def outline(self, name: str) -> ServerOutline:
        """What the command says of a server; its identity comes from the key in the command's state folder."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("JACKFIELD_STATE_DIR", str(self.home / ".state" / "jackfield"))
            return self.discovered().servers[name].outline(None)

    def remembered(self, name: str) -> Path:
        """The file in the catalog about a server."""
        return self.catalog.folder / f"{self.outline(name).catalog_key}.json"

    def remember(
        self,
        name: str,
        tools: Sequence[Mapping[str, Any]] = (),
        *,
        listed_ago: float | None = 3 * 3600 + 60,
        failure: str | None = None,
        **facts: Any,
    ) -> None:
        """Put into the catalog what a configured server is said to offer.

        Args:
            name: The server.
            tools: As over the wire.
            listed_ago: Seconds; `None`: never listed.
            failure: Why it could not be opened last.
            facts: As for `Catalog.record`.
        """
        outline = self.outline(name)
        self.catalog.inside.record(outline, tools, **facts)
        file = self.remembered(name)
        data = json.loads(file.read_text())
        data["fetched_at"] = 0.0 if listed_ago is None else time.time() - listed_ago
        if failure is not None:
            data |= {"failure": failure, "failed_at": time.time() - 130}
        file.write_text(json.dumps(data))

    def accept(self, *names: str) -> None:
        """Trust servers of project files."""
        servers = self.discovered().servers
        store = TrustStore(self.home / ".state" / "jackfield" / "trust.json")
        store.accept([servers[name] for name in names or servers])

    def line(self, *arguments: str) -> list[str]:
        """The command line, for tests that start it themselves."""
        return [self.python, "-m", "jackfield", *arguments]

    def __call__(
        self,
        *arguments: str,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        timeout: float = 60,
    ) -> Done:
        """Run it with pipes."""
        done = subprocess.run(
            self.line(*arguments),
            input=stdin,
            stdin=subprocess.DEVNULL if stdin is None else None,
            capture_output=True,
            text=True,
            env={**self.environment, **(env or {})},
            cwd=cwd or self.project,
            timeout=timeout,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def spawn(self, *arguments: str, columns: int = 80, env: Mapping[str, str] | None = None) -> pexpect.spawn[str]:
        """Start it in a terminal."""
        first, *others = self.line(*arguments)
        return pexpect.spawn(
            first,
            others,
            dimensions=(40, columns),
            env={**self.environment, **(env or {})},  # type: ignore[arg-type]
            cwd=str(self.project),
            encoding="utf-8",
            timeout=30,
        )

    def in_terminal(self, *arguments: str, columns: int = 80, env: Mapping[str, str] | None = None) -> Done:
        """Run it in a terminal to its end; what it writes on stdout and stderr comes together."""
        terminal = self.spawn(*arguments, columns=columns, env=env)
        text = terminal.read()
        terminal.wait()
        terminal.ptyproc.delayafterclose = 0  # it has ended
        terminal.close()
        return Done(terminal.exitstatus or 0, text.replace("\r\n", "\n"))

    def configure(self, name: str = ".mcp.json", /, **servers: Mapping[str, Any]) -> Path:
        """Write a file in the project; `everything(...)` and the like make servers."""
        return write_servers(self.project / name, servers)

    def configure_user(self, **servers: Mapping[str, Any]) -> Path:
        """Write the user's own file, which is trusted."""
        return write_servers(self.home / ".config" / "jackfield" / "jackfield.json", servers)


def write_servers(file: Path, servers: Mapping[str, Any]) -> Path:
    """Write a configuration file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"mcpServers": servers}, indent=2))
    return file


def everything(*options: str, **more: Any) -> dict[str, Any]:
    """The entry of `servers/everything.py` over stdio."""
    script = str(SERVERS / "everything.py")
    return {"command": quick_python(), "args": [script, "stdio", *options], "env": {MARK: TOKEN}, **more}


def unruly_entry(*options: str, **more: Any) -> dict[str, Any]:
    """The entry of `servers/unruly.py`, which misbehaves on demand."""
    return {"command": PYTHON, "args": ["-S", str(SERVERS / "unruly.py"), *options], "env": {MARK: TOKEN}, **more}


def ledger_entry(folder: Path, **more: Any) -> dict[str, Any]:
    """The entry of `servers/ledger.py`, whose database is in `folder`."""
    arguments = ["-S", str(SERVERS / "ledger.py"), str(folder / "ledger.db")]
    return {"command": PYTHON, "args": arguments, "env": {MARK: TOKEN}, **more}


@pytest.fixture
def jackfield(tmp_path: Path, nothing_left: None) -> Command:
    """The command, with nothing configured."""
    return Command(tmp_path)


@pytest.fixture
def here(
    jackfield: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Done]:
    """Runs the command in this process, where the home and the project are those of `jackfield`."""
    for name, value in jackfield.environment.items():
        monkeypatch.setenv(name, value)
    for name in ("VIRTUAL_ENV", "JACKFIELD_CACHE_DIR", "JACKFIELD_STATE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(jackfield.project)

    def run(*arguments: str) -> Done:
        exit_code = main(arguments)
        return Done(exit_code, *capsys.readouterr())

    return run


def golden(name: str, text: str, *scrubs: tuple[str, str]) -> None:
    """Compare with a golden output; each scrub is a pattern and what stands for it. The line that says that a server
    opens, which is wiped again, is left out."""
    text = re.sub(r"\r\x1b\[Kopening [^\r]*\r\x1b\[K", "", text)
    for pattern, stand_in in scrubs:
        text = re.sub(pattern, stand_in, text)
    file = GOLDEN / f"{name}.txt"
    if os.environ.get("JACKFIELD_GOLDEN") == "write":
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert file.exists(), f"write it with JACKFIELD_GOLDEN=write: {file.name}"
    assert text == file.read_text()


def golden_layouts(
    run: Command,
    name: str,
    *arguments: str,
    scrubs: tuple[tuple[str, str], ...] = (),
    exit_code: int = 0,
    with_progress: bool = True,
) -> None:
    """Compare a command's output at 80 and 120 columns, in colour and without (`LAYOUTS`), and in a pipe.

    `with_progress=False` leaves out the progress display, which never looks the same twice.
    """
    still = {} if with_progress else {"TERM": "dumb"}
    for columns, (kind, env) in LAYOUTS:
        done = run.in_terminal(*arguments, columns=columns, env={**env, **still})
        assert done.exit_code == exit_code, done.stdout
        golden(f"{name}.{columns}.{kind}", done.stdout, *scrubs)
    piped = run(*arguments)
    assert piped.exit_code == exit_code, piped.stderr
    golden(f"{name}.piped", f"{piped.stdout}--- stderr\n{piped.stderr}", *scrubs)
