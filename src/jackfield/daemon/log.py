"""The background process's log: one file that only its user can read, and that does not grow without end."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from ..files import user_state_folder

MAX_LOG_BYTES = 512 * 1024


def log_path() -> Path:
    """Path of the log."""
    return user_state_folder() / "daemon.log"


def open_log() -> None:
    """Send the logger `jackfield`, stdout and stderr to the log; nowhere, if it cannot be written."""
    handler = _DaemonLog(log_path())
    handler.setFormatter(logging.Formatter("%(asctime)s %(process)d %(levelname)s %(message)s"))
    logging.captureWarnings(True)
    # What others log may hold what is secret; without this Python would print it.
    logging.getLogger().addHandler(logging.NullHandler())
    for name, level in (("jackfield", logging.INFO), ("asyncio", logging.WARNING), ("py.warnings", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.setLevel(level)
        logger.addHandler(handler)


class _DaemonLog(logging.Handler):
    """Appends to stderr, which is the file; past the limit the file becomes `daemon.log.1`, and a new one begins."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._reopen()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if os.fstat(2).st_size > MAX_LOG_BYTES:
                self._reopen()
            os.write(2, f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except Exception:  # noqa: S110 - a full disk must not end anybody's session, and there is nowhere to tell of it
            pass

    def _reopen(self) -> None:
        """Make the file, or a fresh one in place of a full one, stdout and stderr."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if self._path.exists() and self._path.stat().st_size > MAX_LOG_BYTES:
                self._path.replace(self._path.with_suffix(".log.1"))
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
            os.fchmod(descriptor, 0o600)
        except OSError:
            descriptor = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number in (1, 2):
            os.dup2(descriptor, number)
        os.close(descriptor)
