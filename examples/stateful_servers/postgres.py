"""A PostgreSQL of one's own: a new cluster in a temporary folder, gone when it is done with.

Only the programs are needed (Debian: the package `postgresql`); no server of the machine is touched. It listens on a
Unix socket in that folder, which only its owner can enter.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INSTALL = "apt-get install postgresql (as root; `make third-party` does it)"
PLACES = ["/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql@*/bin"]
START_SECONDS = 60.0
STOP_SECONDS = 10.0

# Nothing in it is worth a disk's time.
SETTINGS = ["fsync=off", "full_page_writes=off", "shared_buffers=16MB", "max_connections=100", "autovacuum=off"]


class PostgresError(RuntimeError):
    """There is no PostgreSQL; the text says why."""


class PostgresMissingError(PostgresError):
    """PostgreSQL is not installed, or may not be run here; the text says what to do."""


@dataclass(frozen=True)
class RunningPostgres:
    """Where it is to be reached, and its process."""

    url: str
    process_id: int


def programs() -> Path | None:
    """The folder with `initdb` and `postgres`, of the newest version; `None` if there is none."""
    found = shutil.which("postgres")
    folders = [Path(found).resolve().parent] if found else []
    for pattern in PLACES:
        versions = Path("/").glob(pattern.lstrip("/"))
        folders += sorted(versions, key=lambda folder: [len(folder.parent.name), folder.parent.name], reverse=True)
    usable = (folder for folder in folders if (folder / "initdb").exists() and (folder / "postgres").exists())
    return next(usable, None)


def missing() -> str | None:
    """Why there can be no PostgreSQL here, and what to do; `None` if there can."""
    if programs() is None:
        return f"PostgreSQL is not installed: {INSTALL}"
    try:
        _identity()
    except PostgresMissingError as error:
        return str(error)
    return None


@contextmanager
def running_postgres(template: Path | None = None) -> Iterator[RunningPostgres]:
    """Run one as long as the block lasts.

    Args:
        template: A folder for a copy of the empty database: the next one is made of it in a tenth of the time.

    Raises:
        PostgresMissingError: It is not installed.
        PostgresError: It did not start; with its own words.
    """
    bin_folder = programs()
    if bin_folder is None:
        raise PostgresMissingError(f"PostgreSQL is not installed: {INSTALL}")
    identity = _identity()
    # Variables such as PGPORT would change what is started here.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")} | {"LC_ALL": "C"}
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        if identity:
            os.chown(folder, identity["user"], identity["group"])
        # A group of its own: Ctrl-C in a terminal is not for it, and all of it can be ended at once.
        options: dict[str, Any] = {"cwd": folder, "env": environment, "process_group": 0, **identity}

        def start(program: str, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
            log_file = folder / f"{program}.log"
            with log_file.open("wb") as log:
                command = [str(bin_folder / program), *arguments]
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
            stack.callback(_stop, process)
            return process, log_file

        data = folder / "data"
        if template is not None and template.exists():
            _copy(template, data, **identity)
        else:
            owner = ["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
            making, log_file = start("initdb", "-D", str(data), *owner)
            if making.wait(START_SECONDS):
                raise PostgresError(f"PostgreSQL's initdb failed: {_tail(log_file)}")
            if template is not None:
                _copy(data, template)
        settings = [part for setting in SETTINGS for part in ("-c", setting)]
        server, log_file = start("postgres", "-D", str(data), "-k", str(folder), "-h", "", *settings)
        _wait_until_ready(server, data, log_file)
        yield RunningPostgres(f"postgresql://postgres@/postgres?host={folder}&port=5432", server.pid)


def _copy(source: Path, target: Path, *, user: int = -1, group: int = -1, **_: object) -> None:
    half = target.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    shutil.copytree(source, half)
    for path in [half, *half.rglob("*")]:
        os.chown(path, user, group)
    half.rename(target)


def _identity() -> dict[str, Any]:
    """For `Popen`: whom to run it as. PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    try:
        entry = pwd.getpwnam("postgres")
    except KeyError:
        raise PostgresMissingError(
            "PostgreSQL does not run as root, and there is no user `postgres`: useradd --system postgres"
        ) from None
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def _wait_until_ready(server: subprocess.Popen[bytes], data: Path, log_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(OSError, IndexError):
            # The eighth line is its state; pg_ctl reads the same.
            if (data / "postmaster.pid").read_text().splitlines()[7].strip() == "ready":
                return
        if server.poll() is not None or time.monotonic() > deadline:
            raise PostgresError(f"PostgreSQL did not start: {_tail(log_file)}")
        time.sleep(0.02)


def _stop(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGQUIT)  # at once; nobody needs the data any more
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-5:]) or "it wrote nothing"
