"""Runs mutmut afresh and says how many mutants of each module the tests killed; fails where they are too few.

What is mutated, and by which tests it is to be noticed, stands in pyproject.toml.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections import Counter

LEAST_SHARE = 0.85
NOTICED = {"killed", "timeout", "segfault"}


def killed_and_all(results: str) -> tuple[Counter[str], Counter[str]]:
    """Of each module, how many mutants were killed, and how many there were.

    Those that were not tried, because others were named on the command line, do not count.

    Args:
        results: Lines of `mutmut results`, such as `jackfield.pool.decisions.x_decide__mutmut_1: survived`.
    """
    killed: Counter[str] = Counter()
    every: Counter[str] = Counter()
    for line in results.splitlines():
        mutant, found, status = line.strip().partition(": ")
        if found and status != "not checked":
            module = mutant.rpartition(".x")[0]
            every[module] += 1
            killed[module] += status in NOTICED
    return killed, every


def main() -> int:
    """Run, print a line for each module, and return the exit code."""
    mutmut = [sys.executable, "-m", "mutmut"]
    # A verdict kept from an earlier run may be one of tests that have changed since.
    shutil.rmtree("mutants", ignore_errors=True)
    run = subprocess.run([*mutmut, "run", *sys.argv[1:]], check=False)
    if run.returncode:
        return run.returncode
    results = subprocess.run([*mutmut, "results", "--all", "true"], check=True, capture_output=True, text=True)
    killed, every = killed_and_all(results.stdout)
    for module in sorted(every):
        share = killed[module] / every[module]
        verdict = "" if share >= LEAST_SHARE else f"  under {LEAST_SHARE:.0%}"
        print(f"{module:<30} {killed[module]:>4} of {every[module]:>4} killed: {share:6.1%}{verdict}")
    print("To see one that survived: .venv/bin/mutmut results, then .venv/bin/mutmut show NAME")
    return int(not every or any(killed[module] < LEAST_SHARE * every[module] for module in every))


if __name__ == "__main__":
    sys.exit(main())
