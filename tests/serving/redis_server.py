"""A Redis of one's own: a real `redis-server` on a random port of loopback, gone when it is done with."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from redis import Redis

START_SECONDS = 30.0


def missing() -> str | None:
    """Why there can be no Redis here, and what to do; `None` if there can."""
    return None if shutil.which("redis-server") else "redis-server is not installed: scripts/services.sh"


class RedisServer:
    """A running Redis. Nothing is kept on disk unless `append_only` is given.

    Args:
        folder: For its log, and its append-only file.
        append_only: Keep what is written across restarts.
        options: More options of the command line, such as `("--maxmemory", "5mb")`.
    """

    def __init__(self, folder: Path, *, append_only: bool = False, options: tuple[str, ...] = ()) -> None:
        self._folder = folder
        self._options = options
        self.append_only = append_only
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """Where it listens; the same after a restart."""
        return f"redis://127.0.0.1:{self.port}"

    @property
    def socket_url(self) -> str:
        """The same over its Unix socket."""
        return f"unix://{self._folder / 'redis.sock'}"

    @property
    def process_id(self) -> int:
        """Of the one that runs."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; on the same port as before."""
        assert self._process is None
        for _ in range(10):
            port = self.port or _free_port()
            if self._started(port):
                self.port = port
                return
        raise RuntimeError(f"redis-server did not start: {(self._folder / 'redis.log').read_text()[-500:]}")

    def _started(self, port: int) -> bool:
        # Else a busy disk makes it write up to two seconds after it acknowledged.
        persistence = ["--appendonly", "yes" if self.append_only else "no", "--appendfsync", "always", "--save", ""]
        place = ["--bind", "127.0.0.1", "--port", str(port), "--unixsocket", str(self._folder / "redis.sock")]
        # It ends with this process, also where that is killed.
        parent = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with (self._folder / "redis.log").open("ab") as log:
            process = subprocess.Popen(
                [*parent, "redis-server", *place, *persistence, "--dir", str(self._folder), *self._options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )
        deadline = time.monotonic() + START_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if _answers(port):
                self._process = process
                return True
            time.sleep(0.01)
        process.kill()
        process.wait()
        return False

    def connections(self) -> int:
        """How many clients are connected, this one included."""
        with Redis.from_url(self.url) as client:
            return len(client.client_list())

    def pause(self) -> None:
        """Stop it without closing anything: as a host that does not answer."""
        os.kill(self.process_id, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        os.kill(self.process_id, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once (kill -9)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def restart(self, *, empty: bool = False) -> None:
        """Start it after `kill`; without what it kept, if asked."""
        self.kill()
        if empty:
            shutil.rmtree(self._folder / "appendonlydir", ignore_errors=True)
        self.start()


@contextmanager
def running_redis(*, append_only: bool = False, options: tuple[str, ...] = ()) -> Iterator[RedisServer]:
    """Run a Redis as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="redis-") as folder:
        server = RedisServer(Path(folder), append_only=append_only, options=options)
        try:
            yield server
        finally:
            server.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1) as connection:
        connection.sendall(b"PING\r\n")
        # With a password, the answer is an error.
        return connection.recv(64).startswith((b"+PONG", b"-NOAUTH", b"-DENIED"))
    return False
