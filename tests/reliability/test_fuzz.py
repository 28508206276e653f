"""A small part of `make fuzz`: random faults while calls are made, with the executions counted at the server."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.fuzzing.cycles import Cycles
from benchmarks.fuzzing.executions import Executions, Plan

# What is told of a call is checked here; that it is told in time, on a machine that may be busy, by `make fuzz`.
SLACK = 60.0


@pytest.mark.parametrize(
    ("line", "router"),
    [("stdio", False), ("stdio 2026", False), ("http", True), ("http 2026", True), ("sse", False)],
)
def test_what_callers_are_told_is_what_the_server_did(line: str, router: bool, tmp_path: Path) -> None:
    plan = Plan(line, flight=10, seconds=1.2, seed=5, has_router=router, slack=SLACK)
    report = Executions(plan, tmp_path).run()
    assert not report.faults, dict(report.faults)
    assert report.calls


# What anyio was asked to run in a task that asyncio cancels before its first step is never awaited.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("line", ["stdio", "http"])
def test_openings_and_event_loops_end_at_any_moment(line: str, tmp_path: Path) -> None:
    faults = Cycles(line, 20, seed=5, folder=tmp_path).run()
    assert not faults, dict(faults)
