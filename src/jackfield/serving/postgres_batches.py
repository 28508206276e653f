"""`PostgresBatches`: operations of the same kind that are sent to PostgreSQL together, in one statement."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import anyio

from .errors import StoreUnavailableError

_AT_ONCE = 500

_Result = TypeVar("_Result")


class PostgresBatches(Generic[_Result]):
    """Sends what is asked for at nearly the same time, and what is asked for while an earlier batch is on its way.

    Args:
        send: Performs a batch, given as columns, the first one with the first argument of each; returns a result for
            each.
        gather_seconds: Maximum time for which an operation waits for others.
    """

    def __init__(
        self, send: Callable[[list[list[object]]], Awaitable[Sequence[_Result]]], gather_seconds: float
    ) -> None:
        self._send = send
        self._gather_seconds = gather_seconds
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[_Result]]] = []
        self._is_due = asyncio.Event()
        self._runs = 0
        """One for each application of this process that has the store open."""

    async def ask(self, *arguments: object) -> _Result:
        """Perform one operation.

        Raises:
            StoreUnavailableError: The server cannot be reached; the operation may have taken effect.
        """
        if not self._runs:
            raise StoreUnavailableError("Nothing was stored: the store is not open.", sent=False)
        result: asyncio.Future[_Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((arguments, result))
        self._is_due.set()
        return await result

    async def run(self) -> None:
        """Send batches one after the other until cancelled."""
        if not self._runs:
            # Of this event loop.
            self._is_due, self._waiting = asyncio.Event(), []
        self._runs += 1
        batch: list[tuple[tuple[object, ...], asyncio.Future[_Result]]] = []
        try:
            while True:
                await self._is_due.wait()
                await anyio.sleep(self._gather_seconds)
                batch, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
                if not self._waiting:
                    self._is_due.clear()
                # Who asked may have given up.
                if batch := [one for one in batch if not one[1].done()]:
                    await self._perform(batch)
        finally:
            self._runs -= 1
            for _, result in batch if self._runs else [*batch, *self._waiting]:
                _fail(result, StoreUnavailableError("The store was closed.", retryable=True))

    async def _perform(self, batch: list[tuple[tuple[object, ...], asyncio.Future[_Result]]]) -> None:
        try:
            results = await self._send([list(column) for column in zip(*(given for given, _ in batch), strict=True)])
        except StoreUnavailableError as failure:
            for _, result in batch:
                _fail(result, StoreUnavailableError(failure.message, retryable=True))
            return
        for (_, result), value in zip(batch, results, strict=True):
            if not result.done():
                result.set_result(value)


def _fail(result: asyncio.Future[_Result], error: StoreUnavailableError) -> None:
    if not result.done():
        result.set_exception(error)
