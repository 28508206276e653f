"""Instances of `jackfield serve` behind HAProxy and the store that they share, as a team would run them."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import anyio
from tests.cli.conftest import Command
from tests.forked import program_of
from tests.gateway.conftest import QUICK
from tests.serving.cluster.cluster import PROXY, StartError, free_port, get, haproxy, missing, running, until_listens

from jackfield import HttpConfig

START_SECONDS = 60.0


class GatewayInstance:
    """One `jackfield serve --http`. It comes back to the same port when it is started again.

    Args:
        name: For its log, and for HAProxy.
        command: Runs it.
        options: Of `jackfield serve`.
        folder: For its log.
    """

    def __init__(self, name: str, command: Command, options: Sequence[str], folder: Path) -> None:
        self.name = name
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.log = folder / f"{name}.log"
        self.environment: Mapping[str, str] = command.environment
        self._command = command
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None
        self.pid = 0

    async def start(self) -> None:
        """Run it, until it serves.

        Raises:
            StartError: It does not.
        """
        self.pid = 0
        line = self._command.line("serve", "--http", f"127.0.0.1:{self.port}", *self._options)
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                line,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.environment,
                cwd=self._command.project,
            )
        await until_listens(self.port, self._process, self.log)
        with anyio.fail_after(START_SECONDS):
            while (await get(self.port, "/ready"))[0] != 200:
                await anyio.sleep(0.02)
        # The program itself: what was started may only stand for it.
        self.pid = program_of(self._process.pid)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def ended(self, seconds: float = 30.0) -> int:
        """Wait until it has ended; its exit code."""
        assert self._process is not None
        with anyio.fail_after(seconds):
            while self._process.poll() is None:
                await anyio.sleep(0.01)
        return self._process.returncode

    async def kill(self) -> None:
        """End it by `kill -9`."""
        self.signal(signal.SIGKILL)
        await self.ended()

    async def aclose(self) -> None:
        """End it, however it stands."""
        if self._process is not None and self._process.poll() is None:
            with suppress(ProcessLookupError):  # it ends
                for number in (signal.SIGCONT, signal.SIGTERM):
                    os.kill(self.pid or self._process.pid, number)
            try:
                await self.ended()
            except TimeoutError:
                await self.kill()


class Team:
    """Instances, and the address at which HAProxy takes requests for them."""

    def __init__(self, instances: Sequence[GatewayInstance], port: int) -> None:
        self.instances = instances
        self.url = f"http://127.0.0.1:{port}/mcp"

    def config(self, **more: object) -> HttpConfig:
        """For our own client, through HAProxy."""
        return HttpConfig(server_name="gateway", url=self.url, **{"session": QUICK, "protocol": "handshake", **more})  # type: ignore[arg-type]


@asynccontextmanager
async def running_team(
    command: Command,
    folder: Path,
    store: str,
    *options: str,
    instances: int = 2,
    is_public: bool = False,
    apart: bool = False,
) -> AsyncGenerator[Team]:
    """Run instances of a gateway behind HAProxy, which sends them requests in turn.

    Args:
        command: Runs them.
        folder: For what they write.
        store: The URL of what they share.
        options: Of `jackfield serve`.
        instances: How many.
        is_public: Whether they know the address of HAProxy.
        apart: Whether each keeps its state in a folder of its own, as on a machine of its own.
    """
    port = free_port()
    if is_public:
        options = (*options, "--public-url", f"http://127.0.0.1:{port}/mcp")
    folder.mkdir(parents=True, exist_ok=True)
    keys = folder / "keys"
    keys.touch(0o600)
    keys.write_text(secrets.token_hex(32) + "\n")
    given = ("--redis" if store.startswith("redis") else "--postgres", store, "--keys-file", str(keys), *options)
    members = [GatewayInstance(f"i{number}", command, given, folder) for number in range(1, instances + 1)]
    if apart:
        for member in members:
            member.environment = {**command.environment, "JACKFIELD_STATE_DIR": str(folder / f"state-{member.name}")}
    program = haproxy()
    assert program is not None, missing()
    try:
        async with anyio.create_task_group() as tasks:
            for member in members:
                tasks.start_soon(member.start)
        config = folder / "haproxy.cfg"
        servers = "\n".join(f"  server {one.name} 127.0.0.1:{one.port}" for one in members)
        config.write_text(PROXY.format(port=port, servers=servers, closing="  option httpclose"))
        proxy_log = folder / "haproxy.log"
        with running([program, "-db", "-f", str(config)], proxy_log, {}) as process:
            await until_listens(port, process, proxy_log)
            yield Team(members, port)
    except StartError as error:
        raise StartError("\n".join([str(error), *(one.log.read_text()[-2000:] for one in members)])) from None
    finally:
        with anyio.CancelScope(shield=True):
            async with anyio.create_task_group() as tasks:
                for member in members:
                    tasks.start_soon(member.aclose)
