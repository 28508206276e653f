"""The processes of compose.yaml on this machine, without containers: Redis, two gateways and HAProxy, on loopback.

It needs `redis-server` and `haproxy`, and `pip install '.[cli,redis,yaml]'`. It prints the address and the
token of a user, and runs until Ctrl-C. With `--check` it makes calls while each instance is stopped and started again.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from jackfield import HttpConfig, MCPClientSessionManager

HERE = Path(__file__).parent
START_SECONDS = 60.0
GATEWAYS = ("gateway-1", "gateway-2")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class Deployment:
    """The processes, with addresses and files of this machine in the place of those of the containers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.services: dict[str, Any] = yaml.safe_load((HERE / "compose.yaml").read_text())["services"]
        self.ports = {name: free_port() for name in self.services}
        self.url = f"http://127.0.0.1:{self.ports['proxy']}/mcp"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "keys").touch(0o600)
        (folder / "keys").write_text(secrets.token_hex(32))
        (folder / "servers.json").write_text(
            (HERE / "servers.json").read_text().replace("/etc/jackfield", str(HERE)).replace("python3", sys.executable)
        )
        added = self.jackfield("serve-token", "add", "ann", "--token-file", str(folder / "tokens"))
        self.token = subprocess.run(
            added, check=True, capture_output=True, text=True, env=self.environment
        ).stdout.strip()

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "HOME": str(self.folder), "XDG_CACHE_HOME": str(self.folder)}

    def jackfield(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "jackfield", *arguments]

    def local(self, word: str, name: str) -> str:
        """A word of a command as it is here."""
        word = word.replace("/run/secrets", str(self.folder)).replace("/etc/jackfield", str(self.folder))
        word = word.replace("0.0.0.0:8000", f"127.0.0.1:{self.ports[name]}").replace("172.28.0.0/24", "127.0.0.0/8")
        word = word.replace("redis:6379", f"127.0.0.1:{self.ports['redis']}")
        return re.sub(r"(gateway-\d):8000", lambda found: f"127.0.0.1:{self.ports[found[1]]}", word)

    def line(self, name: str) -> list[str]:
        """The command of a service."""
        match name:
            case "redis":
                given = [str(word) for word in self.services[name]["command"]]
                bind = ["--port", str(self.ports[name]), "--bind", "127.0.0.1", "--dir", str(self.folder)]
                return [*given, *bind]
            case "proxy":
                config = self.local((HERE / "haproxy.cfg").read_text(), name)
                config = re.sub(r"bind :8443 .*", f"bind 127.0.0.1:{self.ports[name]}", config)
                (self.folder / "haproxy.cfg").write_text(config)
                program = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin") or "haproxy"
                return [program, "-db", "-f", str(self.folder / "haproxy.cfg")]
            case _:
                return self.jackfield(*(self.local(str(word), name) for word in self.services[name]["command"]))

    def start(self, name: str) -> None:
        """Start a service, and wait until it takes connections; a gateway, until it is ready."""
        with (self.folder / f"{name}.log").open("ab") as log:
            line = self.line(name)
            self.processes[name] = subprocess.Popen(
                line, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment, cwd=self.folder
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.answers(name):
            if self.processes[name].poll() is not None or time.monotonic() > deadline:
                sys.exit(f"{name} did not start:\n{(self.folder / f'{name}.log').read_text()}")
            time.sleep(0.05)

    def answers(self, name: str) -> bool:
        try:
            if name in GATEWAYS:
                with urllib.request.urlopen(f"http://127.0.0.1:{self.ports[name]}/health/ready", timeout=5) as answer:
                    return answer.status == 200
            with socket.create_connection(("127.0.0.1", self.ports[name]), 1):
                return True
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, name: str, number: int = signal.SIGTERM) -> int:
        process = self.processes.pop(name)
        process.send_signal(number)
        return process.wait(60)

    def __enter__(self) -> Deployment:
        try:
            for name in ("redis", *GATEWAYS, "proxy"):
                self.start(name)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in reversed(list(self.processes)):
            # Nobody is to be sent elsewhere any more.
            self.stop(name, signal.SIGINT)


async def check(deployment: Deployment) -> None:
    """Calls go on while one instance after the other is stopped and started again."""
    headers = {"Authorization": f"Bearer {deployment.token}"}
    gateway = HttpConfig(server_name="gateway", url=deployment.url, headers=headers)
    calls, is_over = 0, asyncio.Event()

    async def keep_calling() -> None:
        nonlocal calls
        async with MCPClientSessionManager() as manager:
            while not is_over.is_set():
                async with manager.open_session(gateway, key="ann") as session:
                    result = await session.call_tool("call_tool", {"tool": "clock.now", "arguments": {}})
                    assert not result.is_error, result.text
                    calls += 1
                await asyncio.sleep(0.05)

    calling = asyncio.create_task(keep_calling())
    for name in GATEWAYS:
        before = calls
        while calls < before + 5 and not calling.done():
            await asyncio.sleep(0.05)
        code = await asyncio.to_thread(deployment.stop, name)
        assert code == 143, (name, code)
        await asyncio.to_thread(deployment.start, name)
    before = calls
    while calls < before + 5 and not calling.done():
        await asyncio.sleep(0.05)
    is_over.set()
    await calling
    print(f"{calls} calls, none failed, while each instance was stopped and started again.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="make calls while instances are stopped and started")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, Deployment(Path(folder)) as deployment:
        if given.check:
            asyncio.run(check(deployment))
            return
        print(f"{deployment.url}\nAuthorization: Bearer {deployment.token}", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("Stopping ...")


if __name__ == "__main__":
    main()
