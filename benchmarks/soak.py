"""What is left over after many sessions, calls and faults.

    python benchmarks/soak.py [--cycles N] [--calls N] [--fault-rate R]

Opens and closes private and named sessions with a quick stdio server and with an HTTP server, makes calls on
them from several tasks, kills servers, cancels callers, and lets HTTP sessions be forgotten, all at random
(with a fixed seed). Prints processes, file descriptors, tasks, threads and memory at the start and the end,
and how often a call that may not run twice did.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import gc
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from jackfield import HttpConfig, JackfieldError, MCPClientSessionManager, Session, StdioConfig

RIG = str(Path(__file__).parents[1] / "tests" / "servers" / "rig.py")
WORKERS = 8


class Soak:
    """One run."""

    def __init__(self, cycles: int, calls: int, fault_rate: float, folder: Path) -> None:
        self.random = random.Random(7)
        self.cycles, self.calls, self.fault_rate = cycles, calls, fault_rate
        self.log = folder / "rig.log"
        self.number = 0
        self.outcomes: collections.Counter[str] = collections.Counter()
        settings = {"retry_delay": 0.01, "idle_timeout": 0.2, "close_timeout": 2, "failure_threshold": 1000}
        arguments = ["-S", RIG, "stdio", "--log", str(self.log)]
        self.stdio = StdioConfig(server_name="stdio", command=sys.executable, args=arguments, session=settings)  # type: ignore[arg-type]
        every = ["--fault", "forget", "--when", "call", "--after", "20", "--times", "100"]
        self.http_process = subprocess.Popen(
            [sys.executable, "-S", RIG, "http", *every, "--log", str(folder / "http.log")],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.http_process.stdout
        url = self.http_process.stdout.readline().split()[1]
        self.http = HttpConfig(server_name="http", url=url, protocol="handshake", session=settings)  # type: ignore[arg-type]

    async def run(self) -> None:
        """All cycles, shared among some workers."""
        async with MCPClientSessionManager(max_sessions=WORKERS * 2) as manager:
            cycles = iter(range(self.cycles))
            async with asyncio.TaskGroup() as tasks:
                for _ in range(WORKERS):
                    tasks.create_task(self.work(manager, cycles))

    async def work(self, manager: MCPClientSessionManager, cycles: collections.abc.Iterator[int]) -> None:
        for cycle in cycles:
            key = self.random.choice([None, None, "ada", "eve"])
            config = self.http if cycle % 4 == 0 else self.stdio
            try:
                async with manager.open_session(config, key=key) as session:
                    for _ in range(max(1, self.calls // self.cycles)):
                        await self.one_call(session)
            except JackfieldError as error:
                self.outcomes[f"opening: {error.code}"] += 1

    async def one_call(self, session: Session) -> None:
        self.number += 1
        fault = self.random.random() < self.fault_rate
        try:
            if fault and self.random.random() < 0.5:
                async with asyncio.timeout(0.002):
                    await session.call_tool("work", {"n": self.number, "seconds": 0.01})
                return
            if fault and session.process_id:
                os.kill(session.process_id, signal.SIGKILL)
            await session.call_tool("work", {"n": self.number})
            self.outcomes["result"] += 1
        except TimeoutError:
            self.outcomes["cancelled"] += 1
        except ProcessLookupError:
            self.outcomes["killed by another"] += 1
        except JackfieldError as error:
            self.outcomes[f"{error.code}, sent={error.sent}"] += 1

    def doubled(self) -> int:
        """Calls that ran twice although the tool says nothing of itself."""
        lines = [line for line in self.log.read_text().splitlines() if line.startswith("run work ")]
        return sum(count > 1 for count in collections.Counter(lines).values())


def standing() -> dict[str, float]:
    """What this process holds now."""
    gc.collect()
    process = psutil.Process()
    return {
        "processes": len(process.children(recursive=True)),
        "file descriptors": process.num_fds(),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "memory MB": process.memory_info().rss / 1e6,
    }


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cycles", type=int, default=1000)
    parser.add_argument("--calls", type=int, default=20_000)
    parser.add_argument("--fault-rate", type=float, default=0.02)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        soak = Soak(options.cycles, options.calls, options.fault_rate, Path(folder))
        try:
            # A short run first: what is imported and cached once is not a leak.
            warm = Soak(50, 500, 0.1, Path(tempfile.mkdtemp(dir=folder)))
            await warm.run()
            warm.http_process.kill()
            warm.http_process.communicate()
            before, started = standing(), time.monotonic()
            await soak.run()
            after, seconds = standing(), time.monotonic() - started
        finally:
            soak.http_process.kill()
            soak.http_process.communicate()
        print(f"{options.cycles:,} cycles and {soak.number:,} calls in {seconds:.0f} s")
        for name, value in before.items():
            print(f"  {name:18} {value:8.1f} at the start  {after[name]:8.1f} at the end  {after[name] - value:+6.1f}")
        print(f"  calls that ran twice without leave: {soak.doubled()}")
        for outcome, count in soak.outcomes.most_common():
            print(f"  {count:8,}  {outcome}")


if __name__ == "__main__":
    asyncio.run(main())
