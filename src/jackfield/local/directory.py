"""The private directory of a user's sockets. Nothing in a directory that other users can enter is trusted."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from ..errors import DaemonError

# Elsewhere than on Linux a socket's path has to fit into the address itself.
_MAX_PATH_BYTES = 100


def is_supported() -> bool:
    """Whether this platform has such sockets."""
    return sys.platform != "win32" and hasattr(socket, "AF_UNIX")


def not_supported() -> DaemonError:
    """What to say where it has none."""
    return DaemonError(
        "Kept sessions need Unix sockets, which Python does not have on Windows.",
        sent=False,
        hint="Use `jackfield shell` to keep sessions within one command, or WSL.",
    )


def runtime_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for this user's sockets: `$XDG_RUNTIME_DIR/jackfield`, or one like it."""
    given = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        return Path(given) / "jackfield"
    user = os.getuid()
    if sys.platform == "darwin" and os.path.isabs(private := environment.get("TMPDIR", "")):
        return Path(private) / f"jackfield-{user}"
    if os.path.isdir(session := f"/run/user/{user}"):
        return Path(session) / "jackfield"
    return Path(f"/tmp/jackfield-{user}")  # noqa: S108 - its owner and mode are checked


class PrivateDirectory:
    """The directory, opened and found to be ours alone. Close it, or use it as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self.descriptor)

    @classmethod
    def find(cls, *, create: bool) -> Self | None:
        """The directory; `None` if there is none and it should not be created.

        Raises:
            DaemonError: It cannot be created, or other users could write to it.
        """
        if not is_supported():
            raise not_supported()
        path = runtime_dir()
        try:
            if create:
                with contextlib.suppress(FileExistsError):
                    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                    path.mkdir(mode=0o700)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                return None
            raise not_usable(path, "it cannot be created") from None
        except OSError as error:
            if not create and isinstance(error, NotADirectoryError) and not os.path.lexists(path):
                return None
            raise not_usable(path, str(error.strerror).lower()) from None
        problem = _problem(os.fstat(descriptor))
        if problem is not None:
            os.close(descriptor)
            raise DaemonError(
                f"The directory {path} is not trusted with sessions: {problem}.",
                sent=False,
                hint=f"Check its contents, then remove it or run: chmod 700 {path}",
            )
        return cls(path, descriptor)

    def connect_to(self, name: str, timeout: float) -> socket.socket:
        """A connection to the listener of a socket, with `timeout` (seconds) set on it.

        Raises:
            OSError: Nothing listens.
            DaemonError: Another user's process listens.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self._address(name))
            user, _ = peer(connection)
            if user is not None and user != os.geteuid():
                raise DaemonError(
                    f"The socket {self.path / name} belongs to a process of another user.",
                    sent=False,
                    hint="Find out who put it there, then remove it.",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def listen_at(self, name: str) -> socket.socket:
        """A listening socket of mode 0600, in the place of what is there by this name.

        Raises:
            OSError: It cannot be made.
        """
        # It appears by its name once it listens, so that one that refuses connections is always stale.
        unfinished = f".{name}.{os.getpid()}"
        self.unlink(unfinished)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(self._address(unfinished))
            os.chmod(unfinished, 0o600, dir_fd=self.descriptor)
            listener.listen(128)
            os.rename(unfinished, name, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        except BaseException:
            listener.close()
            self.unlink(unfinished)
            raise
        return listener

    def unlink(self, name: str) -> None:
        """Remove a socket, if it is there."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self.descriptor)

    def _address(self, name: str) -> str:
        if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
            # By the descriptor: the very directory that was checked, however long its path is.
            return f"/proc/self/fd/{self.descriptor}/{name}"
        path = str(self.path / name)
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise DaemonError(
                f"The socket's path is too long for this platform: {path}",
                sent=False,
                hint="Set XDG_RUNTIME_DIR to a directory with a shorter path.",
            )
        return path


def _problem(status: os.stat_result) -> str | None:
    if status.st_uid != os.geteuid():
        return "it belongs to another user"
    if mode := stat.S_IMODE(status.st_mode) & 0o077:
        return f"others may use it (mode {stat.S_IMODE(status.st_mode):o}, of which {mode:o} is too much)"
    return None


def not_usable(path: Path, problem: str) -> DaemonError:
    """The error for a directory that cannot be used."""
    return DaemonError(
        f"Kept sessions need the directory {path}, but {problem}.",
        sent=False,
        hint="Set XDG_RUNTIME_DIR to a directory that you can write to.",
    )


def peer(connection: socket.socket) -> tuple[int | None, int | None]:
    """User and process id of the peer, from the kernel; `None` if it does not say.

    For a connected socket that is the process which called `listen()`.
    """
    if sys.platform == "linux":
        pid, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return user, pid
    if sys.platform == "darwin":
        # <sys/un.h>: SOL_LOCAL 0, LOCAL_PEERCRED 1 (struct xucred: version, uid, ...), LOCAL_PEERPID 2.
        _, user = struct.unpack_from("II", connection.getsockopt(0, 1, 76))
        (pid,) = struct.unpack("i", connection.getsockopt(0, 2, 4))
        return user, pid
    return None, None
