"""Starts the two servers that "run elsewhere". In real life somebody else does, and you have their URLs."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SERVERS = Path(__file__).parent / "servers"

# A server gets so many seconds after SIGTERM to close its connections.
_STOP_SECONDS = 3.0


@dataclass(frozen=True)
class RunningServer:
    """Where a server listens, and its process."""

    url: str
    process_id: int


@contextmanager
def running_elsewhere(script: str, transport: str, *arguments: str) -> Iterator[RunningServer]:
    """Run a server on a free loopback port as long as the block lasts; `arguments` stand before the transport.

    Raises:
        RuntimeError: It did not come up; what it wrote stands above on stderr.
    """
    with ExitStack() as stack:
        process = stack.enter_context(
            subprocess.Popen(
                [sys.executable, str(SERVERS / script), *arguments, transport],
                stdout=subprocess.PIPE,
                text=True,
                # Ctrl-C in a terminal goes to a whole process group: these are stopped in order, below.
                process_group=0,
            )
        )
        stack.callback(_stop, process)
        assert process.stdout
        word, _, url = process.stdout.readline().strip().partition(" ")
        if word != "LISTENING":
            raise RuntimeError(f"{script} did not start; exit code {process.wait(_STOP_SECONDS)}")
        yield RunningServer(url, process.pid)


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
