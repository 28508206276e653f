"""Behaviour while the store is unavailable: running requests are held for a while, new ones are refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .errors import StoreUnavailableError

HOLD_SECONDS = 10.0
"""Time for which a running request is held while the store is unavailable. After that it continues without its log, so
that its client cannot resume."""

_ASK_AGAIN_SECONDS = 0.1

_T = TypeVar("_T")


async def held(operation: Callable[[], Awaitable[_T]], seconds: float = HOLD_SECONDS) -> _T:
    """Perform an operation on the store; retry for some seconds while it is unavailable.

    An operation may take effect twice if its answer was lost. Use it only for operations that a client distinguishes by
    number, or the store by its fence.

    Raises:
        StoreUnavailableError: It is still unavailable.
    """
    deadline = anyio.current_time() + seconds
    while True:
        try:
            return await operation()
        except StoreUnavailableError:
            if anyio.current_time() >= deadline:
                raise
        await anyio.sleep(_ASK_AGAIN_SECONDS)
