"""What the short commands take as whole processes, against `python -c pass` in the same run.

python benchmarks/cli.py [--rounds N] [--tools N]

The bound is 2.5 times `python -c pass`, and 150 ms. The catalog is warm: it knows 20 servers with that many tools.
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
from pathlib import Path
from typing import Any

from jackfield import Catalog
from jackfield.config.discover import discover, sources

PASS = [sys.executable, "-c", "pass"]
COMMANDS = {
    "--help": ["--help"],
    "list": ["list"],
    "list SERVER": ["list", "server0"],
    "find": ["find", "read", "the", "rows", "of", "a", "table"],
    "show SERVER.TOOL": ["show", "server0.read_row_0"],
    "completion of a server": ["__complete", "bash", "jackfield list ser"],
    "completion of a tool": ["__complete", "bash", "jackfield show server0.read"],
}
VERBS, THINGS = ("read", "write", "delete", "list", "search"), ("row", "file", "issue", "page", "message")


def tool(number: int) -> dict[str, Any]:
    """A tool with three parameters and two sentences."""
    verb, thing = VERBS[number % 5], THINGS[number // 5 % 5]
    properties = {name: {"type": "string", "description": f"The {name} of it."} for name in (thing, "folder", "limit")}
    return {
        "name": f"{verb}_{thing}_{number}",
        "description": f"{verb.capitalize()} a {thing} of the table. It is found by its name, number {number}.",
        "inputSchema": {"type": "object", "properties": properties, "required": [thing]},
    }


def prepared(home: Path, tools: int) -> dict[str, str]:
    """A home with 20 servers that the catalog knows; returns its environment."""
    environment = {"HOME": str(home), "PATH": os.environ["PATH"], "JACKFIELD_CACHE_DIR": str(home / "cache")}
    file = home / ".config" / "jackfield" / "jackfield.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"mcpServers": {f"server{n}": {"command": f"server-{n}"} for n in range(20)}}))
    catalog = Catalog(home / "cache" / "catalog")
    for number, found in enumerate(discover(sources(home, environment)).servers.values()):
        catalog.record(found.outline(None), [tool(n) for n in range(number, tools, 20)], open_seconds=1.0)
    return environment


def timed(line: list[str], environment: dict[str, str], home: Path) -> tuple[float, float]:
    """Seconds that a process takes, and those of them that it computes."""
    started = time.perf_counter()
    process = subprocess.Popen(line, env=environment, cwd=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - started
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, line
    return seconds, usage.ru_utime + usage.ru_stime


def run(rounds: int, tools: int) -> None:
    """Print a row for each command."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        environment = prepared(home, tools)
        lines = {name: [sys.executable, "-m", "jackfield", *arguments] for name, arguments in COMMANDS.items()}
        for line in (PASS, *lines.values()):
            timed(line, environment, home)
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
        raws: list[tuple[float, float]] = []
        for _ in range(rounds):
            # Taken in turns, so that what else the machine does falls on all alike.
            raws.append(timed(PASS, environment, home))
            for name, line in lines.items():
                times[name].append(timed(line, environment, home))
        # The wall clock on a quiet machine; on a busy one only the computing can be compared.
        for number, what in enumerate(("wall clock", "computing")):
            raw = statistics.median(pair[number] for pair in raws)
            bound = 2.5 * raw + 0.150
            print(f"{what}: python -c pass {raw * 1000:.1f} ms, bound {bound * 1000:.0f} ms   ({tools} tools)")
            for name, pairs in times.items():
                took = statistics.median(pair[number] for pair in pairs)
                print(f"  {name:<26} {took * 1000:7.1f} ms   {took / bound:5.2f} of the bound   {took / raw:4.1f}x")


parser = argparse.ArgumentParser()
parser.add_argument("--rounds", type=int, default=15)
parser.add_argument("--tools", type=int, default=500)
options = parser.parse_args()
run(options.rounds, options.tools)
