"""What many sessions cost one instance, and whether each hears what is sent to it.

Opens sessions, then a stream in some of them; sends each of these a notification; waits until all have expired.

    python -m benchmarks.serving.sessions [--store redis] [--by jackfield|sdk] [--sessions 5000] [--streams 1000]
                                          [--ttl 20]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.serving.cluster.cluster import Instance, running_cluster, running_store

from .calls import judged
from .raw import RawClient
from .stores import connections, keys

AT_ONCE = 20
HEARD_SECONDS = 60.0
EXPIRY_SECONDS = 120.0
KIB = 1024


async def bounded(number: int, job: Any) -> list[Any]:
    """Do a job so often, a few at a time."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(index: int) -> Any:
        async with places:
            return await job(index)

    return list(await asyncio.gather(*(one(index) for index in range(number))))


async def warmed_up(instance: Instance) -> None:
    """Some sessions, so that what is loaded late is loaded and connections to the store are open."""

    async def use(index: int) -> None:
        client = RawClient(instance.url)
        await client.open()
        for _ in range(20):
            await client.call("where")
        await client.call("report", {"tag": f"w{index}"})
        await client.delete()
        await client.close()

    await bounded(AT_ONCE, use)


async def settled(instance: Instance) -> dict[str, Any]:
    """What it holds once it is quiet."""
    await asyncio.sleep(1)
    return await instance.state(exact=True)


async def heard(stream: asyncio.StreamReader) -> float:
    """When a stream tells that the tools have changed."""
    while True:
        if b"list_changed" in await stream.readuntil(b"\n"):
            return time.perf_counter()


async def measure(instance: Instance, url: str, options: argparse.Namespace) -> list[str]:
    """Open, listen, notify, wait."""
    await warmed_up(instance)
    empty = await settled(instance)

    async def opened(index: int) -> RawClient:
        client = RawClient(instance.url)
        await client.open()
        await client.call("where")
        await client.close()
        return client

    started = time.monotonic()
    clients: list[RawClient] = await bounded(options.sessions, opened)
    print(f"{options.sessions} sessions opened, each with a call, in {time.monotonic() - started:.1f} s", flush=True)
    idle = await settled(instance)
    stored = await keys(url)
    streams: list[asyncio.StreamReader] = await bounded(options.streams, lambda index: clients[index].listen())
    listening = await settled(instance)
    store_connections = await connections(url)

    sent: dict[int, float] = {}
    tasks = [asyncio.create_task(heard(stream)) for stream in streams]

    async def notify(index: int) -> None:
        client = RawClient(instance.url)
        client.session_id = clients[index].session_id
        sent[index] = time.perf_counter()
        await client.call("change")
        await client.close()

    await bounded(options.streams, notify)
    done, late = await asyncio.wait(tasks, timeout=HEARD_SECONDS)
    for task in late:
        task.cancel()
    taken = sorted((task.result() - sent[index]) * 1e3 for index, task in enumerate(tasks) if task in done)
    for client in clients:
        await client.close()
    print(f"held: {empty}\n      {idle}\n      {listening}", flush=True)
    per_idle = (idle["resident_bytes"] - empty["resident_bytes"]) / options.sessions / KIB
    per_stream = (listening["resident_bytes"] - idle["resident_bytes"]) / options.streams / KIB
    lines = [
        judged("KiB of an idle session", per_idle, 16, at_least=False),
        judged("KiB of a session with a stream", per_idle + per_stream, 48, at_least=False),
        judged("tasks of an idle session", (idle["tasks"] - empty["tasks"]) / options.sessions, 0.01, at_least=False),
        judged("notifications heard", len(taken), options.streams, at_least=True),
        judged("notification heard, p95 in ms", taken[int(len(taken) * 0.95)], 500, at_least=False),
        judged("connections to the store", store_connections, 16, at_least=False),
    ]
    print(f"notification heard, p50 {taken[len(taken) // 2]:.0f} ms; {stored} keys of {options.sessions} sessions")
    print("\n".join(lines), flush=True)
    return await expired(instance, url, empty, idle, options)


async def expired(
    instance: Instance, url: str, empty: dict[str, Any], idle: dict[str, Any], options: argparse.Namespace
) -> list[str]:
    """Wait until nothing of the sessions is left."""
    deadline = time.monotonic() + options.ttl + EXPIRY_SECONDS
    while (left := await keys(url)) and time.monotonic() < deadline:
        await asyncio.sleep(1)
    # What memory keeps is removed with the next use.
    await warmed_up(instance)
    after = await settled(instance)
    print(f"after {options.ttl:g} s without use: {json.dumps(after)}")
    return [
        judged("keys left in the store", left, 0, at_least=False),
        judged("memory against the beginning", after["resident_bytes"] / empty["resident_bytes"], 1.2, at_least=False),
        judged("tasks left", after["tasks"] - empty["tasks"], 0, at_least=False),
        # Connections to the store are opened when needed, and kept: four at the most.
        judged("descriptors left", after["descriptors"] - empty["descriptors"], 3, at_least=False),
    ]


async def run(options: argparse.Namespace) -> None:
    """One instance, reached directly."""
    limits = json.dumps({"sessions": 100_000, "streams": 10_000})
    more = ["--by", options.by, "--ttl", str(options.ttl), "--limits", limits]
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.store}, {options.by}")
    with tempfile.TemporaryDirectory(prefix="sessions-") as folder:
        async with running_store(options.store) as url:
            # Python's own allocator keeps what is free for later, as long as anything lives next to it.
            environment = {"PYTHONMALLOC": "malloc"}
            async with running_cluster(
                Path(folder), instances=1, store=url, options=more, environment=environment
            ) as cluster:
                print("\n".join(await measure(cluster.instances[0], url, options)))
    print(f"load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["memory", "redis", "postgres"], default="redis")
    parser.add_argument("--by", choices=["jackfield", "sdk"], default="jackfield")
    parser.add_argument("--sessions", type=int, default=5000)
    parser.add_argument("--streams", type=int, default=1000)
    parser.add_argument("--ttl", type=float, default=60.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
