"""A warm call through a gateway, against the same server called directly: time, throughput, CPU of the gateway.

The server costs next to nothing (`bare_server.py`). It is called by a client written by hand and by the SDK's client,
one call after another and fifty at once, directly over stdio and over HTTP, and through `jackfield serve`, fastmcp's
proxy and mcp-proxy, each over stdio and over HTTP. All are measured side by side, round by round. What is seen by the
client written by hand is the gateway's; with the SDK's client, over HTTP, most of a call is that client's own work.

    python -m benchmarks.gateway.overhead [--peers FOLDER] [--rounds 7] [--only NAME]...
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from tests.serving.cluster.cluster import free_port, running, until_listens

from ..arena import HERE
from .callers import Address, Caller, at_once, bare, sdk

SERVER = str(HERE / "bare_server.py")
CALLS = 200
"""One after another, of one measurement."""
CALLS_AT_ONCE = 1000
TEXT = "x" * 10
SECONDS = 120.0

DIRECT = "direct"
DIRECT_HTTP = "direct, HTTP"
"""The same server by the same client over HTTP: what no gateway over HTTP can be faster than."""
CLIENTS = {"bare client": bare, "SDK's client": sdk}


@dataclass
class Measured:
    """What was measured of one way and one client, a value a round."""

    p50_ms: list[float] = field(default_factory=list[float])
    p95_ms: list[float] = field(default_factory=list[float])
    calls_a_second: list[float] = field(default_factory=list[float])
    cpu_ms: list[float] = field(default_factory=list[float])
    """Of the gateway's processes for one of many calls at once, without those of the server."""


@dataclass
class Way:
    """How the server is reached.

    Args:
        name: In tables.
        address: What clients call.
        tool: The name that the server's tool has there.
    """

    name: str
    address: Address
    tool: str = "echo"
    pids: Sequence[int] = ()
    """Processes that are there before a client comes."""
    by_client: dict[str, Measured] = field(default_factory=dict[str, Measured])


def _cpu_seconds(ours: Sequence[int]) -> float:
    """Of these processes and of those below them, but for the server's."""
    total = 0.0
    for pid in ours:
        try:
            process = psutil.Process(pid)
            if process.cmdline()[1:2] != [SERVER]:
                times = process.cpu_times()
                total += times.user + times.system
        except psutil.Error:
            continue
    return total


