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
class Checks:
    """What the tests said of a server in one revision of the protocol."""

    scenarios: int
    passed: int
    """Checks; one that is made several times counts each time."""
    statuses: Mapping[str, str]
    """The worst status of each check, by scenario and check."""
    told: Mapping[str, str]
    """What was said of each check that failed or that was warned of."""
    output: str

    @property
    def failed(self) -> dict[str, str]:
        """What was said of each check that failed."""
        return self._with_status("FAILURE")

    @property
    def warned(self) -> dict[str, str]:
        """What was said of each check that was warned of."""
        return self._with_status("WARNING")

    def _with_status(self, status: str) -> dict[str, str]:
        return {check: self.told[check] for check, found in self.statuses.items() if found == status}


@dataclass(frozen=True)
class Outcome:
    """What the tests said of one setting in one revision of the protocol."""

    setting: Setting
    revision: str
    checks: Checks

    @property
    def row(self) -> str:
        """Its line of the table."""
        checks = self.checks
        cells = [checks.scenarios, checks.passed, len(checks.failed), len(checks.warned)]
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


STATUSES = ("SUCCESS", "INFO", "SKIPPED", "WARNING", "FAILURE")
"""From best to worst."""


async def judged(revision: str, url: str, folder: Path, scenarios: Sequence[str] = ()) -> Checks:
    """Run all scenarios that a revision knows, or these of them, one after the other."""
    results = folder / revision
    results.mkdir(parents=True)
    common = ["--url", url, "--output-dir", str(results)]
    runs = [["--scenario", name, "--spec-version", revision] for name in scenarios] or [["--requirements", revision]]
    output = "".join([await _tests(*common, *options) for options in runs])
    count = passed = 0
    statuses: dict[str, str] = {}
    told: dict[str, str] = {}
    for file in results.glob("*/checks.json"):
        scenario = file.parent.name.removeprefix("server-").partition("-20")[0]
        if scenario.startswith(EXTENSION):
            continue
        count += 1
        for check in json.loads(file.read_text()):
            name, status = f"{scenario}: {check['id']}", check["status"]
            passed += status == "SUCCESS"
            if STATUSES.index(status) >= STATUSES.index(statuses.get(name, STATUSES[0])):
                statuses[name], told[name] = status, str(check.get("errorMessage"))
    assert count or scenarios, output  # those given may not be of this revision
    return Checks(count, passed, statuses, told, output)


async def _tests(*options: str) -> str:
    """Run the tests' program; what it wrote."""
    environment = {**os.environ, "PATH": os.pathsep.join([str(NODE.parent), os.environ.get("PATH", "")])}
    with anyio.fail_after(SECONDS):
        done = await anyio.run_process(
            [str(NODE), str(PROGRAMS[RELEASE]), "server", *options],
            env=environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
            check=False,
        )
    return done.stdout.decode()


async def outcomes(setting: Setting, python: str = sys.executable) -> list[Outcome]:
    """Both revisions, one after the other, on the same instances."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        async with serving(setting, Path(folder), python) as url:
            return [Outcome(setting, revision, await judged(revision, url, Path(folder))) for revision in REVISIONS]


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
            for check, text in {**outcome.checks.failed, **outcome.checks.warned}.items():
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
    allowed = {check for one in found if one.setting == ALONE for check in one.checks.warned}
    if options.write:
        replace_table(PAGE, "served by", table(found))
    return 1 if any(one.checks.failed or set(one.checks.warned) - allowed for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
