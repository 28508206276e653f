"""The test rig as an HTTP server that can be killed, stopped, and started again on the same port."""

from __future__ import annotations

import contextlib
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.servers.rig import Http

RIG = Path(__file__).parents[2] / "tests" / "servers" / "rig.py"


def rig_command(line: str, log: Path) -> list[str]:
    """The command line of the rig.

    Args:
        line: Transport and era, such as `http 2026`.
        log: Where the server writes what it executes.
    """
    transport, _, modern = line.partition(" ")
    return ["-S", str(RIG), transport, "--era", "modern" if modern else "handshake", "--log", str(log)]


class Served:
    """A server process. Its listening socket is held here, so that no other program can take the port meanwhile.

    Args:
        line: Transport and era, such as `http 2026`.
        log: Where the server writes what it executes.
    """

    def __init__(self, line: str, log: Path) -> None:
        self._command = rig_command(line, log)
        self._listener = Http.bound()
        self._listener.shutdown(socket.SHUT_RDWR)
        self.port: int = self._listener.getsockname()[1]
        self.path = "/sse" if line.startswith("sse") else "/mcp"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process; it listens shortly afterwards."""
        descriptor = self._listener.fileno()
        command = [sys.executable, *self._command, "--fd", str(descriptor)]
        self._process = subprocess.Popen(command, pass_fds=[descriptor])

    def wait(self, seconds: float = 20.0) -> None:
        """Wait until it listens."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port)):
                return
            time.sleep(0.01)
        raise TimeoutError(f"The server does not listen after {seconds:g} s.")

    def kill(self) -> None:
        """End the process without warning. The port refuses connections until it is started again."""
        if self._process is None:
            return
        self._process.kill()
        self._process.wait()
        self._process = None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)

    def signal(self, number: signal.Signals) -> None:
        """Send the process a signal."""
        if self._process is not None:
            self._process.send_signal(number)

    def close(self) -> None:
        """Kill the process and give up the port."""
        self.kill()
        self._listener.close()
