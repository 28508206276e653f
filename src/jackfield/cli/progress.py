"""Progress of a call, as one line on the terminal that is written over and wiped away."""

from __future__ import annotations

import sys
import time

from .text import duration, printable

_EVERY_SECONDS = 0.05


class ProgressLine:
    """A line on stderr. Use it as a context manager: leaving wipes the line.

    Args:
        columns: Of the terminal.
    """

    def __init__(self, columns: int) -> None:
        self._columns = columns
        self._is_drawn = False
        self._drawn_at = 0.0

    def opening(self, server_name: str, seconds: float | None) -> None:
        """Say that a server opens, and about how long that takes; progress takes its place."""
        about = "" if seconds is None else f", about {duration(seconds)}"
        self._is_drawn = True
        self._write(f"\r\x1b[K{printable(f'opening {server_name}{about}')[: self._columns - 1]}")

    def __call__(self, done: float, total: float | None, message: str | None) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if now - self._drawn_at < _EVERY_SECONDS and done != total:
            return
        self._drawn_at, self._is_drawn = now, True
        self._write(f"\r\x1b[K{progress_text(done, total, message)[: self._columns - 1]}")

    def wipe(self) -> None:
        """Leave no trace of it."""
        if self._is_drawn:
            self._is_drawn = False
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *exc: object) -> None:
        self.wipe()


def progress_text(done: float, total: float | None, message: str | None) -> str:
    """How far it is, in words; `message` is the server's."""
    share = f"{100 * done / total:3.0f}%" if total else f"{done:g}"
    return f"{share} {printable(' '.join((message or '').split()))}".rstrip()
