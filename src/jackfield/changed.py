"""`Changed`: a signal that can be given again and again, for tasks that wait until something has changed."""

from __future__ import annotations

from collections.abc import Callable

import anyio


class Changed:
    """Wakes all tasks that wait for the next change. A signal that nobody waits for costs nothing."""

    def __init__(self) -> None:
        self._next: anyio.Event | None = None

    def set(self) -> None:
        """Wake all who wait now."""
        if self._next is not None:
            event, self._next = self._next, None
            event.set()

    async def wait(self) -> None:
        """Return at the next signal. What is to be waited for must be checked before, without an `await` between."""
        if self._next is None:
            self._next = anyio.Event()
        await self._next.wait()

    async def until(self, condition: Callable[[], bool]) -> None:
        """Return once a condition holds; it is checked now and at every signal."""
        while not condition():
            await self.wait()
