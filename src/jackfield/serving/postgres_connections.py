"""What the parts of one backend share: the pool, and the connection that listens."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from .postgres_jobs import alongside
from .postgres_listener import PostgresListener
from .postgres_pool import OPERATION_SECONDS, PostgresPool


class PostgresConnections:
    """The connections of one instance: at most `pool_size` and one.

    Args:
        dsn: `postgresql://user:password@host:port/database`, as asyncpg takes it.
        schema: The schema with the tables.
        pool_size: Connections for operations, at the most.
        operation_timeout: Seconds after which an unanswered operation fails.

    Raises:
        ConfigError: asyncpg is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "jackfield",
        pool_size: int = 8,
        operation_timeout: float = OPERATION_SECONDS,
    ) -> None:
        self.pool: PostgresPool = PostgresPool(
            dsn, schema=schema, pool_size=pool_size, operation_timeout=operation_timeout
        )
        self.listener: PostgresListener = PostgresListener(self.pool)

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[None]:
        """Keep them for a while. The first who opens them owns them: others close before it does.

        Raises:
            StoreUnavailableError: The server cannot be reached.
            ConfigError: The tables are missing or of another version, or the server refuses this user.
        """
        if self.pool.is_open:
            yield
            return
        await self.listener.connect()
        self.pool.is_open = True
        try:
            async with alongside(self.listener.run):
                yield
        finally:
            self.pool.close()
