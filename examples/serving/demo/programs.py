"""The programs of the demo: Redis, the load balancer, the instances. They are gone when it is over."""

from __future__ import annotations

import asyncio
import shutil
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).parent
START_SECONDS = 30.0
STOP_SECONDS = 10.0

REDIS_MISSING = "redis-server is not installed: apt-get install redis-server (as root; scripts/services.sh does it)"

_HAPROXY = """\
defaults
    mode http
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    # Only what could not connect is tried elsewhere: a request that was sent may have been run.
    retry-on conn-failure
    option redispatch 1
    # Each connection serves one request: if an instance breaks it, the client is answered with 502.
    option httpclose
    # Events of a stream go on at once, and do not wait up to 200 ms for more.
    option http-no-delay
frontend mcp
    bind 127.0.0.1:{port}
    default_backend instances
backend instances
    balance roundrobin
    # An instance that is told to stop serves on until this notices.
    option httpchk GET /ready
    default-server check inter 200ms fall 1 rise 1
    # What answers late is busy, and not gone: without this line it has as long as lies between two checks.
    timeout check 5s
{servers}
"""


class Program:
    """A program that listens on a port of loopback.

    Args:
        command: What to run.
        port: Where it will listen.
        log: Where it writes what it says.
    """

    def __init__(self, command: list[str], port: int, log: Path) -> None:
        self.port = port
        self._command = command
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def is_haproxy(self) -> bool:
        """Whether it is HAProxy."""
        return Path(self._command[0]).name == "haproxy"

    async def start(self) -> None:
        """Start it, and wait until it listens.

        Raises:
            RuntimeError: It did not.
        """
        # It ends with this process, also where that is killed. Ctrl-C in a terminal is not for it.
        bound = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*bound, *self._command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        async with asyncio.timeout(START_SECONDS):
            while not self._listens():
                if self._process.poll() is not None:
                    said = self._log.read_text(errors="replace").strip().splitlines()[-3:]
                    raise RuntimeError(f"{Path(self._command[0]).name} did not start: {' / '.join(said)}")
                await asyncio.sleep(0.05)

    def _listens(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def kill(self) -> None:
        """End it at once, as `kill -9` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Let it end, as a process manager does."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(STOP_SECONDS)
        self.kill()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        return chosen.getsockname()[1]


def redis(folder: Path) -> Program:
    """A Redis that keeps nothing on disk."""
    port = free_port()
    options = ["--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
    return Program(["redis-server", *options], port, folder / "redis.log")


def instance(name: str, redis_url: str, ledger: Path, folder: Path) -> Program:
    """An instance of the server."""
    port = free_port()
    command = [sys.executable, str(HERE / "instance.py"), name, str(port), redis_url, str(ledger)]
    return Program(command, port, folder / f"{name}.log")


def haproxy() -> str | None:
    """The program, where it is installed; Debian has it where only root looks."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def balancer(instances: Mapping[str, Program], folder: Path, *, own: bool) -> Program:
    """What clients connect to: HAProxy, or one of our own."""
    port, program = free_port(), haproxy()
    if own or program is None:
        ports = [str(instance.port) for instance in instances.values()]
        return Program([sys.executable, str(HERE / "balancer.py"), str(port), *ports], port, folder / "balancer.log")
    servers = "\n".join(f"    server {name} 127.0.0.1:{one.port}" for name, one in instances.items())
    configuration = folder / "haproxy.cfg"
    configuration.write_text(_HAPROXY.format(port=port, servers=servers))
    return Program([program, "-db", "-f", str(configuration)], port, folder / "haproxy.log")
