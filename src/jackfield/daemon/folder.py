"""The daemon's private directory, with its lock and its socket.

**The lock decides.** The daemon holds it (flock) from before it listens until it has ended, and the kernel releases
it however the process ends. A socket without a lock holder is stale, even if something answers, and no process id
is ever read from a file to signal it.
"""

from __future__ import annotations

import os
import socket

from ..local.directory import PrivateDirectory, not_usable, peer

# Commands and daemons of different versions meet by these names, so they stay.
LOCK = "keeper.lock"
SOCKET = "keeper.sock"


class Place(PrivateDirectory):
    """The directory, with the daemon's lock and socket."""

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
            here = os.stat(LOCK, dir_fd=self.descriptor, follow_symlinks=False)
            return os.path.samestat(here, os.fstat(descriptor)) and os.path.samestat(
                os.stat(self.path), os.fstat(self.descriptor)
            )
        except OSError:
            return False

    def daemon_id(self) -> str:
        """The id that the holder of the lock, or a killed former holder, wrote into it; never used to signal a process.

        It marks the processes that the daemon started.
        """
        try:
            descriptor = os.open(LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self.descriptor)
        except OSError:
            return ""
        try:
            return os.pread(descriptor, 64, 0).decode("ascii", "replace")
        finally:
            os.close(descriptor)

    def _locked(self, flags: int) -> int | None:
        import fcntl

        try:
            descriptor = os.open(LOCK, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self.descriptor)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise not_usable(self.path, f"{LOCK} in it cannot be opened ({str(error.strerror).lower()})") from None
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
        """A connection to the daemon, with `timeout` (seconds) set on it.

        Raises:
            OSError: Nothing listens.
            DaemonError: Another user's process listens.
        """
        return self.connect_to(SOCKET, timeout)

    def listener_id(self) -> int | None:
        """The listener's process id, from the kernel; `None` if nothing listens or the kernel does not say."""
        try:
            with self.connect(1.0) as connection:
                return peer(connection)[1]
        except OSError:
            return None

    def listen(self) -> socket.socket:
        """The daemon's socket, in the place of a stale one. Only for the holder of the lock.

        Raises:
            OSError: It cannot be made.
        """
        return self.listen_at(SOCKET)

    def remove_socket(self, lock: int) -> None:
        """Take the socket away, unless the lock was removed, and the socket is another process's by now."""
        if self.has_lock(lock):
            self.unlink(SOCKET)
