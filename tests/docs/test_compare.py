"""docs/compare.md says what was seen: every cell was tried, and the page is written from what was recorded."""

from __future__ import annotations

import re

from benchmarks.comparison.page import PAGE, SEEN, read_seen, versions, written
from benchmarks.comparison.tasks import TASKS, TOOLS


def test_every_task_was_tried_with_every_command() -> None:
    seen = read_seen()
    assert list(seen) == [task.name for task in TASKS]
    for task in TASKS:
        assert list(seen[task.name]) == list(TOOLS), task.name
        for tool, found in seen[task.name].items():
            assert (found["works"] is None) == (tool not in task.lines), (task.name, tool)
    assert set(versions()) == {*TOOLS} - {"jackfield"}


def test_the_page_is_what_was_seen() -> None:
    assert PAGE.read_text() == written(PAGE.read_text()), "run: make comparison ARGS=--write"


def test_ours_does_what_the_page_claims() -> None:
    seen = read_seen()
    assert [task.name for task in TASKS if not seen[task.name]["jackfield"]["works"]] == []


def test_what_was_seen_tells_nothing_of_the_machine() -> None:
    assert not re.search(r"/(tmp|work|root|home)/", SEEN.read_text())
