"""What hangs or dies costs its own test, never the run. Hooks of pytest; `conftest.py` takes them over.

pytest-timeout bounds the body of a test (`timeout_func_only`). Its one timer for a whole test could fire while a
failure is being reported, which is an error of pytest itself: the run ended there. Setup and teardown are bounded here,
each for itself and with nothing of pytest's own reporting in between. What no signal reaches ends its worker
(`faulthandler_exit_on_timeout`), which costs the test that it ran, as any other death of a worker does.
"""

from __future__ import annotations

import signal
from collections.abc import Generator
from types import FrameType

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Bound the fixtures of a test."""
    return (yield from _bounded(item, "setup"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Bound what ends the fixtures of a test."""
    return (yield from _bounded(item, "teardown"))


def _bounded(item: pytest.Item, phase: str) -> Generator[None, object, object]:
    marker = item.get_closest_marker("timeout")
    given = item.config.getoption("timeout") or item.config.getini("timeout") or 0
    seconds = float(marker.args[0] if marker else given)

    def fail(number: int, frame: FrameType | None) -> None:
        pytest.fail(f"Timeout (>{seconds:g} s) in {phase}.")

    before = signal.signal(signal.SIGALRM, fail)
    # Again and again: each of several fixtures may hang.
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        return (yield)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
