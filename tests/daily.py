"""Tests that are too long for every day: `make test` has a part of them, `make whole` has them whole.

A part of a list is `daily(part, whole=...)`. Two markers leave tests out of a daily run, as deselected:

- `whole`, of a test, a module (`pytestmark`) or one case (`pytest.param(..., marks=pytest.mark.whole)`);
- `in_turn("store")`, of a test, a class or a module with many cases of the parameter or fixture `store`: each test is
  tried with one of them, the next test with the next one. With `in_turn("store", "era")` both take turns.

A test that is named on the command line (`file.py::test_name`) runs with all of its cases.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

IS_WHOLE = os.environ.get("JACKFIELD_TESTS") == "whole"


def daily(part: T, *, whole: T) -> T:
    """How much of a test this run has."""
    return whole if IS_WHOLE else part


def left_out(items: Sequence[pytest.Item]) -> Collection[pytest.Item]:
    """Those tests that a daily run does not have."""
    found = {item for item in items if item.get_closest_marker("whole")}
    by_module: dict[Path, list[pytest.Function]] = defaultdict(list)
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("in_turn"):
            by_module[item.path].append(item)
    for several in by_module.values():
        found.update(_not_their_turn(several))
    return found


def _not_their_turn(items: Sequence[pytest.Function]) -> Collection[pytest.Function]:
    """Those tests of a module that it is not the turn of.

    Tests that differ only in what takes turns are one test, of which one case is kept.
    """
    cases: dict[tuple[object, ...], list[tuple[list[int], pytest.Function]]] = defaultdict(list)
    for item in items:
        marker = item.get_closest_marker("in_turn")
        assert marker
        # By identity, since not each has a hash; pytest numbers the cases of a product, not the values of each list.
        callspec = getattr(item, "callspec", None)
        values = {name: id(value) for name, value in callspec.params.items()} if callspec else {}
        if not values.keys() >= set(marker.args):
            continue  # of a module of which other tests have it
        others = [pair for pair in values.items() if pair[0] not in marker.args]
        cases[item.cls, item.originalname, *others].append(([values[name] for name in marker.args], item))
    assert cases, f"no test of {items[0].path} has a parameter that its marker in_turn names"
    found: set[pytest.Function] = set()
    for number, same in enumerate(cases.values()):
        axes = [list(dict.fromkeys(axis)) for axis in zip(*(chosen for chosen, _ in same), strict=True)]
        turn = [axis[number % len(axis)] for axis in axes]
        assert any(chosen == turn for chosen, _ in same), f"not a product of its parameters: {same[0][1].nodeid}"
        found.update(item for chosen, item in same if chosen != turn)
    return found
