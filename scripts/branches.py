"""Says which share of the branches of `src` the tests of `make branches` took, and fails where that is less than 95 %.

The report of pytest has one figure for lines and branches together.

Run: python scripts/branches.py
"""

from __future__ import annotations

import json
import subprocess
import sys

LEAST_PERCENT = 95


def main() -> int:
    """Read the data that `make branches` left."""
    command = [sys.executable, "-m", "coverage", "json", "--quiet", "-o", "-"]
    totals = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)["totals"]
    share = totals["percent_branches_covered"]
    taken, all_of_them = totals["covered_branches"], totals["num_branches"]
    print(f"Branches: {share:.1f} % ({taken} of {all_of_them}); at least {LEAST_PERCENT} %.")
    return int(share < LEAST_PERCENT)


if __name__ == "__main__":
    sys.exit(main())
