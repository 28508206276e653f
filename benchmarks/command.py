"""`jackfield call` next to mcporter's, whole processes in turns: cold, with a server opened ahead, on a kept session.

    python -m benchmarks.command --mcporter node_modules/.bin/mcporter [--rounds 15] [--server sdk|light|http]

Time depends on what else the machine does, so the ratio of the medians of alternating runs counts; CPU time is that of
the command and of the server that it starts, but not of the background process, or of one over HTTP.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
SERVERS: Mapping[str, Sequence[str]] = {
    "sdk": [str(ROOT / "tests" / "servers" / "everything.py"), "stdio"],
    "light": ["-S", str(ROOT / "tests" / "servers" / "unruly.py")],
}
HTTP = [str(ROOT / "tests" / "servers" / "everything.py"), "streamable-http"]
BARS = {"cold": 1.0, "warm": 0.35, "kept": 0.2}
_SETTLE_SECONDS = 8.0
"""For a server that is opened ahead; a session that is not ready yet is not what is measured."""


def measured(command: Sequence[str], variables: Mapping[str, str], folder: Path) -> tuple[float, float]:
    """The seconds and the CPU seconds of a command.

    Raises:
        RuntimeError: It failed.
    """
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(
        command, env=variables, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode or "3" not in done.stdout:
        raise RuntimeError(f"{command} ended with {done.returncode}: {done.stdout[-300:]} {done.stderr[-300:]}")
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def ready(jackfield: Sequence[str], variables: Mapping[str, str], folder: Path) -> None:
    """Wait until a server has been opened ahead."""
    until = time.monotonic() + _SETTLE_SECONDS
    while time.monotonic() < until:
        listed = subprocess.run(
            [*jackfield, "ps", "--json"], env=variables, cwd=folder, capture_output=True, text=True, check=True
        )
        if any(one["state"] == "idle" for one in json.loads(listed.stdout)["sessions"]):
            return
        time.sleep(0.1)


@contextmanager
def entry_of(server: str) -> Generator[Mapping[str, object]]:
    """The configuration of a server, which is started if it is one over HTTP."""
    if server != "http":
        yield {"command": sys.executable, "args": SERVERS[server]}
        return
    with subprocess.Popen([sys.executable, *HTTP], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as one:
        try:
            assert one.stdout
            yield {"url": one.stdout.readline().split()[1]}
        finally:
            one.kill()


def main() -> int:
    """Measure, and print a table; returns 1 where a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mcporter", required=True, help="its program")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--server", choices=[*SERVERS, "http"], default="sdk")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, entry_of(given.server) as entry:
        folder = Path(name)
        (folder / "run").mkdir(mode=0o700)
        config = folder / "servers.json"
        config.write_text(json.dumps({"mcpServers": {"server": entry}}))
        variables = {
            **os.environ,
            "HOME": name,
            "XDG_RUNTIME_DIR": str(folder / "run"),
            "JACKFIELD_STATE_DIR": str(folder / "state"),
            "JACKFIELD_CACHE_DIR": str(folder / "cache"),
        }
        jackfield = [sys.executable, "-m", "jackfield", "--config", str(config)]
        call = ["call", "server.add", "a=1", "b=2"]
        theirs = [str(Path(given.mcporter).absolute()), "--config", str(config), *call]
        warm = {**variables, "JACKFIELD_WARM": "1"}
        for command, environment in ((theirs, variables), ([*jackfield, *call], variables)):
            measured(command, environment, folder)  # what is written once is written now
        print(f"{'':6} {'mcporter':>16} {'jackfield':>16} {'time':>7} {'CPU':>7}  bar")
        missed = False
        for kind, bar in BARS.items():
            environment = warm if kind == "warm" else variables
            if kind == "kept":
                subprocess.run(
                    [*jackfield, "open", "server"], env=variables, cwd=folder, check=True, capture_output=True
                )
            if kind == "warm":
                measured([*jackfield, *call], warm, folder)
            pairs: list[tuple[tuple[float, float], tuple[float, float]]] = []
            for _ in range(given.rounds):
                if kind == "warm":
                    ready(jackfield, variables, folder)
                pairs.append((measured(theirs, variables, folder), measured([*jackfield, *call], environment, folder)))
            columns = [[statistics.median(pair[who][what] for pair in pairs) for what in (0, 1)] for who in (0, 1)]
            (their_time, their_cpu), (our_time, our_cpu) = columns
            missed |= our_time > bar * their_time
            print(
                f"{kind:6} {their_time:6.2f} s {their_cpu:5.2f} s {our_time:6.2f} s {our_cpu:5.2f} s"
                f" {our_time / their_time:6.2f}x {our_cpu / their_cpu:6.2f}x  {bar}x"
            )
            subprocess.run([*jackfield, "close", "--all"], env=variables, cwd=folder, check=True, capture_output=True)
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
