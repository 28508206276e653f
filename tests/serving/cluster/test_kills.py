"""A small part of `make serving-matrix`: instances die, stand still or are restarted while clients call."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.conftest import quick_python
from tests.daily import daily
from tests.serving.cluster import kills, rolling

KILLS, STALLS, CALLS = daily((2, 1, 50), whole=(7, 2, 200))
"""All of it takes about 70 kills, 20 stalls and 2,000 calls."""

pytestmark = pytest.mark.timeout(240)


async def test_every_call_is_answered_when_an_instance_is_killed(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """Within 3 seconds, by its result or by an error; it never runs twice; its session goes on."""
    matrix = await kills.run_matrix(
        "redis", tmp_path, each=20, rounds=KILLS, python=quick_python(), environment=environment
    )

    assert not matrix.faults, matrix.shown()
    assert matrix.seen.total() >= 5 * KILLS, matrix.shown()


async def test_a_call_on_an_instance_that_stands_still_is_answered_once(
    tmp_path: Path, environment: Mapping[str, str]
) -> None:
    """By those who took it for dead, or by itself: then the late answer is dropped."""
    matrix = await kills.run_stalls("redis", tmp_path, rounds=STALLS, python=quick_python(), environment=environment)

    assert not matrix.faults, matrix.shown()


async def test_no_call_fails_while_instances_are_restarted(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """SIGTERM to one after the other; each ends by itself."""
    seen = await rolling.run("redis", tmp_path, calls=CALLS, python=quick_python(), environment=environment)

    assert not seen.failures
    assert not seen.twice
    assert seen.restarts >= 2
