"""Runs a task that belongs to an object instead of to the task that made it.

anyio's task groups must be left by the task that entered them, which a session that outlives its
opener cannot promise. Whoever spawns here waits for the end itself; the event loop's own shutdown
cancels what is left.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Coroutine
from typing import Any


def spawn(function: Callable[[], Coroutine[Any, Any, None]], name: str) -> object:
    """Start a task that must not raise. Keep what is returned until the task ends: it holds it alive."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.spawn_system_task(function, name=name, context=contextvars.copy_context())
    return loop.create_task(function(), name=name)


def event_loop_token() -> object:
    """Something that is the same for all code of one running event loop, and for no other."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        import trio

        return trio.lowlevel.current_trio_token()


def is_closed(token: object) -> bool:
    """Whether the event loop of this token has ended for good."""
    return isinstance(token, asyncio.AbstractEventLoop) and token.is_closed()
