"""The official conformance tests of clients, run against `client.py`; as a program: all of them, with a table.

Two releases of the tests are pinned in `tests/third_party/versions.txt`, with the Node.js that they need. Each scenario
is a process of theirs that starts one of ours.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

ROOT = Path(__file__).parents[2]
HOME = ROOT / ".third_party" / "conformance" / "node_modules"
NODE = HOME / ".bin" / "node"
VERSIONS = dict(
    re.findall(r"conformance-(\S+)@npm:\S+@(\S+)", (ROOT / "tests" / "third_party" / "versions.txt").read_text())
)
PROGRAMS = {
    "0.1": HOME / "conformance-0.1" / "dist" / "index.js",
    "0.2": HOME / "conformance-0.2" / "dist" / "index.js",
}
"""The releases, oldest first."""

REVISIONS = ("2025-11-25", "2026-07-28")
"""The newer release says of each of these revisions which scenarios it requires, and speaks it on the wire."""

CLIENT_SECONDS = 60
SCENARIO_SECONDS = 90.0

NOT_OFFERED = {
    "auth/dpop": "DPoP, which the SDK does not have",
    "auth/dpop-nonce": "DPoP, which the SDK does not have",
    "auth/wif-jwt-bearer": "a workload's JWT as a grant, which the SDK does not have",
}
"""Extensions that no specification requires and that Jackfield has no part in."""

Kind = Literal["required", "optional"]
Verdict = Literal["passed", "FAILED", "not offered", "does not apply"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
PAGE = ROOT / "docs" / "conformance.md"


@dataclass(frozen=True)
class Run:
    """One scenario of one release."""

    release: str
    scenario: str
    revision: str | None = None
    """The protocol on the wire; the scenario's own if `None`."""
    kind: Kind = "required"


@dataclass(frozen=True)
class Outcome:
    """What the tests said of it."""

    run: Run
    verdict: Verdict
    checks: str
    """How many of its checks passed."""
    output: str
    """All that they wrote."""

    def __str__(self) -> str:
        what = self.run
        columns = f"{what.release}  {what.revision or 'its own':10}  {what.scenario:45}  {what.kind:8}"
        return f"{columns}  {self.verdict:14}  {self.checks}"


def is_installed() -> bool:
    """Whether Node.js and both releases are there."""
    return NODE.exists() and all(program.exists() for program in PROGRAMS.values())


def run(what: Run, python: str = sys.executable) -> Outcome:
    """Run one scenario, with this Python for our part."""
    command = [
        "client",
        "--command",
        f"{python} {Path(__file__).parent / 'client.py'}",
        *("--scenario", what.scenario, "--timeout", str(CLIENT_SECONDS * 1000)),
    ]
    if what.revision is not None:
        command += ["--spec-version", what.revision]
    passed, output = _tests(what.release, *command)
    counted = re.search(r"^Passed: (\d+/(\d+))", output, re.MULTILINE)
    verdict: Verdict = "passed" if passed and counted else "FAILED"
    if passed and counted and counted[2] == "0":
        verdict = "does not apply"
    elif not passed and what.scenario in NOT_OFFERED:
        verdict = "not offered"
    return Outcome(what, verdict, counted[1] if counted else "-", output)


def all_runs() -> list[Run]:
    """Every scenario of both releases; of the newer one in each revision that requires it, and the optional ones once.

    The older release tells them by their revisions: drafts and extensions are optional.
    """
    older = [
        Run("0.1", name, kind="required" if any(tag[0].isdigit() for tag in tags) else "optional")
        for name, tags in _listed("0.1")
    ]
    required = [Run("0.2", name, revision) for revision in REVISIONS for name, _ in _listed("0.2", revision)]
    names = {one.scenario for one in required}
    others = [Run("0.2", name, kind="optional") for name, _ in _listed("0.2") if name not in names]
    return older + required + others


def _listed(release: str, revision: str | None = None) -> list[tuple[str, list[str]]]:
    """The scenarios of a release with their tags; only those that a revision requires, if one is given."""
    _, output = _tests(release, "list", *(["--requirements", revision] if revision else ["--client"]))
    clients = output.partition("Client scenarios")[2]
    found = re.findall(r"^  - (\S+)(?: \[(.*)\])?$", clients.partition("\n\n")[0], re.MULTILINE)
    assert found, output
    return [(name, tags.split(",")) for name, tags in found]


def _tests(release: str, *arguments: str) -> tuple[bool, str]:
    """Whether the tests' program succeeded, and what it wrote."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])}
    environment["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [str(NODE), str(PROGRAMS[release]), *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=SCENARIO_SECONDS,
        check=False,
    )
    return done.returncode == 0, done.stdout


def summary(outcomes: Iterable[Outcome]) -> str:
    """How many of each kind there are, as a Markdown table."""
    counts = Counter((one.run.release, one.run.revision, one.run.kind, one.verdict) for one in outcomes)
    lines = ["| tests | protocol | | passed | failed | not offered | do not apply |", "|---|---|---|---|---|---|---|"]
    for release, revision, kind in dict.fromkeys(key[:3] for key in counts):
        cells = [counts[release, revision, kind, verdict] for verdict in VERDICTS]
        row = [VERSIONS[release], revision or "each scenario's own", kind, *cells]
        lines.append("| " + " | ".join(map(str, row)) + " |")
    return "\n".join(lines) + "\n"


def replace_table(file: Path, first_head: str, table: str) -> None:
    """Put a table into a page, in place of the one whose first column has this head."""
    page, count = re.subn(rf"(?s)\| {first_head} \|.*?\n(?=\n|\Z)", lambda _: table, file.read_text())
    assert count == 1
    file.write_text(page)


def main() -> int:
    """Run all, print a table; 1 if one failed that is required or offered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenarios", nargs="*", help="only these; their output is shown where they fail")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at the same time")
    parser.add_argument("--write", action="store_true", help="write the result into docs/conformance.md")
    options = parser.parse_args()
    if not is_installed():
        print("The conformance tests are not installed: run `make third-party` (needs npm).", file=sys.stderr)
        return 1
    runs = [one for one in all_runs() if not options.scenarios or one.scenario in options.scenarios]
    outcomes: list[Outcome] = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for outcome in pool.map(run, runs):
            outcomes.append(outcome)
            print(outcome, flush=True)
            if options.scenarios and outcome.verdict != "passed":
                print(outcome.output)
    table = summary(outcomes)
    print(f"\n{table}")
    for name, reason in NOT_OFFERED.items():
        print(f"Not offered: {name}: {reason}.")
    if options.write:
        replace_table(PAGE, "tests", table)
    return 1 if any(outcome.verdict == "FAILED" for outcome in outcomes) else 0


if __name__ == "__main__":
    sys.exit(main())
