"""Who takes part, and how they are measured in turns: each lives in a process of its own, in its own environment."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
SERVER = str(HERE / "servers.py")
QUICK = str(HERE.parent / "tests" / "servers" / "rig.py")
WORK: dict[str, Any] = {"n": 1, "seconds": 0, "bytes": 0}
"""All that the tools of `rig.py` take: some peers send a null for what is left out."""

MARK = "JACKFIELD_PEERS_SERVER"
LIMIT = 120.0
"""Seconds that a contestant may take for one order; who takes longer is out of the row."""


@dataclass(frozen=True)
class Contestant:
    """One that is measured.

    Args:
        name: In the results.
        title: In tables.
        way: How it is used, as `worker.py` takes it.
        imports: What a program that uses it imports.
        environment: Below the folder of the peers; ours if empty.
        base: The raw SDK in the same environment.
        reopens: Whether each of its calls opens the server again.
    """

    name: str
    title: str
    way: str
    imports: str
    environment: str = ""
    base: str = "raw"
    reopens: bool = False


RAW = Contestant("raw", "raw SDK", "raw_sdk:handshake", "mcp")
OURS = Contestant("jackfield", "Jackfield", "jackfield_sessions:handshake", "jackfield")
FRAMEWORKS = [
    Contestant("jackfield_langchain", "`toolkit.langchain()`", "jackfield_sessions:langchain", ""),
    Contestant("jackfield_autogen", "`manager.workbench()`", "jackfield_sessions:autogen", ""),
    Contestant("jackfield_ag2", "`toolkit.ag2()`", "jackfield_sessions:ag2", ""),
]
"""Ours as a framework is given it, to stand beside what else the framework can be given."""


def _peer(name: str, title: str, way: str, imports: str, environment: str, *, reopens: bool = False) -> Contestant:
    return Contestant(name, title, way, imports, environment, f"raw_{environment}", reopens)


FASTMCP = _peer("fastmcp", "`fastmcp.Client`", "fastmcp_clients:handshake", "fastmcp", "fastmcp_client")
PEERS = [
    FASTMCP,
    _peer(
        "langchain_get_tools",
        "LangChain `get_tools()`",
        "drivers.langchain_adapters:DRIVER",
        "langchain_mcp_adapters.client",
        "langchain_adapters",
        reopens=True,
    ),
    _peer(
        "langchain_session",
        "LangChain `session()`",
        "drivers.langchain_session:DRIVER",
        "langchain_mcp_adapters.client",
        "langchain_adapters",
    ),
    _peer(
        "autogen", "`McpWorkbench`", "drivers.autogen_workbench:DRIVER", "autogen_ext.tools.mcp", "autogen_workbench"
    ),
    _peer("mcp_use", "`mcp-use`", "drivers.mcp_use_client:DRIVER", "mcp_use", "mcp_use_client"),
    _peer("ag2", "AG2's manager", "drivers.ag2_manager:closed_by_hand", "autogen.mcp.mcp_client", "ag2_manager"),
]
RAW_OF_PEERS = [
    Contestant(f"raw_{environment}", f"raw SDK of {environment}", "raw_sdk:handshake", "mcp", environment)
    for environment in dict.fromkeys(peer.environment for peer in PEERS)
]
NEWEST = [
    Contestant("raw", "raw SDK", "raw_sdk:newest", "mcp"),
    Contestant("jackfield", "Jackfield", "jackfield_sessions:newest", "jackfield"),
    _peer("fastmcp", "`fastmcp.Client`", "fastmcp_clients:newest", "fastmcp", "fastmcp_client"),
]
"""Those that speak the protocol of 2026-07-28."""


class UnableError(Exception):
    """A contestant cannot do what it was told to."""


@dataclass(frozen=True)
class Plan:
    """How much is measured.

    Args:
        peers: The folder with their environments, if there are to be any.
        quick: Only to see that it works: one round of little.
        short: Three rounds at most, for a machine that has others to serve.
        routing_data: The folder with the public data for finding tools, if it is there.
    """

    peers: Path | None = None
    quick: bool = False
    short: bool = False
    routing_data: Path | None = None

    def rounds(self, count: int) -> int:
        """How often, of how often it is to be done."""
        return 1 if self.quick else min(3, count) if self.short else count

    def cycles(self, count: int) -> int:
        """How many sessions one after another, of how many it is to be."""
        return 3 if self.quick else count // 10 if self.short else count

    def python(self, contestant: Contestant) -> str:
        """Its interpreter."""
        if not contestant.environment:
            return sys.executable
        assert self.peers
        return str(self.peers / contestant.environment / "bin" / "python")

    def with_peers(self, ours: Sequence[Contestant], peers: Sequence[Contestant]) -> list[Contestant]:
        """Ours, and those of the peers that are installed, with the raw SDK of each."""
        if self.peers is None:
            return list(ours)
        bases = [raw for raw in RAW_OF_PEERS if raw.environment in {peer.environment for peer in peers}]
        return [*ours, *bases, *peers]


class Worker:
    """A contestant at work in a process of its own."""

    def __init__(self, contestant: Contestant, plan: Plan) -> None:
        self.contestant = contestant
        self.token = secrets.token_hex(8)
        self._command = [plan.python(contestant), str(HERE / "worker.py"), contestant.way, self.token]
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Begin; it takes a while until it is ready, in which others can begin as well."""
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("BENCH_VERBOSE") else subprocess.DEVNULL,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    def server(self, *args: str, name: str = "server", url: str = "") -> dict[str, Any]:
        """A server of this worker, found again by a mark in its environment."""
        if url:
            return {"name": name, "url": url}
        return {"name": name, "command": sys.executable, "args": list(args), "environment": self.marked(name)}

    def marked(self, name: str) -> dict[str, str]:
        """The environment of a server."""
        return {MARK: f"{self.token}/{name}"}

    def ask(self, do: str, *, limit: float = LIMIT, **arguments: Any) -> Any:
        """Have it do something, and wait for what comes of it.

        Raises:
            UnableError: It cannot, or not in time.
        """
        assert self._process
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        return self.answer(limit)

    def answer(self, limit: float = LIMIT) -> Any:
        """What it says next."""
        assert self._process
        assert self._process.stdout
        ready, _, _ = select.select([self._process.stdout], [], [], limit)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            why = f"no end within {limit:g} s" if not ready else "its process ended"
            self.stop()
            self.start()
            with contextlib.suppress(UnableError):
                self.answer()
            raise UnableError(why)
        answer = json.loads(line)
        if "error" in answer:
            raise UnableError(answer["error"])
        return answer["result"]

    def stop(self) -> None:
        """End it, and all servers that it has left."""
        assert self._process
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if f"{MARK}={self.token}/".encode() in (folder / "environ").read_bytes():
                    os.kill(int(folder.name), signal.SIGKILL)


