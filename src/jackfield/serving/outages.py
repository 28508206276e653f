"""What is done while the store cannot be reached: what runs is held for a while, what is new is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio

from .errors import StoreUnavailableError

HOLD_SECONDS = 10.0
"""So long a running request is held while the store cannot be reached. After that it goes on without the log, so that
its client cannot resume."""

_ASK_AGAIN_SECONDS = 0.1

_T = TypeVar("_T")


async def held(operation: Callable[[], Awaitable[_T]], seconds: float = HOLD_SECONDS) -> _T:
    """Do something with the store; try again for some seconds where it cannot be reached.

    An operation that took effect although its answer was lost is done twice. Only what a client can tell apart by its
    number, or the store by its fence, may be done like this.

    Raises:
        StoreUnavailableError: It still cannot be reached.
    """
    deadline = anyio.current_time() + seconds
    while True:
        try:
            return await operation()
        except StoreUnavailableError:
            if anyio.current_time() >= deadline:
                raise
        await anyio.sleep(_ASK_AGAIN_SECONDS)
