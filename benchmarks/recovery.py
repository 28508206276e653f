"""What recovery after a crash costs beyond the server's own start.

    python benchmarks/recovery.py [--rounds N]

A stdio server is killed; measured is the time from the kill to the next result, against the time the same
server needs by itself from its spawning to its first answer. Rounds alternate; medians are reported.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import statistics
import sys
import time
from pathlib import Path

from jackfield import MCPClientSessionManager, StdioConfig

SERVER = str(Path(__file__).parent / "servers.py")
RIG = str(Path(__file__).parents[1] / "tests" / "servers" / "rig.py")


async def measure(name: str, command: list[str], tool: str, arguments: dict[str, object], rounds: int) -> None:
    """Print one line."""
    config = StdioConfig(server_name="benchmark", command=sys.executable, args=command, protocol="handshake")
    starts: list[float] = []
    recoveries: list[float] = []
    for _ in range(rounds):
        started = time.perf_counter()
        async with MCPClientSessionManager().open_session(config) as session:
            await session.call_tool(tool, arguments)
            starts.append(time.perf_counter() - started)
            assert session.process_id
            os.kill(session.process_id, signal.SIGKILL)
            killed = time.perf_counter()
            while session.generation == 1:
                await asyncio.sleep(0)
            await session.call_tool(tool, arguments)
            recoveries.append(time.perf_counter() - killed)
    start, recovery = statistics.median(starts), statistics.median(recoveries)
    print(
        f"{name:32} own start and first call {start * 1000:7.1f} ms   "
        f"recovery {recovery * 1000:7.1f} ms   beyond it {(recovery - start) * 1000:+6.1f} ms"
    )


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    await measure("a server written with the SDK", [SERVER], "echo", {"text": "x"}, rounds)
    await measure("a server that starts at once", ["-S", RIG, "stdio", "--log", os.devnull], "work", {"n": 1}, rounds)


if __name__ == "__main__":
    asyncio.run(main())
