"""Instances of a server behind HAProxy and the store that they share: real processes, on free ports of this machine."""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncGenerator, Generator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from tests.conftest import quick_python
from tests.postgres import running_postgres
from tests.serving.redis_server import running_redis

INSTANCE = Path(__file__).parent / "instance.py"
START_SECONDS = 60.0
ASK_SECONDS = 30.0
STOP_SECONDS = 30.0

# Nothing of a request is sent twice: only a connection that was refused is tried at another instance. A connection is
# used for one request: where an instance breaks one that was used before, HAProxy closes the client's without a word,
# which ends a session of the SDK's client; else it answers 502.
PROXY = """
global
  maxconn 8000
  log stdout format raw local0
defaults
  mode http
  log global
  option httplog
  option dontlog-normal
  timeout connect 2s
  timeout client 120s
  timeout server 120s
  timeout check 3s
  option redispatch 1
{closing}
  option http-no-delay
  retries 3
  retry-on conn-failure
frontend clients
  bind 127.0.0.1:{port}
  default_backend instances
backend instances
  balance roundrobin
  option httpchk GET /ready
  default-server check inter 250 fall 2 rise 1
{servers}
"""


class StartError(RuntimeError):
    """A program did not start; with its own words."""


def free_port() -> int:
    """A port that nothing listens on, and that is given to no outgoing connection: it can be used again and again."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def haproxy() -> str | None:
    """The program, which Debian has where only root looks."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin")


def missing() -> str | None:
    """What is not installed, and how to install it; `None` if all is there."""
    names = [
        name for name, found in (("redis-server", shutil.which("redis-server")), ("haproxy", haproxy())) if not found
    ]
    return f"NOT INSTALLED: {', '.join(names)}: run `scripts/services.sh`" if names else None


