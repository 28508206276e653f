"""What it costs a call that another instance of the gateway has its server: forwarded, next to asking the owner itself.

    python -m benchmarks.gateway.forwarded [--store redis|postgres] [--calls 400] [--rounds 3]

Two instances share a store. One client's server over stdio is owned by one of them; calls of the same session are
posted to the owner and to the other instance in turn, so that both see the same machine. The goal is at most 1.5 times
the p50.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import anyio
from tests.serving.cluster.cluster import running_store

from ..arena import HERE
from ..serving.raw import RawClient

GOAL = 1.5
WARM_CALLS = 50


def instance(folder: Path, store: str) -> subprocess.Popen[str]:
    """Start an instance, in front of a server that costs next to nothing."""
    option = "--redis" if store.startswith("redis") else "--postgres"
    line = [sys.executable, "-m", "jackfield", "--config", str(folder / "servers.json"), "serve", "--all-tools"]
    line += ["--http", "127.0.0.1:0", option, store, "--keys-file", str(folder / "keys")]
    folders = {"JACKFIELD_CACHE_DIR": str(folder / "cache"), "JACKFIELD_STATE_DIR": str(folder / "state")}
    return subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={**os.environ, **folders})


def url_of(process: subprocess.Popen[str]) -> str:
    """Where an instance serves."""
    assert process.stdout is not None
    return process.stdout.readline().strip()


async def measure(urls: list[str], calls: int) -> tuple[float, float]:
    """The p50 of calls at the owner, and of forwarded ones, in seconds."""
    numbers = itertools.count(1)
    owner, other = (RawClient(url, numbers) for url in urls)
    await owner.open()
    other.session_id = owner.session_id
    seconds: tuple[list[float], list[float]] = [], []
    for number in range(calls + WARM_CALLS):
        for client, taken in zip((owner, other), seconds, strict=True):
            started = time.perf_counter()
            answer = await client.call("echo", {"text": "a"})
            # An error costs less.
            assert b'"isError":true' not in answer, answer
            if number >= WARM_CALLS:
                taken.append(time.perf_counter() - started)
    await owner.delete()
    for client in (owner, other):
        await client.close()
    return statistics.median(seconds[0]), statistics.median(seconds[1])


async def run(kind: str, calls: int, rounds: int) -> None:
    """Measure, and print."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "keys").touch(0o600)
        (folder / "keys").write_text(secrets.token_hex(32))
        bare = {"command": sys.executable, "args": ["-S", str(HERE / "bare_server.py"), "1"]}
        (folder / "servers.json").write_text(json.dumps({"mcpServers": {"bare": bare}}))
        async with running_store(kind) as store:
            processes = [instance(folder, store) for _ in range(2)]
            try:
                urls = [url_of(process) for process in processes]
                found = [await measure(urls, calls) for _ in range(rounds)]
            finally:
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.wait(30)
    ratios = [forwarded / owned for owned, forwarded in found]
    owned, forwarded = (statistics.median(times) * 1000 for times in zip(*found, strict=True))
    ratio = statistics.median(ratios)
    print(f"{kind}: at the owner {owned:.2f} ms, forwarded {forwarded:.2f} ms (p50): {ratio:.2f}x, the goal is {GOAL}x")
    print("rounds:", ", ".join(f"{one:.2f}x" for one in ratios))


def main() -> None:
    """Measure as asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=("redis", "postgres"), default="redis")
    parser.add_argument("--calls", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    anyio.run(run, given.store, given.calls, given.rounds)


if __name__ == "__main__":
    main()
