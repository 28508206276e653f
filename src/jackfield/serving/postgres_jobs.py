"""What an instance does in the background for as long as it uses PostgreSQL."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import anyio

from .errors import StoreUnavailableError
from .postgres_pool import PostgresPool

logger: logging.Logger = logging.getLogger("jackfield")

_MOST_PRUNE_SECONDS = 30.0
_PRUNED_ROWS = 200
"""Number of rows removed in one transaction."""

Job = Callable[[], Coroutine[Any, Any, None]]


@asynccontextmanager
async def alongside(*jobs: Job) -> AsyncGenerator[None]:
    """Run jobs for a while. What the body raises is raised as it is, not in a group."""
    raised: Exception | None = None
    async with anyio.create_task_group() as tasks:
        for job in jobs:
            tasks.start_soon(job)
        try:
            yield
        except Exception as error:
            raised = error
        tasks.cancel_scope.cancel()
    if raised is not None:
        raise raised


def prune_interval(given: float | None, ttl: float) -> float:
    """Seconds between two looks for what has expired."""
    return min(ttl / 4, _MOST_PRUNE_SECONDS) if given is None else given


async def prune_forever(pool: PostgresPool, interval: float, statement: str, *arguments: object) -> None:
    """Remove what has expired now and then, in portions.

    Args:
        pool: Runs the statement.
        interval: Seconds between two times.
        statement: Gives how many rows it removed; its first argument is how many that may be.
        arguments: Its others.
    """
    while True:
        await anyio.sleep(interval)
        try:
            while await pool.value(statement, _PRUNED_ROWS, *arguments) >= _PRUNED_ROWS:
                pass
        except StoreUnavailableError as error:
            logger.warning("[MCP] Expired entries were not removed yet: %s", error.message)
