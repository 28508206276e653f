"""The official conformance tests of servers, run against served sessions behind HAProxy; as a program: all settings.

The server is `server.py`. It is served by the SDK's own manager, for comparison, and by `serve_sessions` with each
store, on one instance and on several that HAProxy sends requests in turn.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from tests.conformance.runner import NODE, PAGE, PROGRAMS, REVISIONS, VERSIONS, is_installed, replace_table
from tests.serving.cluster.cluster import missing, running_cluster, running_store

SECONDS = 300.0
RELEASE = "0.2"
EXTENSION = "tasks-"
"""Scenarios of an extension that no revision requires, and that the SDK does not have."""


@dataclass(frozen=True)
class Setting:
    """How the server is served."""

    by: str
    store: str
    instances: int

    def __str__(self) -> str:
        who = "`serve_sessions`" if self.by == "jackfield" else "the SDK's manager"
        return f"{who} | {self.store} | {self.instances}"


ALONE = Setting("sdk", "memory", 1)
SETTINGS = [
    ALONE,
    Setting("jackfield", "memory", 1),
    *(Setting("jackfield", store, instances) for store in ("redis", "postgres") for instances in (2, 3)),
]


@dataclass(frozen=True)
class Outcome:
    """What the tests said of one setting in one revision of the protocol."""

    setting: Setting
    revision: str
    statuses: Counter[str]
    failed: Mapping[str, str]
    """What was said of each check that failed; those of the extension do not count."""
    warned: Mapping[str, str]
    output: str

    @property
    def row(self) -> str:
        """Its line of the table."""
        scenarios = self.statuses["scenarios"]
        cells = [scenarios, self.statuses["SUCCESS"], len(self.failed), len(self.warned)]
        return f"| {self.setting} | {self.revision} | {' | '.join(map(str, cells))} |"


@asynccontextmanager
async def serving(setting: Setting, folder: Path, python: str = sys.executable) -> AsyncGenerator[str]:
    """Serve it as long as the block lasts; the URL."""
    options = ["--app", "tests.conformance.server", "--by", setting.by]
    async with running_store(setting.store) as store:
        async with running_cluster(
            folder, instances=setting.instances, store=store, options=options, python=python
        ) as cluster:
            yield cluster.url


async def judged(setting: Setting, revision: str, url: str, folder: Path) -> Outcome:
    """Run all scenarios that a revision knows."""
    results = folder / revision
    environment = {**os.environ, "PATH": os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])}
    command = [str(NODE), str(PROGRAMS[RELEASE]), "server", "--url", url, "--requirements", revision]
    with anyio.fail_after(SECONDS):
        done = await anyio.run_process(
            [*command, "--output-dir", str(results)],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=False,
        )
    statuses: Counter[str] = Counter()
    by_status: dict[str, dict[str, str]] = {"FAILURE": {}, "WARNING": {}}
    for file in results.glob("*/checks.json"):
        scenario = file.parent.name.removeprefix("server-").partition("-20")[0]
        if scenario.startswith(EXTENSION):
            continue
        statuses["scenarios"] += 1
        for check in json.loads(file.read_text()):
            statuses[check["status"]] += 1
            if (told := by_status.get(check["status"])) is not None:
                told[f"{scenario}: {check['id']}"] = str(check.get("errorMessage"))
    assert statuses["scenarios"], done.stdout.decode()
    return Outcome(setting, revision, statuses, by_status["FAILURE"], by_status["WARNING"], done.stdout.decode())


async def outcomes(setting: Setting, python: str = sys.executable) -> list[Outcome]:
    """Both revisions, one after the other, on the same instances."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        async with serving(setting, Path(folder), python) as url:
            return [await judged(setting, revision, url, Path(folder)) for revision in REVISIONS]


def table(found: Sequence[Outcome]) -> str:
    """As a Markdown table."""
    head = "| served by | store | instances | protocol | scenarios | checks passed | failed | warned |"
    return "\n".join([head, "|---|---|---|---|---|---|---|---|", *(one.row for one in found)]) + "\n"


async def run_all(settings: Sequence[Setting]) -> list[Outcome]:
    """One setting after the other."""
    found: list[Outcome] = []
    for setting in settings:
        for outcome in await outcomes(setting):
            found.append(outcome)
            print(outcome.row, flush=True)
            for check, text in {**outcome.failed, **outcome.warned}.items():
                print(f"    {check}: {text}")
    return found


def main() -> int:
    """Run all, print a table; 1 if a check failed, or warned where it does not of the SDK's own manager."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("stores", nargs="*", help="only these: memory, redis, postgres")
    parser.add_argument("--write", action="store_true", help="write the result into docs/conformance.md")
    options = parser.parse_args()
    if not is_installed():
        print("The conformance tests are not installed: run `make third-party` (needs npm).", file=sys.stderr)
        return 1
    if (text := missing()) is not None:
        print(text, file=sys.stderr)
        return 1
    print(f"Conformance tests of servers, {VERSIONS[RELEASE]}")
    settings = [one for one in SETTINGS if one == ALONE or not options.stores or one.store in options.stores]
    found = asyncio.run(run_all(settings))
    allowed = {check for one in found if one.setting == ALONE for check in one.warned}
    if options.write:
        replace_table(PAGE, "served by", table(found))
    return 1 if any(one.failed or set(one.warned) - allowed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
