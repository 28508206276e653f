"""Code without an event loop waits for what runs on one in another thread; what interrupts it ends that, too."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, cast

import anyio
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from jackfield.pool.portal import run_there


class Interrupted:
    """A portal at whose first use Ctrl-C is pressed: before the task is started, or as soon as it is."""

    def __init__(self, portal: BlockingPortal, *, starts_before: bool) -> None:
        self._portal = portal
        self._starts_before = starts_before
        self._is_over = False

    def start_task_soon(self, function: Callable[..., Any], *args: Any) -> Any:
        if self._is_over:
            return self._portal.start_task_soon(function, *args)
        self._is_over = True
        if self._starts_before:
            self._portal.start_task_soon(function, *args)
        raise KeyboardInterrupt


@pytest.mark.parametrize("starts_before", [True, False])
def test_whatever_was_started_is_ended(starts_before: bool) -> None:
    begun, ended = threading.Event(), threading.Event()

    async def hang() -> None:
        begun.set()
        try:
            await anyio.sleep_forever()
        finally:
            ended.set()

    with start_blocking_portal() as portal:
        interrupted = Interrupted(portal, starts_before=starts_before)
        with pytest.raises(KeyboardInterrupt):
            run_there(cast("BlockingPortal", interrupted), hang)
        assert ended.is_set() or not begun.is_set()
        portal.call(anyio.sleep, 0)
        assert ended.is_set() or not begun.is_set()


def test_results_and_errors_come_as_they_are() -> None:
    async def double(number: int) -> int:
        if number < 0:
            raise ValueError("negative")
        return 2 * number

    with start_blocking_portal() as portal:
        assert run_there(portal, double, 4) == 8
        with pytest.raises(ValueError, match="negative"):
            run_there(portal, double, -1)
    with pytest.raises(RuntimeError, match="portal"):
        run_there(portal, double, 1)
