"""The daemon's private directory, with its lock and its socket.

**The lock decides.** The daemon holds it (flock) from before it listens until it has ended, and the kernel releases
it however the process ends. A socket without a lock holder is stale, even if something answers, and no process id
is ever read from a file to signal it. Nothing in a directory that other users can enter is trusted.
"""

from __future__ import annotations

import contextlib
import os
import socket
import stat
import struct
import sys
from collections.abc import Mapping
from pathlib import Path

from ..errors import DaemonError

# Commands and daemons of different versions meet by these names, so they stay.
LOCK = "keeper.lock"
SOCKET = "keeper.sock"

# Elsewhere than on Linux a socket's path has to fit into the address itself.
_MAX_PATH_BYTES = 100


def is_supported() -> bool:
    """Whether this platform can keep sessions."""
    return sys.platform != "win32" and hasattr(socket, "AF_UNIX")


def not_supported() -> DaemonError:
    """What to say where it cannot."""
    return DaemonError(
        "Kept sessions need Unix sockets, which Python does not have on Windows.",
        sent=False,
        hint="Use `jackfield shell` to keep sessions within one command, or WSL.",
    )


def runtime_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """The directory for this user's socket: `$XDG_RUNTIME_DIR/jackfield`, or one like it."""
    given = environment.get("XDG_RUNTIME_DIR", "")
    if os.path.isabs(given):
        return Path(given) / "jackfield"
    user = os.getuid()
    if sys.platform == "darwin" and os.path.isabs(private := environment.get("TMPDIR", "")):
        return Path(private) / f"jackfield-{user}"
    if os.path.isdir(session := f"/run/user/{user}"):
        return Path(session) / "jackfield"
    return Path(f"/tmp/jackfield-{user}")  # noqa: S108 - its owner and mode are checked


class Place:
    """The directory, opened and found to be ours alone. Close it, or use it as a context manager."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    def __enter__(self) -> Place:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the descriptor."""
        os.close(self._descriptor)

    @classmethod
    def find(cls, *, create: bool) -> Place | None:
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
            raise _not_usable(path, "it cannot be created") from None
        except OSError as error:
            if not create and isinstance(error, NotADirectoryError) and not os.path.lexists(path):
                return None
            raise _not_usable(path, str(error.strerror).lower()) from None
        problem = _problem(os.fstat(descriptor))
        if problem is not None:
            os.close(descriptor)
            raise DaemonError(
                f"The directory {path} is not trusted with kept sessions: {problem}.",
                sent=False,
                hint=f"Look into it, then remove it or: chmod 700 {path}",
            )
        return cls(path, descriptor)

    # The lock

    def take_lock(self) -> int | None:
        """The locked file, as a descriptor to close; `None` if another process holds the lock.

        Raises:
            DaemonError: The file cannot be opened.
        """
        return self._locked(os.O_RDWR | os.O_CREAT)

    def is_locked(self) -> bool:
        """Whether a background process is there, if only just starting or ending.

        Raises:
            DaemonError: The file cannot be opened.
        """
        try:
            descriptor = self._locked(os.O_RDONLY)
        except FileNotFoundError:
            return False
        if descriptor is not None:
            os.close(descriptor)
        return descriptor is None

    def has_lock(self, descriptor: int) -> bool:
        """Whether the file of this descriptor still is the lock that others would take."""
        try:
            here = os.stat(LOCK, dir_fd=self._descriptor, follow_symlinks=False)
            return os.path.samestat(here, os.fstat(descriptor)) and os.path.samestat(
                os.stat(self.path), os.fstat(self._descriptor)
            )
        except OSError:
            return False

    def daemon_id(self) -> str:
        """The id that the holder of the lock, or a killed former holder, wrote into it; never used to signal a process.

        It marks the processes that the daemon started.
        """
        try:
            descriptor = os.open(LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._descriptor)
        except OSError:
            return ""
        try:
            return os.pread(descriptor, 64, 0).decode("ascii", "replace")
        finally:
            os.close(descriptor)

    def _locked(self, flags: int) -> int | None:
        import fcntl

        try:
            descriptor = os.open(LOCK, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise _not_usable(self.path, f"{LOCK} in it cannot be opened ({str(error.strerror).lower()})") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor

    # The socket

    def connect(self, timeout: float) -> socket.socket:
        """A connection to the listener, with `timeout` (seconds) set on it.

        Raises:
            OSError: Nothing listens.
            DaemonError: Another user's process listens.
        """
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(timeout)
            connection.connect(self._address())
            user, _ = peer(connection)
            if user is not None and user != os.geteuid():
                raise DaemonError(
                    f"The socket {self.path / SOCKET} belongs to a process of another user.",
                    sent=False,
                    hint="Find out who put it there, then remove it.",
                )
        except BaseException:
            connection.close()
            raise
        return connection

    def listener_id(self) -> int | None:
        """The listener's process id, from the kernel; `None` if nothing listens or the kernel does not say."""
        try:
            with self.connect(1.0) as connection:
                return peer(connection)[1]
        except OSError:
            return None

    def listen(self) -> socket.socket:
        """A listening socket of mode 0600, in the place of a stale one. Only for the holder of the lock.

        Raises:
            OSError: It cannot be made.
        """
        self._unlink_socket()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(self._address())
            listener.listen(128)
        except BaseException:
            listener.close()
            raise
        finally:
            os.umask(mask)
        return listener

    def remove_socket(self, lock: int) -> None:
        """Take the socket away, unless the lock was removed, and the socket is another process's by now."""
        if self.has_lock(lock):
            self._unlink_socket()

    def _unlink_socket(self) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(SOCKET, dir_fd=self._descriptor)

    def _address(self) -> str:
        if sys.platform == "linux" and os.path.isdir("/proc/self/fd"):
            # By the descriptor: the very directory that was checked, however long its path is.
            return f"/proc/self/fd/{self._descriptor}/{SOCKET}"
        path = str(self.path / SOCKET)
        if len(os.fsencode(path)) > _MAX_PATH_BYTES:
            raise DaemonError(
                f"The path of the socket is too long for this platform: {path}",
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


def _not_usable(path: Path, problem: str) -> DaemonError:
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
