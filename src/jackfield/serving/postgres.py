"""PostgreSQL as backend: sessions, streams and the way between instances in the tables of one schema."""

from __future__ import annotations

from .backends import Backend
from .postgres_connections import PostgresConnections
from .postgres_pool import OPERATION_SECONDS
from .postgres_sessions import PostgresSessionStore
from .postgres_streams import PostgresStreamManager


class PostgresBackend(Backend):
    """Sessions and streams in PostgreSQL 13 or newer, through asyncpg (extra `postgres`).

    The tables are made by `jackfield serving migrate --postgres DSN`; the role of an instance needs rights on them
    only, which `--role` gives. An instance uses at most `pool_size` connections, and one that listens. asyncpg runs on
    asyncio only.

    A connection must be a session of the server: connect to PostgreSQL itself, or to PgBouncer with `pool_mode =
    session` and `ignore_startup_parameters = statement_timeout, idle_in_transaction_session_timeout, jit`. With
    transaction pooling nothing would be heard, since LISTEN belongs to a session.

    Args:
        dsn: `postgresql://user:password@host:port/database`, as asyncpg takes it, with `sslmode` and several hosts.
        schema: The schema with the tables.
        pool_size: Connections for operations, at the most.
        operation_timeout: Seconds after which an operation that has no answer is given up.
        prune_seconds: How often what has expired is removed; a quarter of the sessions' life if omitted, but at least
            every 30 seconds. It is never served, removed or not.

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
        prune_seconds: float | None = None,
    ) -> None:
        connections = PostgresConnections(dsn, schema=schema, pool_size=pool_size, operation_timeout=operation_timeout)
        super().__init__(
            sessions=PostgresSessionStore(connections, prune_seconds=prune_seconds),
            streams=PostgresStreamManager(connections, prune_seconds=prune_seconds),
        )
