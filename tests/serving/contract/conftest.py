"""The engines, and how a test opens instances on one store. A new engine is one more line of `ENGINES`."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import asyncpg
import pytest
from redis.asyncio import Redis
from tests.serving.redis_server import RedisServer

from jackfield.serving import (
    Backend,
    InMemorySessionStore,
    InMemoryStreamManager,
    PostgresBackend,
    Principal,
    RedisBackend,
    RunningCall,
    ServingLimits,
    SessionRecord,
)
from jackfield.serving.postgres_migration import migrate
from jackfield.serving.postgres_versions import TABLES

LIMITS = ServingLimits()
TTL = 1.0
"""A short life, where a test waits for its end."""


@dataclass(frozen=True)
class Engine:
    """One kind of store, with a part of it that only this test uses.

    Args:
        backend: Makes what one more instance uses.
        contents: What is in the store, looked at without the engine: names of keys, or rows.
        program: Python text that binds `backend`, for an instance in a process of its own.
    """

    backend: Callable[[], Backend]
    contents: Callable[[], Awaitable[Sequence[object]]]
    program: str = ""

    @asynccontextmanager
    async def two(self, *, ttl: float = 60.0, **bounds: int) -> AsyncGenerator[tuple[Backend, Backend]]:
        """Two instances on the same store."""
        async with self.one(ttl=ttl, **bounds) as one, self.one(ttl=ttl, **bounds) as other:
            yield one, other

    @asynccontextmanager
    async def one(
        self, *, ttl: float = 60.0, log_events: int = 1000, log_bytes: int = 8 * 1024 * 1024
    ) -> AsyncGenerator[Backend]:
        """One more instance."""
        backend = self.backend()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(backend.sessions.open(ttl=ttl))
            await stack.enter_async_context(backend.streams.open(ttl=ttl, log_events=log_events, log_bytes=log_bytes))
            yield backend

    async def is_empty(self) -> bool:
        """Whether nothing is left in the store."""
        return not await self.contents()


def memory(request: pytest.FixtureRequest) -> Engine:
    sessions, streams = InMemorySessionStore(), InMemoryStreamManager()

    async def contents() -> list[object]:
        await sessions.live()
        streams._prune_at = 0.0
        await streams.tip("none", "none")
        kept: list[Any] = [sessions._sessions, sessions._topics, sessions._of, streams._logs, streams._readers]
        return [key for one in kept for key in one]

    return Engine(lambda: Backend(sessions, streams), contents)


def postgres(request: pytest.FixtureRequest) -> Engine:
    url: str = request.getfixturevalue("postgres_server").url
    schema = f"contract_{uuid4().hex[:12]}"
    anyio.run(partial(migrate, url, schema=schema))
    settings = f'"{url}", schema="{schema}", pool_size=3, prune_seconds=0.2'

    async def contents() -> list[object]:
        connection = await asyncpg.connect(url)
        try:
            tables = [table for table in TABLES if table not in ("events", "messages")]
            rows = [await connection.fetch(f"select '{table}', * from {schema}.{table}") for table in tables]
            rows.append(
                await connection.fetch(
                    f"select 'of no log', * from {schema}.events e where not exists (select from {schema}.logs l "
                    "where l.session_id = e.session_id and l.stream = e.stream)"
                )
            )
            return [row for of_table in rows for row in of_table]
        finally:
            await connection.close()

    return Engine(
        lambda: PostgresBackend(url, schema=schema, pool_size=3, prune_seconds=0.2),
        contents,
        f"from jackfield.serving import PostgresBackend\nbackend = PostgresBackend({settings})",
    )


def redis(request: pytest.FixtureRequest) -> Engine:
    server: RedisServer = request.getfixturevalue("redis_server")
    prefix = f"test-{uuid4().hex}"

    async def contents() -> list[object]:
        async with Redis.from_url(server.url) as client:
            return [key async for key in client.scan_iter(f"{prefix}*", count=1000)]

    program = f"from jackfield.serving import RedisBackend\nbackend = RedisBackend({server.url!r}, prefix={prefix!r})"
    return Engine(lambda: RedisBackend(server.url, prefix=prefix), contents, program)


ENGINES: dict[str, Callable[[pytest.FixtureRequest], Engine]] = {
    "memory": memory,
    "redis": redis,
    "postgres": postgres,
}


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


@pytest.fixture(params=[name for name in ENGINES if name != "memory"])
def shared_engine(request: pytest.FixtureRequest) -> Engine:
    """One whose store outlives its instances."""
    return ENGINES[request.param](request)


def record(session_id: str = "s1", principal: Principal | None = None) -> SessionRecord:
    initialize = {"clientInfo": {"name": "tést", "version": "1"}, "capabilities": {"roots": {}}}
    return SessionRecord(session_id, initialize, "2025-11-25", principal)


def call(request_id: str = "1", instance: str = "one", stream: str = "") -> RunningCall:
    return RunningCall(request_id, instance, stream or f"stream-{request_id}-{instance}")


async def until(condition: Callable[[], Awaitable[object]], seconds: float = 15.0) -> None:
    """Wait until it holds."""
    deadline = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < deadline, "did not come true in time"
        await anyio.sleep(0.02)
