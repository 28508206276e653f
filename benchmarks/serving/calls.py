"""Calls of a quick tool: how long one takes, how many there are a second, what each costs the server.

All are measured side by side, round by round: the SDK's manager with event streams and with plain JSON, and served
sessions in memory, over Redis and over PostgreSQL, each on one instance that is reached directly, and by the SDK's
client through HAProxy. Then two instances against one, through HAProxy. All run under the same uvicorn.

    python -m benchmarks.serving.calls [--rounds 5] [--stores redis,postgres]
                                       [--http httptools] [--loop uvloop] [--python PROGRAM]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

from tests.serving.cluster.clients import connected
from tests.serving.cluster.cluster import Cluster, running_cluster, running_store

from .load import callers

SEQUENTIAL_CALLS = 300
CLIENT_CALLS = 100
CLIENTS, CALLS_EACH = 50, 60
SECONDS = 120.0


@dataclass(frozen=True)
class Server:
    """What runs the instances, the same for all."""

    python: str
    options: Sequence[str]

    def instances(
        self, count: int, folder: Path, store: str, by: str = "jackfield"
    ) -> AbstractAsyncContextManager[Cluster]:
        """Run some, and HAProxy before them."""
        options = ["--by", by, *self.options]
        return running_cluster(
            folder, instances=count, store=store, python=self.python, options=options, keep_alive=True
        )


@dataclass
class Contestant:
    """Whoever serves, and what was measured of it, a value a round."""

    name: str
    cluster: Cluster
    url: str
    p50_ms: list[float] = field(default_factory=list[float])
    p95_ms: list[float] = field(default_factory=list[float])
    client_p50_ms: list[float] = field(default_factory=list[float])
    calls_a_second: list[float] = field(default_factory=list[float])
    busy_p95_ms: list[float] = field(default_factory=list[float])
    cpu_ms_a_call: list[float] = field(default_factory=list[float])

    @property
    def cpu_seconds(self) -> float:
        """Of all its instances."""
        return sum(one.cpu_seconds for one in self.cluster.instances)


async def one_after_another(contestant: Contestant) -> None:
    """One client."""
    async with callers(contestant.url, 1) as [client]:
        await client.calls(30)
        taken = sorted(await client.calls(SEQUENTIAL_CALLS))
    contestant.p50_ms.append(taken[len(taken) // 2] * 1e3)
    contestant.p95_ms.append(taken[int(len(taken) * 0.95)] * 1e3)


async def by_a_client(contestant: Contestant) -> None:
    """The SDK's client, through HAProxy."""
    taken: list[float] = []
    async with connected("sdk", contestant.cluster.url) as client:
        for number in range(20 + CLIENT_CALLS):
            started = time.perf_counter()
            await client.call("where")
            if number >= 20:
                taken.append(time.perf_counter() - started)
    contestant.client_p50_ms.append(statistics.median(taken) * 1e3)


async def at_once(contestant: Contestant) -> None:
    """Fifty clients."""
    async with callers(contestant.url, CLIENTS) as clients:
        await asyncio.gather(*(client.calls(3) for client in clients))
        cpu, started = contestant.cpu_seconds, time.perf_counter()
        made = await asyncio.gather(*(client.calls(CALLS_EACH) for client in clients))
        seconds = time.perf_counter() - started
        used = contestant.cpu_seconds - cpu
    taken = sorted(one for ones in made for one in ones)
    contestant.calls_a_second.append(len(taken) / seconds)
    contestant.busy_p95_ms.append(taken[int(len(taken) * 0.95)] * 1e3)
    contestant.cpu_ms_a_call.append(used / len(taken) * 1e3)


async def measured(contestants: Sequence[Contestant], rounds: int) -> None:
    """All in turns, the order reversed every other round."""
    for number in range(rounds):
        for contestant in contestants if number % 2 == 0 else reversed(contestants):
            async with asyncio.timeout(SECONDS):
                await one_after_another(contestant)
                await by_a_client(contestant)
                await at_once(contestant)


def ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median of the rounds' ratios."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


