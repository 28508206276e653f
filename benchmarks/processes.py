"""Whole processes: what an import takes, a job that needs one result, and the commands of `jackfield`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jackfield import Catalog
from jackfield.config.discover import discover, sources

from .arena import HERE, OURS, PEERS, QUICK, RAW, WORK, Plan, bases, environment
from .figures import Row, row_of

SERVER = {"name": "quick", "command": sys.executable, "args": ["-S", QUICK, "stdio", "--log", os.devnull]}
PASS = [sys.executable, "-c", "pass"]
SESSION_NEEDS = "import jackfield.pool.session_manager, jackfield.session.session, jackfield.transport.connection"
COMMANDS = {
    "`jackfield --help`": ["--help"],
    "`jackfield list`": ["list"],
    "`jackfield find` in 500 tools": ["find", "read", "the", "rows", "of", "a", "table"],
    "`jackfield show`": ["show", "server0.read_row_0"],
    "completion of a tool's name": ["__complete", "bash", "jackfield show server0.read"],
}
VERBS, THINGS = ("read", "write", "delete", "list", "search"), ("row", "file", "issue", "page", "message")


def measure(plan: Plan) -> list[Row]:
    """All rows."""
    with tempfile.TemporaryDirectory() as folder:
        return [*imports(plan), *one_off(plan, Path(folder) / "jobs"), *commands(plan, Path(folder) / "commands")]


def seconds_of(command: Sequence[str], variables: Mapping[str, str], folder: Path | None = None) -> float:
    """That a command takes.

    Raises:
        RuntimeError: It failed.
    """
    started = time.perf_counter()
    done = subprocess.run(
        command, env=variables, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    seconds = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{command} failed with {done.returncode}: {done.stderr[-500:]}")
    return seconds


def in_turns(
    lines: Mapping[str, Sequence[str]],
    variables: Mapping[str, str],
    rounds: int,
    *,
    folder: Path | None = None,
    seconds: float = 15.0,
) -> dict[str, list[float]]:
    """Seconds of each command, round by round; the first run, which may write byte code, does not count.

    After so many seconds no further round is begun, but for the first two.
    """
    for line in lines.values() if rounds > 1 else ():
        seconds_of(line, variables, folder)
    samples: dict[str, list[float]] = {name: [] for name in lines}
    end = time.monotonic() + seconds
    for number in range(rounds):
        if number >= 2 and time.monotonic() > end:
            break
        for name, line in lines.items() if number % 2 == 0 else reversed(lines.items()):
            samples[name].append(seconds_of(line, variables, folder))
    return samples


def imports(plan: Plan) -> list[Row]:
    """What a program needs that uses a contestant."""
    contestants = plan.with_peers([RAW, OURS], PEERS)
    lines = {one.name: [plan.python(one), "-c", f"import {one.imports}"] for one in contestants}
    lines |= {"pass": PASS, "jackfield_session": [sys.executable, "-c", SESSION_NEEDS]}
    samples = in_turns(lines, environment(), plan.rounds(3))
    return [row_of("importing", "import", samples, base="raw", own=bases(contestants))]


def one_off(plan: Plan, home: Path) -> list[Row]:
    """Open, call, print, close: as a script with each contestant, and as a command of ours."""
    home.mkdir()
    config = home / "servers.json"
    config.write_text(json.dumps({"mcpServers": {"quick": {k: SERVER[k] for k in ("command", "args")}}}))
    variables = environment() | {
        "HOME": str(home),
        "JACKFIELD_CACHE_DIR": f"{home}/cache",
        "XDG_RUNTIME_DIR": f"{home}/run",
        "XDG_STATE_HOME": f"{home}/state",
    }
    contestants = plan.with_peers([RAW, OURS], PEERS)
    script = str(HERE / "worker.py")
    lines: dict[str, Sequence[str]] = {
        one.name: [plan.python(one), script, one.way, "--once", json.dumps(SERVER)] for one in contestants
    }
    jackfield = [sys.executable, "-m", "jackfield", "--config", str(config)]
    call = ["call", "quick.work", *(f"{name}={value}" for name, value in WORK.items())]
    lines["command"] = [*jackfield, *call]
    samples = in_turns(lines, variables, plan.rounds(5))
    rows = [row_of("one_off", "a job as a whole process", samples, base="raw", own=bases(contestants))]
    seconds_of([*jackfield, "open", "quick", "--quiet"], variables)
    try:
        kept = in_turns({"raw": lines["raw"], "command": lines["command"]}, variables, plan.rounds(5))
    finally:
        seconds_of([*jackfield, "close", "--all", "--quiet"], variables)
    return [*rows, row_of("one_off", "the command, of a session that `jackfield open` keeps", kept, base="raw")]


# The commands that need no server.


def commands(plan: Plan, home: Path) -> list[Row]:
    """Against `python -c pass`, with a catalog that knows 20 servers and 500 tools."""
    variables = prepared(home, 500)
    lines = {name: [sys.executable, "-m", "jackfield", *arguments] for name, arguments in COMMANDS.items()}
    if plan.quick:
        lines = dict(list(lines.items())[:1])
    samples = in_turns({"pass": PASS, **lines}, variables, plan.rounds(7), folder=home)
    return [
        row_of("commands", name, {"pass": samples["pass"], "jackfield": samples[name]}, base="pass") for name in lines
    ]


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
    variables = {"HOME": str(home), "PATH": os.environ["PATH"], "JACKFIELD_CACHE_DIR": str(home / "cache")}
    file = home / ".config" / "jackfield" / "jackfield.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({"mcpServers": {f"server{n}": {"command": f"server-{n}"} for n in range(20)}}))
    catalog = Catalog(home / "cache" / "catalog")
    for number, found in enumerate(discover(sources(home, variables)).servers.values()):
        catalog.inside.record(found.outline(None), [tool(n) for n in range(number, tools, 20)], open_seconds=1.0)
    return variables
