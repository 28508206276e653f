"""Instances are stopped and started one after the other while clients call tools; as a program: 2,000 calls.

python -m tests.serving.cluster.rolling [--store redis|postgres] [--calls 2000]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import anyio
from tests.serving.cluster.clients import KINDS, Served, connected
from tests.serving.cluster.cluster import Cluster, missing, running_cluster, running_store

CLIENTS_EACH = 4
LEAST_RESTARTS = 2
LONG_EVERY = 10
"""One call of so many is answered by a stream."""

LONG_SECONDS = 0.5
BETWEEN_SECONDS = 0.5
STOP_SECONDS = 20.0
STOP_DELAY = 2.0
"""HAProxy of a cluster notices after 0.5 s that an instance is not ready."""


@dataclass
class Seen:
    """What was seen."""

    calls: int = 0
    restarts: int = 0
    exits: list[int] = field(default_factory=list[int])
    failures: list[str] = field(default_factory=list[str])
    twice: int = 0


async def roll(cluster: Cluster, calls: int, seen: Seen) -> None:
    """Restart one instance after the other for as long as clients call."""
    async with AsyncExitStack() as stack:
        clients = [
            await stack.enter_async_context(connected(kind, cluster.url)) for kind in KINDS for _ in range(CLIENTS_EACH)
        ]
        tags: list[str] = []
        is_over = anyio.Event()

        async def use(served: Served) -> None:
            while len(tags) < calls or seen.restarts < LEAST_RESTARTS:
                tag = uuid4().hex[:12]
                tags.append(tag)
                is_long = len(tags) % LONG_EVERY == 0
                try:
                    if is_long:
                        text = await served.call("report", tag=tag, seconds=LONG_SECONDS)
                    else:
                        text = await served.call("work", tag=tag)
                    assert text.startswith(tag), text
                except Exception as error:
                    what = "long" if is_long else "short"
                    seen.failures.append(f"{what} call of {served.kind}: {type(error).__name__}: {error}")
                seen.calls += 1

        async def restart() -> None:
            while not is_over.is_set():
                instance = cluster.instances[seen.restarts % len(cluster.instances)]
                seen.exits.append(await instance.stop(STOP_SECONDS))
                await instance.start()
                await cluster.until_balanced()
                seen.restarts += 1
                with anyio.move_on_after(BETWEEN_SECONDS):
                    await is_over.wait()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(restart)
            async with anyio.create_task_group() as users:
                for served in clients:
                    users.start_soon(use, served)
            is_over.set()
    runs = Counter(tag for tag, _ in cluster.runs)
    seen.twice = sum(runs[tag] > 1 for tag in tags)


async def run(
    kind: str, folder: Path, *, calls: int, python: str = sys.executable, environment: Mapping[str, str] | None = None
) -> Seen:
    """Two instances, restarted in turns."""
    seen = Seen()
    options = ["--stop-delay", str(STOP_DELAY)]
    async with running_store(kind) as store:
        async with running_cluster(
            folder, instances=2, store=store, python=python, options=options, environment=environment
        ) as cluster:
            await roll(cluster, calls, seen)
    return seen


def main() -> int:
    """Run it; 1 if a call failed or ran twice."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["redis", "postgres"], default="redis")
    parser.add_argument("--calls", type=int, default=2000)
    options = parser.parse_args()
    if (text := missing()) is not None:
        print(text, file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(prefix="rolling-") as folder:
        seen = asyncio.run(run(options.store, Path(folder), calls=options.calls))
    print(f"{seen.calls} calls over {seen.restarts} restarts: {len(seen.failures)} failed, {seen.twice} ran twice")
    print(f"exit codes: {dict(Counter(seen.exits))}")
    for failure, count in Counter(seen.failures).most_common(20):
        print(f"  {count:4} {failure}")
    return 1 if seen.failures or seen.twice or not seen.restarts else 0


if __name__ == "__main__":
    sys.exit(main())
