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
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from xdist.scheduler.protocol import Scheduling
    from xdist.workermanage import WorkerController


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Bound the fixtures of a test."""
    return (yield from _bounded(item, "setup"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Bound what ends the fixtures of a test."""
    return (yield from _bounded(item, "teardown"))


FRAMEWORKS = (
    "tests/adapters/",
    "tests/docs/test_autogen_teams.py",
    "tests/docs/test_code_blocks.py",
    "tests/docs/test_migrating.py",
    "tests/router/test_query_tool.py",
    "tests/router/test_router.py",
    "tests/toolkit/test_toolkit.py",
)
"""Where these tests are. They run in one worker: importing all frameworks takes 8 CPU seconds."""


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


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Scheduling | None:
    """xdist's scheduling by module, which survives a worker that dies.

    xdist 3.8 hands a test that ended its worker to the next worker, down to the last one; it counts on a new worker
    before that has collected; and it may leave a worker waiting for a second test for ever.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByModule(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            scope = super()._split_scope(nodeid)
            return "frameworks" if scope.startswith(FRAMEWORKS) else scope

        def remove_node(self, node: WorkerController) -> str | None:
            work = self.assigned_work[node]
            for scope in [scope for scope, tests in work.items() if all(tests.values())]:
                del work[scope]
            ended_by = next((test for tests in work.values() for test, is_done in tests.items() if not is_done), None)
            if ended_by is not None:
                work[self._split_scope(ended_by)][ended_by] = True
            super().remove_node(node)
            return ended_by

        def _reschedule(self, node: WorkerController) -> None:
            # A worker runs a test once it has the next one, or knows that none will come.
            while node in self.registered_collections and not node.shutting_down:
                super()._reschedule(node)
                if self._pending_of(self.assigned_work[node]) >= 2:
                    return

    return ByModule(config, log)
