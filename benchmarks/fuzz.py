"""Calls and openings under random faults, with the executions counted at the server. Ends with 1 if a promise broke.

    python -m benchmarks.fuzz [--lines stdio,stdio-2026,http,http-2026,sse] [--flight 1,50] [--seconds S] [--runs N]

For each line (transport and era) there are so many runs, in turn with each number of calls in flight, and over HTTP
every other pair of them through a router that gives up on a request after about 0.3 s and answers 502 to 504 or cuts.
Meanwhile the server is killed, stopped and continued, started again on the same port, and sockets are cut. Each run
also opens and closes sessions of which a part is cancelled at random, and ends event loops while sessions open.

The dice are seeded, so that a run with its `--seed` does the same things again; how they fall together depends on the
machine. Prints a line for each run, what broke a promise, and totals.
"""

from __future__ import annotations

import argparse
import collections
import logging
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.fuzzing.cycles import Cycles
from benchmarks.fuzzing.executions import Executions, Plan, Report

LINES = ["stdio", "stdio-2026", "http", "http-2026", "sse"]
SHOWN_FAULTS = 3


def plans(options: argparse.Namespace) -> Iterator[Plan]:
    """All runs of calls."""
    flights = [int(number) for number in options.flight.split(",")]
    for line in options.lines.split(","):
        for run in range(options.runs):
            turn, at = divmod(run, len(flights))
            has_router = not line.startswith("stdio") and (
                options.router == "always" or (options.router == "half" and turn % 2 == 1)
            )
            yield Plan(line.replace("-", " "), flights[at], options.seconds, options.seed + run, has_router)


def told(report: Report) -> bool:
    """Print what came of a run; whether nothing broke a promise."""
    verdict = ", ".join(f"{kind}: {len(found)}" for kind, found in report.faults.items()) or "no fault"
    outcomes = ", ".join(f"{count} {outcome}" for outcome, count in report.outcomes.most_common())
    print(f"{report.plan}: {len(report.calls)} calls ({outcomes}), slowest {report.slowest:.1f} s | {verdict}")
    for kind, found in report.faults.items():
        for what in found[:SHOWN_FAULTS]:
            print(f"    {kind}: {what}")
    sys.stdout.flush()
    return not report.faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", default=",".join(LINES), help="separated by commas")
    parser.add_argument("--flight", default="1,50", help="calls under way at once; separated by commas, taken in turn")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each run")
    parser.add_argument("--runs", type=int, default=10, help="for each line")
    parser.add_argument("--seed", type=int, default=1, help="of the first run; each further one has the next")
    parser.add_argument("--router", choices=["half", "always", "never"], default="half", help="in front of HTTP")
    parser.add_argument("--cycles", type=int, default=300, help="openings for each line; 0: none")
    options = parser.parse_args()
    if unknown := set(options.lines.split(",")) - set(LINES):
        parser.error(f"no such line: {', '.join(sorted(unknown))}")
    logging.disable(logging.CRITICAL)
    totals: collections.Counter[str] = collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["JACKFIELD_CACHE_DIR"] = os.environ["JACKFIELD_STATE_DIR"] = folder
        for plan in plans(options):
            with tempfile.TemporaryDirectory(dir=folder) as own:
                report = Executions(plan, Path(own)).run()
            told(report)
            totals["runs"] += 1
            totals["calls"] += len(report.calls)
            totals.update({f"  {kind}": len(found) for kind, found in report.faults.items()})
        for line in options.lines.split(",") if options.cycles else ():
            with tempfile.TemporaryDirectory(dir=folder) as own:
                cycles = Cycles(line.replace("-", " "), options.cycles, options.seed, Path(own))
                found = cycles.run()
            print(f"{cycles}: " + (", ".join(f"{kind}: {len(what)}" for kind, what in found.items()) or "no fault"))
            for kind, each in found.items():
                for what in each[:SHOWN_FAULTS]:
                    print(f"    {kind}: {what}")
            totals["openings"] += options.cycles
            totals.update({f"  {kind}": len(what) for kind, what in found.items()})
    faults = sum(count for name, count in totals.items() if name.startswith(" "))
    print(f"\n{totals['runs']} runs, {totals['calls']:,} calls, {totals['openings']:,} openings, {faults} faults")
    for name, count in totals.items():
        if name.startswith(" "):
            print(f"{name}: {count}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
