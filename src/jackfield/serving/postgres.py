"""PostgreSQL as backend: sessions, streams and the way between instances in the tables of one schema."""

from __future__ import annotations

from .backends import Backend
from .postgres_connections import PostgresConnections
from .postgres_pool import OPERATION_SECONDS
from .postgres_sessions import PostgresSessionStore
from .postgres_streams import PostgresStreamManager


class PostgresBackend(Backend):
    """Sessions and streams in PostgreSQL 13 or newer, through asyncpg (extra `postgres`).

    Create the tables with `jackfield serving migrate --postgres DSN`; the role of an instance needs privileges on them
    only, which `--role` grants. An instance uses at most `pool_size` connections, and one that listens. asyncpg runs on
    asyncio only.

    A connection must be a session of the server: connect to PostgreSQL itself, or to PgBouncer with `pool_mode =
    session` and `ignore_startup_parameters = statement_timeout, idle_in_transaction_session_timeout, jit`. With
    transaction pooling, notifications would be lost, since LISTEN belongs to a session.

    Args:
        dsn: `postgresql://user:password@host:port/database`, as asyncpg accepts it, with `sslmode` and several hosts.
        schema: The schema with the tables.
        pool_size: Maximum number of connections for operations.
        operation_timeout: Seconds after which an unanswered operation fails.
        prune_seconds: How often expired data is removed; a quarter of the sessions' life if omitted, but at least
            every 30 seconds. Expired data is never served.

    Raises:
        ConfigError: asyncpg is not installed, or an argument is invalid.
    """

    def __init__(
        self,
        dsn: str,
        *,
        schema: str = "jackfield",
        pool_size: int = 8,
        operation_timeout: float = OPERATION_SECONDS,
        prune_seconds: float | None = None,
    ) -> None:
        connections = PostgresConnections(dsn, schema=schema, pool_size=pool_size, operation_timeout=operation_timeout)
        super().__init__(
            sessions=PostgresSessionStore(connections, prune_seconds=prune_seconds),
            streams=PostgresStreamManager(connections, prune_seconds=prune_seconds),
        )
