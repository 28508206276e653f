"""A file that lines are appended to by any number of processes, and that is renamed once it is large.

Each line is one `write` at the file's end, which the system keeps apart from those of others. A file that was renamed
or removed meanwhile, by another process or by logrotate, is opened again under its name.
"""

from __future__ import annotations

import contextlib
import os
import stat
from itertools import pairwise
from pathlib import Path

FILE_BYTES = 10 * 1024 * 1024
"""A file beyond this is renamed, unless told otherwise."""
KEPT_FILES = 5
"""How many renamed files are kept, unless told otherwise."""


class AppendedFile:
    """Appends lines.

    Args:
        path: The file; created for the user alone. `PATH.1` is the last one that was renamed, `PATH.2` the one before.
        max_bytes: It is renamed before a line would make it larger.
        kept_files: How many renamed files are kept; the oldest is removed. 0 keeps none.
    """

    def __init__(self, path: Path, *, max_bytes: int = FILE_BYTES, kept_files: int = KEPT_FILES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._kept_files = kept_files
        self._descriptor: int | None = None
        self._is_torn = False

    def open(self) -> None:
        """Make sure that the file is there and can be appended to.

        Raises:
            OSError: It cannot; or it is not a regular file.
        """
        if not self._is_current():
            self.close()
            self._descriptor = self._opened()

    def append(self, line: bytes) -> None:
        """Write a line, which ends with its line end.

        Raises:
            OSError: It was not written, or not all of it.
        """
        self.open()
        if self._size() and self._size() + len(line) > self._max_bytes:
            self._rotate()
        data = memoryview(b"\n" + line if self._is_torn else line)
        assert self._descriptor is not None
        self._is_torn = True
        while data:
            data = data[os.write(self._descriptor, data) :]
        self._is_torn = False

    def close(self) -> None:
        """Close it; a later line opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _opened(self) -> int:
        # A device, or a pipe that nobody reads, is neither waited for nor renamed.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        for name in ("O_CLOEXEC", "O_NONBLOCK", "O_BINARY"):
            flags |= getattr(os, name, 0)  # Windows has the last one only.
        descriptor = os.open(self.path, flags, 0o600)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is not a regular file")
            if hasattr(os, "fchmod") and stat.S_IMODE(status.st_mode) & 0o077:
                os.fchmod(descriptor, 0o600)
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    def _is_current(self) -> bool:
        """Whether what is open is what stands under the name."""
        if self._descriptor is None:
            return False
        try:
            there = self.path.stat()
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._descriptor))

    def _size(self) -> int:
        assert self._descriptor is not None
        return os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        """Rename the file, unless another process is just doing it; then the line still goes into the old one."""
        assert self._descriptor is not None
        try:
            import fcntl
        except ImportError:
            self.close()
            # Windows renames no file that is open: one that other processes write to grows until they are gone.
            with contextlib.suppress(PermissionError):
                self._rename()
        else:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self._is_current():  # and was not renamed until it was locked
                self._rename()
            # Closing it also unlocks it.
            self.close()
        self._descriptor = self._opened()

    def _rename(self) -> None:
        names = [self.path]
        while len(names) <= self._kept_files and names[-1].exists():
            names.append(self.path.with_name(f"{self.path.name}.{len(names)}"))
        for newer, older in reversed(list(pairwise(names))):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
        if not self._kept_files:
            self.path.unlink(missing_ok=True)
