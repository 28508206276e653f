"""Measure everything, and write the page of docs from it: `make bench`.

    python -m benchmarks [--peers FOLDER] [--only SUBJECT]... [--quick | --short] [--output FOLDER]
                         [--routing-data FOLDER]
    python -m benchmarks --page      only writes page and pictures again, from the figures there are

Without --output it writes `benchmarks/results.json`, `docs/benchmarks.md` and `docs/images/benchmarks`; with --only and
without --output it prints what it measured. Linux only: memory, file descriptors and processes are read from `/proc`.
"""

from __future__ import annotations

import argparse
import importlib
import signal
import sys
import time
from pathlib import Path

from .about import about
from .arena import Plan
from .figures import RESULTS, Results, Row
from .page import PAGE, PICTURES, written
from .routing.evaluate import SHARED_DATA

# Finding comes late: wordllama, which it imports, turns all loggers on, and adapters would be measured with them.
SUBJECTS = ("warm_call", "bare", "opening", "ending", "processes", "adapters", "finding", "growth")


def measured(subjects: tuple[str, ...], plan: Plan, file: Path | None) -> Results:
    """All that was asked for; written down after each subject, so that no fault loses what was measured before it."""
    results = Results(about(plan))
    begun = time.monotonic()
    for subject in subjects:
        started = time.monotonic()
        results.rows += importlib.import_module(f"benchmarks.{subject}").measure(plan)
        print(f"{subject:12} {time.monotonic() - started:6.0f} s", flush=True)
        results.about["minutes"] = round((time.monotonic() - begun) / 60, 1)
        if file is not None:
            results.write(file)
    return results


def shown(row: Row) -> str:
    """A row as text."""
    lines = [f"{row.subject}: {row.name} ({row.unit})"]
    for name, cell in row.cells.items():
        figures = [
            f"{title} {figure.median:.4g} ({figure.low:.4g} to {figure.high:.4g})"
            for title, figure in (("", cell.value), ("ratio", cell.ratio), ("own", cell.own))
            if figure
        ]
        lines.append(f"  {name:24} {'   '.join(figures)} {cell.note}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, help="the folder that benchmarks/peers/install.sh filled")
    parser.add_argument("--only", action="append", choices=SUBJECTS)
    parser.add_argument("--quick", action="store_true", help="one round of little, to see that it works")
    parser.add_argument("--short", action="store_true", help="three rounds, where the whole takes too long")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--routing-data", type=Path, default=SHARED_DATA)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    folder: Path | None = options.output
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nothing that was started is left behind
    if options.page:
        written(Results.read(), PAGE, PICTURES)
        return
    plan = Plan(
        peers=options.peers.resolve() if options.peers else None,
        quick=options.quick,
        short=options.short,
        routing_data=options.routing_data if options.routing_data.exists() else None,
    )
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
    is_shown = options.only and folder is None
    file = None if is_shown else folder / RESULTS.name if folder else RESULTS
    results = measured(tuple(options.only or SUBJECTS), plan, file)
    if is_shown:
        print("\n".join(shown(row) for row in results.rows))
        return
    written(results, folder / PAGE.name if folder else PAGE, folder / "images" if folder else PICTURES)


if __name__ == "__main__":
    main()
