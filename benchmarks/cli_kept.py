"""A call on a kept session as a whole process, against the same job by hand on the raw SDK: open, call, print, close.

python benchmarks/cli_kept.py [--rounds N]

Runs alternate, so that what else the machine does weighs on all alike; the ratio is the median over the pairs, in
brackets the middle half. The raw job opens the server of the benchmarks, which stands on the SDK, and one that is made
of the standard library alone and starts ten times faster; the kept call does not care.
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
from pathlib import Path

SERVER = str(Path(__file__).parent / "servers.py")
QUICK = str(Path(__file__).parents[1] / "tests" / "servers" / "unruly.py")

RAW = """
import asyncio, sys
from mcp import Client, StdioServerParameters

async def main():
    async with Client(StdioServerParameters(command=sys.executable, args=sys.argv[1:])) as client:
        result = await client.call_tool("echo", {"text": "x"})
        print(result.content[0].text)

asyncio.run(main())
"""

SERVERS = {"SDK server": [SERVER], "quick server": ["-S", QUICK]}


def timed(command: Sequence[str], environment: dict[str, str]) -> float:
    """Seconds that a command takes."""
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    seconds = time.perf_counter() - started
    if done.returncode or done.stdout.strip() not in (b"x", b""):
        sys.exit(f"{command} failed: {done.returncode}, {done.stdout!r}, {done.stderr!r}")
    return seconds


def spread(values: Sequence[float]) -> str:
    """The median and the middle half."""
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:.3f} [{low:.3f}..{high:.3f}]"


def main(rounds: int) -> None:
    """Print all rows."""
    with tempfile.TemporaryDirectory() as folder:
        entries = {name.replace(" ", "-"): {"command": sys.executable, "args": args} for name, args in SERVERS.items()}
        config = Path(folder) / "servers.json"
        config.write_text(json.dumps({"mcpServers": entries}))
        # Byte code is kept for all alike, also where the environment says not to write any.
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        environment |= {"PYTHONPYCACHEPREFIX": f"{folder}/bytecode", "JACKFIELD_CACHE_DIR": f"{folder}/cache"}
        environment |= {"HOME": folder, "XDG_RUNTIME_DIR": f"{folder}/run", "XDG_STATE_HOME": f"{folder}/state"}
        jackfield = [sys.executable, "-m", "jackfield", "--config", str(config)]
        try:
            rows: list[tuple[str, list[float], list[float]]] = []
            for name, args in SERVERS.items():
                kept = [*jackfield, "call", f"{name.replace(' ', '-')}.echo", "text=x"]
                raw = [sys.executable, "-c", RAW, *args]
                timed([*jackfield, "open", name.replace(" ", "-"), "--quiet"], environment)
                for command in (raw, kept):
                    timed(command, environment)
                pairs = [(timed(kept, environment), timed(raw, environment)) for _ in range(rounds)]
                rows.append((name, [pair[0] for pair in pairs], [pair[1] for pair in pairs]))
            idle = [timed([sys.executable, "-c", "pass"], environment) for _ in range(15)]
        finally:
            timed([*jackfield, "close", "--all", "--quiet"], environment)
    print(f"noise: load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores; python -c pass takes {spread(idle)} s")
    for name, kept_seconds, raw_seconds in rows:
        ratios = [mine / by_hand for mine, by_hand in zip(kept_seconds, raw_seconds, strict=True)]
        print(f"{name:<14} raw {spread(raw_seconds)} s   kept {spread(kept_seconds)} s   ratio {spread(ratios)}")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=15)
main(parser.parse_args().rounds)
