"""`jackfield call` as a whole process, against the same job written by hand on the raw SDK: open, call, print, close.

python benchmarks/cli_call.py [--rounds N]

Runs alternate, so that what else the machine does weighs on both alike; the ratio is the median over the pairs. What
stands in brackets is the middle half. CPU is that of all processes together, the server's included.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SERVER = str(Path(__file__).parent / "servers.py")

RAW = """
import asyncio, sys
from mcp import Client, StdioServerParameters

async def main():
    async with Client(StdioServerParameters(command=sys.executable, args=[sys.argv[1]])) as client:
        result = await client.call_tool("echo", {"text": "x"})
        print(result.content[0].text)

asyncio.run(main())
"""


@dataclass(frozen=True)
class Run:
    """What one process took, in seconds."""

    wall: float
    cpu: float


def run(command: Sequence[str], environment: dict[str, str]) -> Run:
    """Run a command to its end."""
    started = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert process.stdout
    output = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stdout.close()
    if process.returncode or (output.strip() not in (b"x", b"")):
        sys.exit(f"{command} failed: {process.returncode}, {output!r}")
    return Run(wall, usage.ru_utime + usage.ru_stime)


def spread(values: Sequence[float]) -> str:
    """The median and the middle half."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} [{low:.3f}..{high:.3f}]"


def main(rounds: int) -> None:
    """Print all rows."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "servers.json"
        config.write_text(json.dumps({"mcpServers": {"bench": {"command": sys.executable, "args": [SERVER]}}}))
        # Byte code is kept for all alike, also where the environment says not to write any.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "JACKFIELD_CACHE_DIR": f"{folder}/cache"}
        environment["HOME"] = folder
        jackfield = [sys.executable, "-m", "jackfield"]
        raw = [sys.executable, "-c", RAW, SERVER]
        ours = {
            "configured server": [*jackfield, "--config", str(config), "call", "bench.echo", "text=x"],
            "server given by --stdio": [*jackfield, "call", "--stdio", f"{sys.executable} {SERVER}", "echo", "text=x"],
        }
        for command in (raw, *ours.values()):
            run(command, environment)
        idle = [run([sys.executable, "-c", "pass"], environment).wall for _ in range(15)]
        raws: list[Run] = []
        runs: dict[str, list[Run]] = {name: [] for name in ours}
        for _ in range(rounds):
            raws.append(run(raw, environment))
            for name, command in ours.items():
                runs[name].append(run(command, environment))
    print(f"noise: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; python -c pass takes {spread(idle)} s")
    wall, cpu = spread([one.wall for one in raws]), spread([one.cpu for one in raws])
    print(f"{'raw SDK, by hand':<28} {wall} s   CPU {cpu} s")
    for name, mine in runs.items():
        ratios = [one.wall / by_hand.wall for one, by_hand in zip(mine, raws, strict=True)]
        cpu = [one.cpu / by_hand.cpu for one, by_hand in zip(mine, raws, strict=True)]
        print(f"{name:<28} {spread([one.wall for one in mine])} s   ratio {spread(ratios)}   CPU ratio {spread(cpu)}")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=15)
main(parser.parse_args().rounds)
