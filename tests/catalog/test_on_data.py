"""Search over whole sets of tools: the floors of its recall, and that it is quick."""

from __future__ import annotations

import time

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, evaluate, load_set

from jackfield import ToolEntry
from jackfield.catalog.search import ServerEntry, ToolSearch


def test_the_floors_on_our_own_set() -> None:
    figures = evaluate(*load_set(DATA_OF_OURS))
    assert figures.recall[5] >= 0.55
    assert figures.exact == 1.0
    assert figures.abstention_auc is not None
    assert figures.abstention_auc >= 0.60


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")
def test_the_floors_on_the_shared_set() -> None:
    figures = evaluate(*load_set(SHARED_DATA))
    assert figures.recall[1] >= 0.50
    assert figures.recall[5] >= 0.72
    assert figures.server >= 0.70
    assert figures.exact == 1.0


def test_a_thousand_tools_are_searched_at_once() -> None:
    """A bound far from the measured one (benchmarks/routing): it is an accident that this would catch."""
    tools = [ToolEntry("s", f"tool_{n}", f"does the thing number {n} for file {n % 7}") for n in range(5000)]
    search = ToolSearch([ServerEntry("s", "", tools)])
    started = time.monotonic()
    search.find("do the thing with the file")
    assert time.monotonic() - started < 1
