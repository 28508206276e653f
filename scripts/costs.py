"""What a run costs: CPU seconds (user and system, of every process that it starts) and seconds on the clock.

Run: python -m scripts.costs COMMAND ...      the whole command; exits with its exit code
     python -m pytest -p scripts.costs ...    by file of tests, and the most expensive tests

COSTS_TO=FILE: CPU, clock and name of each test go into this file, as soon as it has ended.

A busy machine changes the time on the clock, but hardly the CPU time. As root on Linux it is read from a control group,
which counts daemons and other processes that nobody waits for; elsewhere only from processes that were waited for.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHOWN = 60
"""How many of the most expensive files and tests are printed."""


class Meter:
    """CPU time of this process and of all that it starts from now on."""

    def __init__(self) -> None:
        self._group = _control_group()
        self.is_complete = self._group is not None

    def read(self) -> float:
        """CPU seconds until now."""
        if self._group is None:
            usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
            return sum(usage.ru_utime + usage.ru_stime for usage in usages)
        if (usage := self._group / "cpuacct.usage").exists():
            return int(usage.read_text()) / 1e9
        return int((self._group / "cpu.stat").read_text().split()[1]) / 1e6

    def close(self) -> None:
        """Leave the control group, and remove it where nothing runs in it any more."""
        if self._group is not None:
            (self._group.parent / "cgroup.procs").write_text(str(os.getpid()))
            for group in [*sorted(self._group.rglob("*/"), reverse=True), self._group]:
                with contextlib.suppress(OSError):
                    group.rmdir()
            self._group = None


def _control_group() -> Path | None:
    """A new control group inside the present one, with this process in it."""
    lines = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    places = {controllers: path.lstrip("/") for _, controllers, path in lines}
    roots = {"cpuacct": "/sys/fs/cgroup/cpuacct", "cpu,cpuacct": "/sys/fs/cgroup/cpu,cpuacct", "": "/sys/fs/cgroup"}
    for controllers, root in roots.items():
        if controllers in places and (inside := Path(root) / places[controllers] / "cgroup.procs").exists():
            group = inside.parent / f"costs-{os.getpid()}"
            with contextlib.suppress(OSError):
                group.mkdir(exist_ok=True)
                (group / "cgroup.procs").write_text(str(os.getpid()))
                return group
    return None


class Costs:
    """Notes what each phase of each test costs, and prints the sums at the end."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._meter = Meter()
        self._last = self._meter.read(), time.monotonic()
        self._parts: dict[str, float] = {}
        """CPU seconds by worker and part of the run that is no test."""
        self._tests: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        rows = os.environ.get("COSTS_TO")
        self._rows = Path(rows) if rows else None

    def _spent(self) -> tuple[float, float]:
        """CPU and clock since this was asked last."""
        now = self._meter.read(), time.monotonic()
        spent = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return spent

    def pytest_collection_finish(self) -> None:
        """Collecting has ended, with all that it imports."""
        self._parts["collection"], _ = self._spent()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Iterator[None]:
        """Add what this phase cost."""
        report: Any = yield
        report.costs = self._spent()
        return report

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Sum up by test."""
        for number, spent in enumerate(getattr(report, "costs", ())):
            self._tests[report.nodeid][number] += spent
        if report.when == "teardown" and self._rows is not None:
            cpu, clock = self._tests[report.nodeid]
            with self._rows.open("a") as rows:
                rows.write(f"{cpu:.3f}\t{clock:.3f}\t{report.nodeid}\n")

    @pytest.hookimpl(optionalhook=True)
    def pytest_worker_start(self) -> None:
        """Measure this worker by itself; the controller notes."""
        self._rows = None
        self._meter = Meter()
        self._last = self._meter.read(), time.monotonic()

    def pytest_unconfigure(self) -> None:
        """Measure no more."""
        self._meter.close()

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Print it all."""
        write = terminalreporter.write_line
        files: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0])
        for name, (cpu, clock) in self._tests.items():
            entry = files[name.partition("::")[0]]
            entry[0], entry[1], entry[2] = entry[0] + cpu, entry[1] + clock, entry[2] + 1
        terminalreporter.section("costs")
        write("  CPU s  clock s  tests  file")
        for name, (cpu, clock, count) in sorted(files.items(), key=lambda pair: -pair[1][0])[:SHOWN]:
            write(f"{cpu:7.2f}  {clock:7.2f}  {count:5}  {name}")
        write("")
        write("  CPU s  clock s  test")
        for name, (cpu, clock) in sorted(self._tests.items(), key=lambda pair: -pair[1][0])[:SHOWN]:
            write(f"{cpu:7.2f}  {clock:7.2f}  {name}")
        write("")
        for part, cpu in self._parts.items():
            write(f"{cpu:7.2f}  {part}")
        whole = sum(cpu for cpu, _ in self._tests.values())
        clock = sum(clock for _, clock in self._tests.values())
        write(f"{whole:7.2f} CPU s, {clock:.0f} s on the clock in {len(self._tests)} tests")


def pytest_configure(config: pytest.Config) -> None:
    """Measure in each process of the run."""
    config.pluginmanager.register(Costs(config), "costs")


def main() -> int:
    """Run a command and say what it cost."""
    meter = Meter()
    start = meter.read(), time.monotonic()
    code = subprocess.run(sys.argv[1:], check=False).returncode
    cpu, clock = meter.read() - start[0], time.monotonic() - start[1]
    counted = "of all processes" if meter.is_complete else "of processes that were waited for"
    print(f"{cpu:.1f} CPU s {counted}, {clock:.1f} s on the clock", file=sys.stderr)
    meter.close()
    return code


if __name__ == "__main__":
    sys.exit(main())