def close_all(workers: Iterable[Worker]) -> None:
    """Close the sessions of each; who cannot is told, and the others go on."""
    for worker in workers:
        try:
            worker.ask("close", limit=20)
        except UnableError as error:
            print(f"{worker.contestant.name}: {error}")


def environment() -> dict[str, str]:
    """For every process: byte code is kept, nobody reports to anybody."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "MCP_USE_ANONYMIZED_TELEMETRY": "false", "FASTMCP_CHECK_FOR_UPDATES": "off"}


@contextmanager
def workers(contestants: Sequence[Contestant], plan: Plan) -> Iterator[list[Worker]]:
    """All of them, ready."""
    started = [Worker(contestant, plan) for contestant in contestants]
    try:
        for worker in started:
            worker.start()
        for worker in started:
            worker.answer(5 * LIMIT)
        yield started
    finally:
        for worker in started:
            worker.stop()


@dataclass
class Tried:
    """What came of the rounds: values by contestant, and of those that were unable, why."""

    samples: dict[str, list[float]]
    notes: dict[str, str]


SLOW = 1.0
"""Seconds: what takes longer is measured in three rounds, not more."""


def in_turns(
    able: Sequence[Worker],
    one: Callable[[Worker], float | Sequence[float]],
    rounds: int,
    *,
    parts: int = 1,
    seconds: float = 20.0,
) -> list[Tried]:
    """Measure all in each round, so that a slow moment of the machine hits all; every other round backwards.

    Args:
        able: Who takes part.
        one: Measures one; several values at once, if it has several parts.
        rounds: How often, if there is time.
        parts: How many values there are.
        seconds: After which no further round is begun, but for the first two.
    """
    end = time.monotonic() + seconds
    tried = [Tried({}, {}) for _ in range(parts)]
    out: set[str] = set()
    slow: set[str] = set()
    for number in range(rounds):
        if number >= 2 and time.monotonic() > end:
            break
        for worker in able if number % 2 == 0 else reversed(able):
            name = worker.contestant.name
            if name in out or (name in slow and number >= 3):
                continue
            started = time.monotonic()
            try:
                values = one(worker)
            except UnableError as error:
                out.add(name)
                for part in tried:
                    part.samples.pop(name, None)
                    part.notes[name] = str(error)
                continue
            if time.monotonic() - started > SLOW:
                slow.add(name)
            for part, value in zip(tried, values if isinstance(values, Sequence) else [values], strict=True):
                part.samples.setdefault(name, []).append(value)
    return tried


def bases(contestants: Sequence[Contestant]) -> Mapping[str, str]:
    """For each the raw SDK of its environment."""
    return {contestant.name: contestant.base for contestant in contestants if contestant.environment}


@contextmanager
def http_server(command: Sequence[str] = (), *, script: str = SERVER, before: Sequence[str] = ()) -> Iterator[str]:
    """The benchmarks' server over HTTP, in a process of its own: its address.

    Args:
        command: What follows the port.
        script: Another server.
        before: What its port follows.
    """
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, script, *before, str(port), *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            assert time.monotonic() < end, "the server does not start"
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}/mcp"
    finally:
        process.kill()
        process.wait()
