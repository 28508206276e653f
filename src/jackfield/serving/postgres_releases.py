"""`PostgresReleases`: the ends of calls, noted together, since no client waits for them."""

from __future__ import annotations

import asyncio

import anyio

from .errors import StoreUnavailableError
from .postgres_pool import PostgresPool

_GATHER_SECONDS = 0.005
"""Maximum time for which the end of a call waits for those of others."""

_AT_ONCE = 500

Noted = tuple[str, str, str, str]
"""A call as the ledger has it: its session, key, instance and stream."""


class PostgresReleases:
    """Removes calls from the ledger, batching those that end at nearly the same time.

    Args:
        pool: Runs the statement.
        statement: Takes sessions, keys, instances and streams, and returns those that it removed.
    """

    def __init__(self, pool: PostgresPool, statement: str) -> None:
        self._pool = pool
        self._statement = statement
        self._waiting: list[tuple[Noted, asyncio.Future[bool]]] = []
        self._is_due = asyncio.Event()
        self._runs = 0
        """One for each application of this process that has the store open."""

    async def release(self, noted: Noted) -> bool:
        """Remove a call; whether it was there.

        Raises:
            StoreUnavailableError: The server cannot be reached; the call may have been removed.
        """
        if not self._runs:
            raise StoreUnavailableError("A call was not released: the store is not open.", sent=False)
        removed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((noted, removed))
        self._is_due.set()
        return await removed

    async def run(self) -> None:
        """Do it until cancelled."""
        if not self._runs:
            # Of this event loop.
            self._is_due, self._waiting = asyncio.Event(), []
        self._runs += 1
        batch: list[tuple[Noted, asyncio.Future[bool]]] = []
        try:
            while True:
                await self._is_due.wait()
                await anyio.sleep(_GATHER_SECONDS)
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                if not self._waiting:
                    self._is_due.clear()
                if batch:
                    await self._remove(batch)
        finally:
            self._runs -= 1
            for _, removed in batch if self._runs else [*batch, *self._waiting]:
                _end(removed, StoreUnavailableError("A call was not released: the store was closed.", retryable=True))

    async def _remove(self, batch: list[tuple[Noted, asyncio.Future[bool]]]) -> None:
        columns = [list(column) for column in zip(*(noted for noted, _ in batch), strict=True)]
        try:
            rows = await self._pool.fetch(self._statement, *columns)
        except StoreUnavailableError as failure:
            for _, removed in batch:
                _end(removed, StoreUnavailableError(failure.message, retryable=True))
            return
        gone = {tuple(row.values()) for row in rows}
        for noted, removed in batch:
            if not removed.done():
                removed.set_result(noted in gone)


def _end(removed: asyncio.Future[bool], error: StoreUnavailableError) -> None:
    if not removed.done():
        removed.set_exception(error)
