"""A PostgreSQL of a test's own, to pause, kill and restart."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
from examples.stateful_servers import postgres
from tests.postgres import running_postgres

START_SECONDS = 60.0


class PostgresServer:
    """A running PostgreSQL. What was committed outlives `kill`: the machine goes on.

    Args:
        running: As it was started.
    """

    def __init__(self, running: postgres.RunningPostgres) -> None:
        self.url: str = running.url
        self._main = psutil.Process(running.process_id)
        self._command = self._main.cmdline()
        self._data = Path(self._main.cwd())
        self._environment = self._main.environ()
        self._restarted: subprocess.Popen[bytes] | None = None

    def _all(self) -> list[psutil.Process]:
        """The main process first: the others are each in a group of their own."""
        with suppress(psutil.NoSuchProcess):
            return [self._main, *self._main.children(recursive=True)]
        return []

    def pause(self) -> None:
        """Stop it without closing anything: as a host that does not answer. Returns when all of it stands still."""
        deadline = time.monotonic() + START_SECONDS
        stopped: set[psutil.Process] = set()
        # The main process first: it may have started another one while the list was made.
        while time.monotonic() < deadline and (moving := [one for one in self._all() if one not in stopped]):
            for process in moving:
                with suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGSTOP)
                    if process.status() == psutil.STATUS_STOPPED:
                        stopped.add(process)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (kill -9)."""
        processes = self._all()
        self._signal(signal.SIGKILL)
        if self._restarted is not None:
            self._restarted.wait()
            self._restarted = None
        psutil.wait_procs(processes, START_SECONDS)

    def restart(self) -> None:
        """Start it after `kill`, with what it had."""
        state, log_file = self._data / "postmaster.pid", self._data.parent / "restarted.log"
        state.unlink(missing_ok=True)
        with log_file.open("ab") as log:
            self._restarted = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                process_group=0,
                **postgres._identity(),
            )
        self._main = psutil.Process(self._restarted.pid)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            with suppress(OSError, IndexError):
                if state.read_text().splitlines()[7].strip() == "ready":
                    return
            time.sleep(0.02)
        raise RuntimeError(f"PostgreSQL did not start again: {log_file.read_text()}")

    def stop(self) -> None:
        """End what was started again."""
        if self._restarted is not None:
            self.kill()

    def _signal(self, number: int) -> None:
        for process in self._all():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)


@contextmanager
def own_postgres_server() -> Iterator[PostgresServer]:
    """Run one as long as the block lasts."""
    with running_postgres() as running:
        server = PostgresServer(running)
        try:
            yield server
        finally:
            server.resume()
            server.stop()
