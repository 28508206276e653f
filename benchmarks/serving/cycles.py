"""Sessions that are opened and ended, ten thousand times: what is left of them.

Each is opened, makes a call that is answered at once and one that is answered by a stream, and is ended. Every tenth is
left to expire.

    python -m benchmarks.serving.cycles [--store redis] [--cycles 10000] [--ttl 10]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path

from tests.serving.cluster.cluster import Cluster, running_cluster, running_store

from .calls import judged
from .raw import RawClient
from .sessions import EXPIRY_SECONDS, bounded, settled
from .stores import keys

LEFT_TO_EXPIRE = 10


async def cycle(cluster: Cluster, index: int) -> None:
    """One session."""
    client = RawClient(cluster.url)
    await client.open()
    await client.call("where")
    await client.call("report", {"tag": f"c{index}", "seconds": 0, "steps": 2})
    if index % LEFT_TO_EXPIRE:
        await client.delete()
    await client.close()


async def run(options: argparse.Namespace) -> None:
    """Two instances behind HAProxy."""
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; {options.store}")
    limits = json.dumps({"sessions": 100_000})
    more = ["--ttl", str(options.ttl), "--limits", limits]
    with tempfile.TemporaryDirectory(prefix="cycles-") as folder:
        async with running_store(options.store) as url:
            instances = 1 if options.store == "memory" else 2
            async with running_cluster(Path(folder), instances=instances, store=url, options=more) as cluster:
                await bounded(200, lambda index: cycle(cluster, index))
                before = [await settled(one) for one in cluster.instances]
                started = time.monotonic()
                await bounded(options.cycles, lambda index: cycle(cluster, index))
                print(f"{options.cycles} cycles in {time.monotonic() - started:.0f} s", flush=True)
                deadline = time.monotonic() + options.ttl + EXPIRY_SECONDS
                while (left := await keys(url)) and time.monotonic() < deadline:
                    await asyncio.sleep(1)
                # Connections of the clients that have left are closed by HAProxy in its own time.
                await asyncio.sleep(2)
                after = [await settled(one) for one in cluster.instances]
    print(judged("keys left", left, 0, at_least=False))
    # Connections to the store are opened when needed, and kept: four at the most.
    for name, most in (("tasks", 0), ("descriptors", 3), ("threads", 0)):
        more_now = max(b[name] - a[name] for a, b in zip(before, after, strict=True))
        print(judged(f"{name} more than before", more_now, most, at_least=False))
    grown = max(b["resident_bytes"] / a["resident_bytes"] for a, b in zip(before, after, strict=True))
    print(judged("memory against the beginning", grown, 1.2, at_least=False))
    print(f"load average {os.getloadavg()[0]:.1f}")


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", choices=["memory", "redis", "postgres"], default="redis")
    parser.add_argument("--cycles", type=int, default=10_000)
    parser.add_argument("--ttl", type=float, default=10.0)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