async def measure(way: Way, client: str) -> None:
    """One round."""
    own = psutil.Process()
    before = {child.pid for child in own.children(recursive=True)}
    measured = way.by_client.setdefault(client, Measured())
    async with CLIENTS[client](way.address) as caller:
        await warm(caller, way.tool)
        pids = list(way.pids) + [one.pid for one in own.children(recursive=True) if one.pid not in before]
        taken: list[float] = []
        for _ in range(CALLS):
            started = time.perf_counter()
            await caller.call(way.tool, TEXT)
            taken.append((time.perf_counter() - started) * 1e3)
        cpu, started = _cpu_seconds(pids), time.perf_counter()
        await at_once(CALLS_AT_ONCE, lambda: caller.call(way.tool, TEXT))
        measured.calls_a_second.append(CALLS_AT_ONCE / (time.perf_counter() - started))
        measured.cpu_ms.append((_cpu_seconds(pids) - cpu) / CALLS_AT_ONCE * 1e3)
    taken.sort()
    measured.p50_ms.append(taken[len(taken) // 2])
    measured.p95_ms.append(taken[int(len(taken) * 0.95)])


async def warm(caller: Caller, tool: str) -> None:
    """Calls that open what there is to open."""
    answer = await caller.call(tool, TEXT)
    assert answer == TEXT, answer
    await at_once(100, lambda: caller.call(tool, TEXT))


@asynccontextmanager
async def ways(folder: Path, peers: Path | None, only: Sequence[str]) -> AsyncGenerator[list[Way]]:
    """All that are measured, ready to be called."""
    config = folder / "servers.json"
    server = [sys.executable, SERVER, "1"]
    config.write_text(json.dumps({"mcpServers": {"bare": {"command": server[0], "args": server[1:]}}}))
    ours = [sys.executable, "-m", "jackfield", "--config", str(config), "serve", "--all-tools"]
    over_stdio = {DIRECT: server, "jackfield serve --stdio": [*ours, "--stdio"]}
    over_http = {"jackfield serve --http": [*ours, "--http", "127.0.0.1:{port}"]}
    async with AsyncExitStack() as stack:

        async def serving(name: str, command: Sequence[str]) -> tuple[str, int]:
            port = free_port()
            log = folder / f"{name}.log"
            process = stack.enter_context(running([one.format(port=port) for one in command], log, {}))
            await until_listens(port, process, log)
            return f"http://127.0.0.1:{port}/mcp", process.pid

        url, _ = await serving("bare over HTTP", [*server, "{port}"])
        direct_http = Way(DIRECT_HTTP, Address(url=url))
        if peers is not None:
            fastmcp = [str(peers / "fastmcp_proxy" / "bin" / "fastmcp"), "run", str(config), "--no-banner"]
            proxy = str(peers / "mcp_proxy" / "bin" / "mcp-proxy")
            over_stdio["fastmcp run, stdio"] = fastmcp
            over_stdio["mcp-proxy, HTTP to stdio"] = [proxy, "--transport", "streamablehttp", url]
            over_http["fastmcp run, HTTP"] = [*fastmcp, "--transport", "http", "--port", "{port}"]
            over_http["mcp-proxy, stdio to HTTP"] = [proxy, "--port", "{port}", "--", *server]
        found = [Way(name, Address(command)) for name, command in over_stdio.items() if _is_wanted(name, only)]
        found.append(direct_http)
        for name, command in over_http.items():
            if _is_wanted(name, only):
                url, pid = await serving(name, command)
                found.append(Way(name, Address(url=url), pids=[pid]))
        yield found


def _is_wanted(name: str, only: Sequence[str]) -> bool:
    return name == DIRECT or not only or any(word in name for word in only)


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


COLUMNS = [
    "p50",
    "to direct",
    "to direct, HTTP",
    "added",
    "p95 / p50",
    "50 at once",
    "to direct",
    "to direct, HTTP",
    "gateway's CPU",
]


def table(client: str, found: Sequence[Way]) -> str:
    """What was measured with one client, as a Markdown table."""
    base, http = found[0].by_client[client], _over_http(found).by_client[client]
    lines: list[str] = []
    for way in found:
        seen, is_gateway = way.by_client[client], way.name not in (DIRECT, DIRECT_HTTP)
        own = http if way.address.url else base
        added = statistics.median(a - b for a, b in zip(seen.p50_ms, own.p50_ms, strict=True))
        is_http = is_gateway and bool(way.address.url)
        cells = [
            f"{statistics.median(seen.p50_ms):.2f} ms",
            f"{ratio(seen.p50_ms, base.p50_ms):.1f}x" if way is not found[0] else "",
            f"{ratio(seen.p50_ms, http.p50_ms):.1f}x" if is_http else "",
            f"{added:.2f} ms" if is_gateway else "",
            f"{ratio(seen.p95_ms, seen.p50_ms):.1f}x",
            f"{statistics.median(seen.calls_a_second):.0f}/s",
            f"{ratio(seen.calls_a_second, base.calls_a_second):.2f}x" if way is not found[0] else "",
            f"{ratio(seen.calls_a_second, http.calls_a_second):.2f}x" if is_http else "",
            f"{statistics.median(seen.cpu_ms):.2f} ms" if is_gateway else "",
        ]
        lines.append(f"| {way.name} | {' | '.join(cells)} |")
    head = [f"| {client} | {' | '.join(COLUMNS)} |", f"|{'---|' * (len(COLUMNS) + 1)}"]
    return "\n".join([*head, *lines]) + "\n"


def _over_http(found: Sequence[Way]) -> Way:
    [direct] = [way for way in found if way.name == DIRECT_HTTP]
    return direct


GOALS: Mapping[str, tuple[float, float]] = {
    "jackfield serve --stdio": (3.5, 0.45),
    "jackfield serve --http": (6.0, 0.35),
}
"""With the SDK's client: at most so many times the p50 of a direct call over stdio, and at least so much of the
throughput. For HTTP, also relative to a direct call over HTTP."""
P95 = 2.0


def verdicts(found: Sequence[Way]) -> list[str]:
    """The goals."""
    base = found[0].by_client["SDK's client"]
    lines: list[str] = []
    for way in found:
        if way.name in GOALS:
            seen, (slower, less) = way.by_client["SDK's client"], GOALS[way.name]
            p50, throughput = ratio(seen.p50_ms, base.p50_ms), ratio(seen.calls_a_second, base.calls_a_second)
            lines.append(_verdict(f"{way.name}, p50", p50, slower, at_least=False))
            lines.append(_verdict(f"{way.name}, throughput", throughput, less, at_least=True))
            if way.address.url:
                http = _over_http(found).by_client["SDK's client"]
                p50, throughput = ratio(seen.p50_ms, http.p50_ms), ratio(seen.calls_a_second, http.calls_a_second)
                same = f"{way.name}, to the same server over HTTP"
                lines.append(_verdict(f"{same}, p50", p50, slower, at_least=False))
                lines.append(_verdict(f"{same}, throughput", throughput, less, at_least=True))
            p95 = ratio(seen.p95_ms, seen.p50_ms)
            lines.append(_verdict(f"{way.name}, p95 to p50", p95, P95, at_least=False))
    return lines


def _verdict(name: str, value: float, bound: float, *, at_least: bool) -> str:
    is_met = value >= bound if at_least else value <= bound
    return f"{'met   ' if is_met else 'MISSED'} {name}: {value:.2f} (goal: {'>=' if at_least else '<='} {bound:g})"


async def compare(rounds: int, peers: Path | None, only: Sequence[str]) -> None:
    """All in turns, the order reversed every other round."""
    with tempfile.TemporaryDirectory(prefix="gateway-") as name:
        os.environ.update({f"XDG_{kind}_HOME": str(Path(name) / kind) for kind in ("CACHE", "CONFIG", "STATE")})
        async with ways(Path(name), peers, only) as found:
            for number in range(rounds):
                for way in found if number % 2 == 0 else reversed(found):
                    for client in CLIENTS:
                        async with asyncio.timeout(SECONDS):
                            await measure(way, client)
            for client in CLIENTS:
                print(table(client, found))
            print("\n".join(verdicts(found)))


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the folder that benchmarks/peers/install.sh filled")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", default=[], help="ways whose names have this in them")
    options = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {options.rounds} rounds\n")
    asyncio.run(compare(options.rounds, options.peers and options.peers.resolve(), options.only))
    print(f"\nload average {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
