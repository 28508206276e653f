"""What one instance of `jackfield serve --http` holds and does: memory of a client's session, with and without a
process behind it, and calls of many clients at once.

    python -m benchmarks.gateway.capacity [--sessions 500] [--children 50] [--calls 3000]

The server behind it is written without the SDK, and costs next to nothing: the figures are those of the gateway.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
import psutil

from ..arena import HERE
from ..serving.raw import RawClient

MEBIBYTE = 1024 * 1024
START_CALLS = 200


def started(folder: Path, children: int) -> subprocess.Popen[str]:
    """A gateway with room for as many child processes."""
    bare = {"command": sys.executable, "args": ["-S", str(HERE / "bare_server.py"), "1"]}
    (folder / "servers.json").write_text(json.dumps({"mcpServers": {"bare": bare}}))
    line = [sys.executable, "-m", "jackfield", "--config", str(folder / "servers.json"), "serve", "--all-tools"]
    line += ["--http", "127.0.0.1:0", "--max-children", str(children + 10)]
    folders = {"JACKFIELD_CACHE_DIR": str(folder / "cache"), "JACKFIELD_STATE_DIR": str(folder / "state")}
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={**os.environ, **folders})


async def each(clients: list[RawClient], do: str, most: int = 20) -> None:
    """Have each client open or delete its session, or make a call."""
    room = anyio.CapacityLimiter(most)

    async def one(client: RawClient) -> None:
        async with room:
            await (client.call("echo", {"text": "a"}) if do == "call" else getattr(client, do)())

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(one, client)


async def load(clients: list[RawClient], calls: int) -> list[float]:
    """Calls of all clients at once, each one after the other; how long each took, the shortest first."""
    taken: list[float] = []

    async def one(client: RawClient) -> None:
        for _ in range(calls // len(clients)):
            began = time.perf_counter()
            await client.call("echo", {"text": "a"})
            taken.append((time.perf_counter() - began) * 1000)

    async with anyio.create_task_group() as tasks:
        for client in clients:
            tasks.start_soon(one, client)
    return sorted(taken)


async def measure(url: str, process: psutil.Process, sessions: int, children: int, calls: int) -> None:
    """Measure, and print."""
    numbers = itertools.count(1)
    first = RawClient(url, numbers)
    await first.open()
    for _ in range(START_CALLS):
        await first.call("echo", {"text": "a"})
    await first.delete()
    before = process.memory_info().rss
    clients = [RawClient(url, numbers) for _ in range(sessions)]
    await each(clients, "open")
    opened = process.memory_info().rss
    print(f"{sessions} sessions without calls: {(opened - before) / sessions / 1024:.1f} KiB each")
    busy = clients[:children]
    began = time.perf_counter()
    await each(busy, "call")
    took = time.perf_counter() - began
    with_children = process.memory_info().rss
    # Each server has a small process next to it, which ends it if the gateway is killed.
    of_child = sum(child.memory_info().rss for child in process.children()) / children / MEBIBYTE
    own, start = (with_children - opened) / children / 1024, took / children * 1000
    print(
        f"{children} with a process behind: {own:.0f} KiB each in the gateway, {of_child:.1f} MiB for this small "
        f"process and its guard, {start:.0f} ms to start one"
    )
    cpu = sum(process.cpu_times()[:2])
    began = time.perf_counter()
    taken = await load(busy, calls)
    seconds, cpu = time.perf_counter() - began, sum(process.cpu_times()[:2]) - cpu
    print(
        f"{len(busy)} clients at once: {len(taken) / seconds:.0f} calls/s, p50 {taken[len(taken) // 2]:.1f} ms, p95 "
        f"{taken[len(taken) * 95 // 100]:.1f} ms, {cpu / len(taken) * 1000:.2f} ms of the gateway's CPU each"
    )
    await each(clients, "delete")
    with anyio.fail_after(60):
        while process.children():
            await anyio.sleep(0.05)
    first_of_all, left = before / MEBIBYTE, process.memory_info().rss / MEBIBYTE
    print(f"memory: {first_of_all:.0f} MiB at first, {left:.0f} MiB when all have left")
    for client in [first, *clients]:
        await client.close()


def main() -> None:
    """Measure as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--children", type=int, default=50)
    parser.add_argument("--calls", type=int, default=3000)
    given = parser.parse_args()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, load {os.getloadavg()[0]:.1f} before")
    with tempfile.TemporaryDirectory() as name:
        gateway = started(Path(name), given.children)
        try:
            assert gateway.stdout is not None
            url = gateway.stdout.readline().strip()
            anyio.run(measure, url, psutil.Process(gateway.pid), given.sessions, given.children, given.calls)
        finally:
            gateway.terminate()
            gateway.wait(30)


if __name__ == "__main__":
    main()
