"""`Background`: what goes on after the HTTP request that started it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVarTuple

from anyio.abc import TaskGroup

logger: logging.Logger = logging.getLogger("jackfield")

_Ts = TypeVarTuple("_Ts")


class Background:
    """Tasks of one instance. One that fails is logged and ends alone: it must not take the others with it.

    Args:
        tasks: Owns them; whoever cancels it ends them all.
    """

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks

    def start(self, function: Callable[[*_Ts], Awaitable[object]], *args: *_Ts) -> None:
        """Run a function in a task of its own."""
        self._tasks.start_soon(_run, function, args)


async def _run(function: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
    try:
        await function(*args)
    except Exception:
        logger.exception("[MCP] A task of an instance failed; the others go on")