def shown(contestants: Sequence[Contestant]) -> str:
    """A table of medians."""
    head = f"{'':24} {'p50':>8} {'p95':>8} {'client':>8} {'calls/s':>9} {'p95 busy':>9} {'CPU/call':>9}"
    rows = [
        f"{one.name:24} {statistics.median(one.p50_ms):6.2f}ms {statistics.median(one.p95_ms):6.2f}ms"
        f" {statistics.median(one.client_p50_ms):6.2f}ms"
        f" {statistics.median(one.calls_a_second):9.0f} {statistics.median(one.busy_p95_ms):7.1f}ms"
        f" {statistics.median(one.cpu_ms_a_call):7.2f}ms"
        for one in contestants
    ]
    return "\n".join([head, *rows])


def judged(name: str, value: float, bound: float, *, at_least: bool) -> str:
    """A line that says whether a goal is met."""
    met = value >= bound if at_least else value <= bound
    return f"{'met   ' if met else 'MISSED'} {name}: {value:.2f} (goal: {'>=' if at_least else '<='} {bound:g})"


def verdicts(by_name: Mapping[str, Contestant], stores: Sequence[str]) -> list[str]:
    """The goals."""
    memory, sdk = by_name["memory"], by_name["SDK, JSON"]
    lines: list[str] = []
    for store in ("memory", *stores):
        ours = by_name[store]
        if ours is not memory:
            lines.append(judged(f"{store}/memory p50", ratio(ours.p50_ms, memory.p50_ms), 1.3, at_least=False))
            seen = ratio(ours.client_p50_ms, memory.client_p50_ms)
            lines.append(judged(f"{store}/memory p50, SDK's client through HAProxy", seen, 1.3, at_least=False))
        quicker = ratio(ours.calls_a_second, sdk.calls_a_second)
        lines.append(judged(f"{store}/SDK, both in JSON, throughput", quicker, 1.3, at_least=True))
        dearer = ratio(ours.cpu_ms_a_call, sdk.cpu_ms_a_call)
        lines.append(judged(f"{store}/SDK, both in JSON, CPU of a call", dearer, 1.0, at_least=False))
    return lines


async def compare(rounds: int, stores: Sequence[str], folder: Path, server: Server) -> None:
    """One instance each."""
    async with AsyncExitStack() as stack:
        contestants: list[Contestant] = []
        for name, by, kind in (
            ("SDK, event streams", "sdk", "memory"),
            ("SDK, JSON", "sdk-json", "memory"),
            ("memory", "jackfield", "memory"),
            *((store, "jackfield", store) for store in stores),
        ):
            url = await stack.enter_async_context(running_store(kind))
            place = folder / name.replace(", ", "-").replace(" ", "-")
            cluster = await stack.enter_async_context(server.instances(1, place, url, by))
            contestants.append(Contestant(name, cluster, cluster.instances[0].url))
        await measured(contestants, rounds)
    print(shown(contestants))
    print("\n".join(verdicts({one.name: one for one in contestants}, stores)))


async def spread(rounds: int, stores: Sequence[str], folder: Path, server: Server) -> None:
    """One and two instances, through HAProxy."""
    for store in stores:
        async with AsyncExitStack() as stack:
            contestants: list[Contestant] = []
            for instances in (1, 2):
                url = await stack.enter_async_context(running_store(store))
                place = folder / f"{store}-{instances}"
                cluster = await stack.enter_async_context(server.instances(instances, place, url))
                contestants.append(Contestant(f"{store}, {instances} behind HAProxy", cluster, cluster.url))
            await measured(contestants, rounds)
        print(shown(contestants))
        quicker = ratio(contestants[1].calls_a_second, contestants[0].calls_a_second)
        print(judged(f"{store}, two instances against one, throughput", quicker, 1.25, at_least=True))


async def run(rounds: int, stores: Sequence[str], server: Server) -> None:
    """All."""
    with tempfile.TemporaryDirectory(prefix="serving-") as folder:
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores, {rounds} rounds")
        await compare(rounds, stores, Path(folder), server)
        await spread(rounds, stores, Path(folder), server)
        print(f"load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--stores", default="redis,postgres", help="with commas; nothing: memory alone")
    parser.add_argument("--http", default="h11", help="what uvicorn reads requests with")
    parser.add_argument("--loop", default="asyncio", help="what uvicorn runs on")
    parser.add_argument("--python", default=sys.executable, help="has both installed")
    options = parser.parse_args()
    server = Server(options.python, ["--http", options.http, "--loop", options.loop])
    asyncio.run(run(options.rounds, [one for one in options.stores.split(",") if one], server))


if __name__ == "__main__":
    main()
