"""`Background`: tasks that outlive the HTTP request that started them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Self, TypeVarTuple

import anyio

logger: logging.Logger = logging.getLogger("jackfield")

_Ts = TypeVarTuple("_Ts")

ENDS = (asyncio.CancelledError, GeneratorExit, KeyboardInterrupt, SystemExit)
"""What ends a task from outside. Any other exception is a failure of what it runs, also one that is no `Exception`:
libraries in Rust raise such ones."""


class Background:
    """Tasks of one instance. A failing task is logged and does not affect the others.

    They are plain asyncio tasks, each in its own cancel scope: every request starts one, and a task group of
    anyio takes three times as long to start it.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self._scopes: set[anyio.CancelScope] = set()
        self._is_over = False

    @asynccontextmanager
    async def run(self) -> AsyncGenerator[Self]:
        """Own the tasks for a while; at the end they are cancelled, and waited for."""
        interrupted: asyncio.CancelledError | None = None
        try:
            yield self
        finally:
            self._is_over = True
            for scope in list(self._scopes):
                scope.cancel()
            with anyio.CancelScope(shield=True):
                while self._tasks:
                    try:
                        await asyncio.wait(self._tasks)
                    except asyncio.CancelledError as error:
                        # As in a task group: no task outlives what it uses.
                        interrupted = error
            if interrupted is not None:
                raise interrupted

    def start(self, function: Callable[[*_Ts], Awaitable[object]], *args: *_Ts) -> None:
        """Run a function in a new task."""
        task = asyncio.get_running_loop().create_task(self._run(function, args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _run(self, function: Callable[..., Awaitable[object]], args: tuple[object, ...]) -> None:
        with anyio.CancelScope() as scope:
            self._scopes.add(scope)
            if self._is_over:
                scope.cancel()
            try:
                await function(*args)
            except ENDS:
                raise
            except BaseException:
                logger.exception("[MCP] A task of an instance failed; the others go on")
            finally:
                self._scopes.discard(scope)