@contextmanager
def running(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> Generator[subprocess.Popen[bytes]]:
    """Run a program as long as the block lasts."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **environment}
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


async def get(port: int, path: str) -> tuple[int, bytes]:
    """Ask a program on a port for something small, without what an HTTP client brings along."""
    with anyio.fail_after(ASK_SECONDS):
        async with await anyio.connect_tcp("127.0.0.1", port) as stream:
            await stream.send(f"GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n".encode())
            answer = b"".join([part async for part in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if head else 0, body


async def until_listens(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the program takes connections.

    Raises:
        StartError: It ended, or took too long.
    """
    with anyio.move_on_after(START_SECONDS):
        while process.poll() is None:
            try:
                stream = await anyio.connect_tcp("127.0.0.1", port)
            except OSError:
                await anyio.sleep(0.02)
                continue
            await stream.aclose()
            return
    raise StartError(f"{process.args!r} did not start: {log.read_text()[-2000:]}")


@asynccontextmanager
async def running_store(kind: str) -> AsyncGenerator[str]:
    """A store of a kind: `memory`, `redis` or `postgres`; its URL."""
    match kind:
        case "redis":
            with running_redis() as server:
                yield server.url
        case "postgres":
            with running_postgres() as running_:
                await anyio.to_thread.run_sync(migrate, running_.url)
                yield running_.url
        case _:
            yield kind


def migrate(url: str) -> None:
    """Make the tables."""
    command = [quick_python(), "-m", "jackfield", "serving", "migrate", "--postgres", url]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise StartError(f"{command} failed: {done.stderr[-2000:]}")


class Instance:
    """One of a cluster's instances. It comes back to the same port when it is started again."""

    def __init__(self, name: str, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.log = folder / f"{name}.log"
        self.pid = 0
        self.started_at = 0.0
        self._command = [*command, "--name", name, "--port", str(self.port)]
        self._environment = environment
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    async def start(self) -> None:
        """Run it, until it serves.

        Raises:
            StartError: It does not.
        """
        self._process = self._stack.enter_context(running(self._command, self.log, self._environment))
        await until_listens(self.port, self._process, self.log)
        self.started_at = time.monotonic()
        # The program itself: what was started may only stand for it.
        self.pid = (await self.state())["pid"]

    async def state(self, *, exact: bool = False) -> dict[str, Any]:
        """What it holds: streams and requests of sessions, tasks, descriptors; where asked, memory without garbage."""
        status, body = await get(self.port, "/state?exact" if exact else "/state")
        assert status == 200, body
        return json.loads(body)

    @property
    def age(self) -> float:
        """Seconds since it began to serve."""
        return time.monotonic() - self.started_at

    @property
    def cpu_seconds(self) -> float:
        """What it has used of the processor."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def ended(self, seconds: float = STOP_SECONDS) -> int:
        """Wait until it has ended; its exit code.

        Raises:
            TimeoutError: It has not.
        """
        assert self._process is not None
        with anyio.fail_after(seconds):
            while self._process.poll() is None:
                await anyio.sleep(0.01)
        self._stack.close()
        return self._process.returncode

    async def kill(self) -> None:
        """End it by `kill -9`."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def restart(self) -> None:
        """Run it, whether it runs or not."""
        await self.aclose()
        await self.start()

    async def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Tell it to stop; its exit code.

        Raises:
            TimeoutError: It does not end by itself.
        """
        self.signal(signal.SIGTERM)
        return await self.ended(seconds)

    async def aclose(self) -> None:
        """End it, however it stands."""
        if self._process is not None and self._process.poll() is None:
            os.kill(self.pid or self._process.pid, signal.SIGCONT)
            await asyncio.to_thread(self._stack.close)
        self._stack.close()


class Cluster:
    """Instances, and the address at which HAProxy takes requests for them."""

    def __init__(self, instances: Sequence[Instance], port: int, log: Path, proxy_log: Path) -> None:
        self.instances = instances
        self.port = port
        self.proxy_log = proxy_log
        self.url = f"http://127.0.0.1:{port}/mcp"
        self.log = log

    def __getitem__(self, name: str) -> Instance:
        return next(one for one in self.instances if one.name == name)

    @property
    def runs(self) -> list[tuple[str, str]]:
        """What ran, and on which instance."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [(tag, name) for tag, name in map(str.split, lines)]

    def ran(self, tag: str) -> list[str]:
        """The instances that ran a call."""
        return [name for one, name in self.runs if one == tag]

    async def until_ran(self, tag: str, seconds: float = 20.0) -> Instance:
        """Wait until a call runs; where it does.

        Raises:
            TimeoutError: It does not.
        """
        with anyio.fail_after(seconds):
            while not (names := self.ran(tag)):
                await anyio.sleep(0.002)
        return self[names[0]]

    async def reader(self, seconds: float = 20.0) -> Instance:
        """The instance from which a client reads a session's standalone stream.

        Raises:
            TimeoutError: There is none.
        """
        with anyio.fail_after(seconds):
            while True:
                for instance in self.instances:
                    if (await instance.state())["readers"]:
                        return instance
                await anyio.sleep(0.02)

    async def until_balanced(self, seconds: float = 20.0) -> None:
        """Wait until HAProxy sends requests to every instance.

        Raises:
            TimeoutError: It does not.
        """
        pids: set[int] = set()
        with anyio.fail_after(seconds):
            while len(pids) < len(self.instances):
                status, body = await get(self.port, "/ready")
                if status == 200:
                    pids.add(int(body))
                else:
                    await anyio.sleep(0.05)


@asynccontextmanager
async def running_cluster(
    folder: Path,
    *,
    instances: int = 2,
    store: str = "memory",
    python: str = sys.executable,
    options: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    keep_alive: bool = False,
) -> AsyncGenerator[Cluster]:
    """Run instances behind HAProxy, which sends them requests in turn.

    Args:
        folder: For what they write.
        instances: How many.
        store: The URL of what they share.
        python: What runs them.
        options: Of `instance.py`.
        environment: More variables.
        keep_alive: Let HAProxy use connections for more than one request: no instance is to break any.
    """
    folder.mkdir(parents=True, exist_ok=True)
    variables = {"PYTHONPATH": str(Path(__file__).parents[3] / "src"), **(environment or {})}
    log = folder / "runs.log"
    command = [python, str(INSTANCE), "--store", store, "--log", str(log), *options]
    members = [Instance(f"i{number}", command, folder, variables) for number in range(1, instances + 1)]
    program = haproxy()
    assert program is not None, missing()
    try:
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(member.start)
        port, config = free_port(), folder / "haproxy.cfg"
        servers = "\n".join(f"  server {one.name} 127.0.0.1:{one.port}" for one in members)
        config.write_text(PROXY.format(port=port, servers=servers, closing="" if keep_alive else "  option httpclose"))
        proxy_log = folder / "haproxy.log"
        with running([program, "-db", "-f", str(config)], proxy_log, variables) as process:
            await until_listens(port, process, proxy_log)
            cluster = Cluster(members, port, log, proxy_log)
            await cluster.until_balanced()
            yield cluster
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for member in members:
                    tasks.start_soon(member.aclose)
