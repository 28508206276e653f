"""Try every claim with every peer, each in a process of its own, and print the table.

    python benchmarks/peers/run.py ENVIRONMENTS [--peer DRIVER] [--claim NAME] [--write] [--verbose]

ENVIRONMENTS is where `install.sh` put the peers. `--write` records what was seen in `seen.json`; the tables in
`docs/migrating.md` and `README.md` are made of it by `table.py`. Linux only: processes are found by `/proc`.
"""

from __future__ import annotations

import argparse
import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from claims import ROWS
from subject import running
from table import OURS, PEERS, SEEN, read_seen, write_pages, write_seen

HERE = Path(__file__).parent
LIMIT = 180.0
"""Seconds that one claim may take in one way; each has shorter bounds of its own."""


def python_of(driver: str, environments: Path) -> str:
    """The interpreter that has the peer."""
    return sys.executable if driver == OURS else str(environments / PEERS[driver].environment / "bin" / "python")


def tried(driver: str, claim: str, way: int, python: str, *, verbose: bool) -> dict[str, Any]:
    """One claim in one way, and nothing of it left afterwards."""
    token = secrets.token_hex(8)
    # Only the claim that is about it lets mcp-use look up where it reports to; it is not let through there either.
    quiet = {} if claim == "tells_nobody" else {"MCP_USE_ANONYMIZED_TELEMETRY": "false"}
    folder = tempfile.mkdtemp(prefix="jackfield-peers-")
    process = subprocess.Popen(
        [python, "try_one.py", driver, claim, str(way), token, sys.executable],
        cwd=HERE,
        stdout=subprocess.PIPE,
        stderr=None if verbose else subprocess.DEVNULL,
        text=True,
        start_new_session=True,
        env={**os.environ, **quiet, "TMPDIR": folder},
    )
    try:
        output, _ = process.communicate(timeout=LIMIT)
        return json.loads(output.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"way": "", "holds": False, "seen": f"no end within {LIMIT:g} s", "ways": 1}
    except (IndexError, ValueError):
        return {"way": "", "holds": False, "seen": f"the process ended with {process.returncode}", "ways": 1}
    finally:
        process.kill()
        process.communicate()
        for left in running(token):
            os.kill(left, signal.SIGKILL)
        shutil.rmtree(folder, ignore_errors=True)


def cell(driver: str, claim: str, environments: Path, *, verbose: bool) -> list[dict[str, Any]]:
    """A claim with one peer, in one way after the other until it holds."""
    findings: list[dict[str, Any]] = []
    while True:
        found = tried(driver, claim, len(findings), python_of(driver, environments), verbose=verbose)
        ways = found.pop("ways")
        findings.append(found)
        if found["holds"] or len(findings) == ways:
            return findings


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("environments", type=Path)
    parser.add_argument("--peer", action="append", choices=[OURS, *PEERS])
    parser.add_argument("--claim", action="append", choices=[row.name for row in ROWS])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    environments = options.environments.resolve()
    seen = read_seen() if SEEN.exists() else {}

    def one(where: tuple[str, str]) -> None:
        claim, driver = where
        findings = cell(driver, claim, environments, verbose=options.verbose)
        seen.setdefault(claim, {})[driver] = findings
        for found in findings:
            print(f"{claim:34} {driver:20} {found['holds']!s:12} {found['way']:30} {found['seen']}", flush=True)

    claims = options.claim or [row.name for row in ROWS]
    pool = ThreadPoolExecutor(2)
    try:
        list(pool.map(one, [(claim, peer) for claim in claims for peer in options.peer or [OURS, *PEERS]]))
    finally:
        pool.shutdown(cancel_futures=True)
    if options.write:
        write_seen({row.name: {driver: seen[row.name][driver] for driver in [OURS, *PEERS]} for row in ROWS})
        write_pages()


if __name__ == "__main__":
    main()
