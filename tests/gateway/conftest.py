"""`jackfield serve` as a real process, as a host program starts it, with servers behind it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import psutil
import pytest
from tests.cli.conftest import Command, everything, jackfield, ledger_entry, unruly_entry
from tests.conftest import strays
from tests.relayed import chatty

from jackfield import HttpConfig, SessionConfig, StdioConfig

__all__ = [
    "Serving",
    "behind",
    "chatty",
    "everything",
    "jackfield",
    "ledger_entry",
    "serving",
    "stdio_config",
    "unruly_entry",
]

QUICK = SessionConfig(timeout=30, call_timeout=30)


def stdio_config(command: Command, *options: str, **more: Any) -> StdioConfig:
    """The gateway over stdio, for our own client."""
    return StdioConfig(
        server_name="gateway",
        command=command.python,
        args=["-m", "jackfield", "serve", "--stdio", *options],
        environment=command.environment,  # type: ignore[arg-type]
        working_dir=command.project,
        **{"session": QUICK, **more},
    )


def behind(gateway: int | None = None) -> list[int]:
    """The processes of servers that gateways have started.

    Args:
        gateway: A process that is a gateway, where it is not `jackfield serve`.
    """
    # Also of one that it has forked and that is no other program yet.
    its_own = psutil.Process(gateway).cmdline() if gateway is not None else None
    found: list[int] = []
    for process in strays():
        with suppress(psutil.Error):
            line = process.cmdline()
            found += [] if "serve" in line or line == its_own else [process.pid]
    return found


class Serving:
    """`jackfield serve --http`, running."""

    def __init__(
        self, command: Command, *options: str, env: dict[str, str] | None = None, address: str = "127.0.0.1:0"
    ) -> None:
        self.process = subprocess.Popen(
            command.line("serve", "--http", address, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**command.environment, **(env or {})},
            cwd=command.project,
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()

    def config(self, **more: Any) -> HttpConfig:
        """For our own client; `handshake` has sessions."""
        return HttpConfig(server_name="gateway", url=self.url, **{"session": QUICK, "protocol": "handshake", **more})

    def end(self, signal_number: int) -> int:
        """Send a signal; returns the exit code."""
        self.process.send_signal(signal_number)
        return self.process.wait(30)


@pytest.fixture
def serving(jackfield: Command) -> Iterator[Callable[..., Serving]]:
    """Starts gateways over HTTP, and ends them after the test."""
    started: list[Serving] = []

    def start(*options: str, **more: Any) -> Serving:
        started.append(Serving(jackfield, *options, **more))
        assert started[-1].url, started[-1].process.communicate()[1]
        return started[-1]

    yield start
    for gateway in started:
        gateway.process.terminate()
        gateway.process.communicate(timeout=30)
