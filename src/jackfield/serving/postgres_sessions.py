"""`PostgresSessionStore`: the metadata of sessions in PostgreSQL."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

from .errors import StoredDataError
from .limits import ServingLimits
from .memory import request_runs, too_many_requests, too_many_sessions, too_many_subscriptions
from .postgres_backplane import MESSAGE_SECONDS, PostgresBackplane
from .postgres_batches import PostgresBatches
from .postgres_connections import PostgresConnections
from .postgres_jobs import alongside, prune_forever, prune_interval
from .postgres_pool import OPERATION_SECONDS, Row, key_of
from .postgres_shared import PostgresShared, owner_of
from .records import Principal, RunningCall, SessionRecord, read_record

_RELEASE_SECONDS = 0.005
"""Maximum time for which the end of a call waits for those of others."""

_CLAIMING = 4
"""Batches of claims on their way at the most: more would be smaller, and cost more in all."""


class PostgresSessionStore(PostgresShared):
    """A `SessionStore` in PostgreSQL 13 or newer; see `PostgresBackend`.

    Args:
        connections: The DSN of the database, or connections that are shared with a `PostgresStreamManager`.
        schema: The schema with the tables; for a DSN.
        pool_size: Maximum number of connections for operations; for a DSN.
        operation_timeout: Seconds after which an unanswered operation fails; for a DSN.
        prune_seconds: How often expired data is removed; a quarter of the sessions' life if omitted, but at least
            every 30 seconds.

    Raises:
        ConfigError: asyncpg is not installed, or an argument is wrong.
    """

    def __init__(
        self,
        connections: str | PostgresConnections,
        *,
        schema: str = "jackfield",
        pool_size: int = 8,
        operation_timeout: float = OPERATION_SECONDS,
        prune_seconds: float | None = None,
    ) -> None:
        if isinstance(connections, str):
            connections = PostgresConnections(
                connections, schema=schema, pool_size=pool_size, operation_timeout=operation_timeout
            )
        self._connections = connections
        super().__init__(connections.pool)
        self._backplane = PostgresBackplane(connections.pool, connections.listener)
        self._prune_seconds = prune_seconds
        self._ttl = 0.0
        sql = self._pool.sql
        self._create = sql("select {s}.create_session($1, $2, $3, $4, $5, $6, $7)")
        # In an order that is the same for all, since each claim locks its session.
        self._claim = sql(
            "select outcome, record, log_level from ("
            "select * from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::int[]) "
            "with ordinality as given (session_id, principal, call_key, request_id, instance, stream, calls, place) "
            "order by session_id, place) given cross join lateral {s}.claim("
            "given.session_id, principal, call_key, given.request_id, instance, stream, $8, calls) claimed "
            "order by place"
        )
        self._find = sql(
            "update {s}.sessions set expires_at = {s}.in_seconds($3) where session_id = $1 "
            "and principal is not distinct from $2 and expires_at > clock_timestamp() returning record, log_level"
        )
        self._release = sql(
            "delete from {s}.calls using unnest($1::text[], $2::text[], $3::text[], $4::text[]) "
            "as given (session_id, call_key, instance, stream) where calls.session_id = given.session_id and "
            "calls.call_key = given.call_key and calls.instance = given.instance and calls.stream = given.stream "
            "returning calls.session_id, calls.call_key, calls.instance, calls.stream"
        )
        self._running = sql(
            "select request_id, instance, stream from {s}.calls join {s}.sessions using (session_id) "
            "where session_id = $1 and call_key = $2 and expires_at > clock_timestamp()"
        )
        self._running_on = sql(
            "select session_id, request_id, instance, stream from {s}.calls join {s}.sessions using (session_id) "
            "where instance = $1 and expires_at > clock_timestamp()"
        )
        self._touch = sql("select {s}.touch_sessions($1, $2)")
        self._seconds_left = sql(
            "select extract(epoch from expires_at - clock_timestamp())::float8 from {s}.sessions "
            "where session_id = $1 and expires_at > clock_timestamp()"
        )
        self._set_log_level = sql("update {s}.sessions set log_level = $2 where session_id = $1")
        self._delete = sql("select {s}.delete_session($1)")
        self._live = sql(
            "select session_id from {s}.sessions "
            "where expires_at > clock_timestamp() and ($1::text is null or principal = $1)"
        )
        self._count = sql("select count(*) from {s}.sessions where expires_at > clock_timestamp()")
        self._subscribe = sql("select {s}.subscribe($1, $2, $3)")
        self._unsubscribe = sql("delete from {s}.topics where session_id = $1 and topic = any ($2)")
        self._subscribers = sql(
            "select session_id from {s}.topics join {s}.sessions using (session_id) "
            "where topic = $1 and expires_at > clock_timestamp()"
        )
        self._get_state = sql(
            "select value from {s}.state join {s}.sessions using (session_id) "
            "where session_id = $1 and key = $2 and expires_at > clock_timestamp()"
        )
        self._set_state = sql(
            "insert into {s}.state (session_id, key, value) "
            "select session_id, $2, $3 from {s}.sessions where session_id = $1 and expires_at > clock_timestamp() "
            "on conflict (session_id, key) do update set value = excluded.value"
        )
        self._add_state = sql(
            "insert into {s}.state (session_id, key, value) "
            "select session_id, $2, $3 from {s}.sessions where session_id = $1 and expires_at > clock_timestamp() "
            "on conflict (session_id, key) do nothing returning value"
        )
        self._swap_state = sql(
            "update {s}.state set value = $3 from {s}.sessions where state.session_id = $1 and key = $2 and value = $4 "
            "and sessions.session_id = state.session_id and expires_at > clock_timestamp() returning value"
        )
        self._remove_state = sql("delete from {s}.state where session_id = $1 and key = $2")
        self._prune = sql("select {s}.prune_sessions($1, $2)")
        self._claims = PostgresBatches(self._claim_all, 0.0)
        # No client waits for these.
        self._releases = PostgresBatches(self._release_all, _RELEASE_SECONDS)

    @property
    def backplane(self) -> PostgresBackplane:
        """How instances that share this database reach each other."""
        return self._backplane

    @asynccontextmanager
    async def open(self, *, ttl: float) -> AsyncGenerator[None]:
        """See `SessionStore.open`."""
        self._ttl = ttl
        interval = prune_interval(self._prune_seconds, ttl)
        async with self._connections.opened():
            prune = partial(prune_forever, self._pool, interval, self._prune, MESSAGE_SECONDS)
            async with alongside(prune, self._releases.run, *[self._claims.run] * _CLAIMING):
                yield

    async def create(self, record: SessionRecord, limits: ServingLimits) -> None:
        """See `SessionStore.create`."""
        reached: str | None = await self._pool.value(
            self._create,
            record.session_id,
            record.to_json(),
            record.log_level,
            owner_of(record.principal),
            self._ttl,
            limits.sessions,
            limits.sessions_per_user,
        )
        if reached is not None:
            raise too_many_sessions(limits, is_of_user=reached == "sessions_per_user")

    async def find(self, session_id: str, principal: Principal | None) -> SessionRecord | None:
        """See `SessionStore.find`."""
        rows = await self._pool.fetch(self._find, session_id, owner_of(principal), self._ttl)
        return _record(rows[0]["record"], rows[0]["log_level"]) if rows else None

    async def claim(
        self, session_id: str, principal: Principal | None, call: RunningCall, limits: ServingLimits
    ) -> SessionRecord | None:
        """See `SessionStore.claim`."""
        key, most = key_of(call.request_id), limits.requests_per_session
        try:
            async with asyncio.timeout(self._pool.operation_timeout):
                row = await self._claims.ask(
                    session_id, owner_of(principal), key, call.request_id, call.instance, call.stream, most
                )
        except TimeoutError as error:
            raise self._pool.unavailable(error) from error
        match row["outcome"]:
            case "gone":
                return None
            case "runs":
                raise request_runs()
            case "full":
                raise too_many_requests(limits)
            case _:
                pass
        try:
            return _record(row["record"], row["log_level"])
        except StoredDataError:
            await self.release(session_id, call)
            raise

    async def _claim_all(self, columns: list[list[object]]) -> Sequence[Row]:
        return await self._pool.fetch(self._claim, *columns, self._ttl)

    async def release(self, session_id: str, call: RunningCall) -> bool:
        """See `SessionStore.release`."""
        return await self._releases.ask(session_id, key_of(call.request_id), call.instance, call.stream)

    async def _release_all(self, columns: list[list[object]]) -> Sequence[bool]:
        gone = {tuple(row.values()) for row in await self._pool.fetch(self._release, *columns)}
        return [one in gone for one in zip(*columns, strict=True)]

    async def running(self, session_id: str, request_id: str) -> RunningCall | None:
        """See `SessionStore.running`."""
        rows = await self._pool.fetch(self._running, session_id, key_of(request_id))
        return RunningCall(**rows[0]) if rows else None

    async def running_on(self, instance: str) -> Sequence[tuple[str, RunningCall]]:
        """See `SessionStore.running_on`."""
        rows = await self._pool.fetch(self._running_on, instance)
        return [(row["session_id"], RunningCall(row["request_id"], row["instance"], row["stream"])) for row in rows]

    async def touch(self, session_ids: Sequence[str]) -> Sequence[str]:
        """See `SessionStore.touch`."""
        if not session_ids:
            return []
        rows = await self._pool.fetch(self._touch, list(session_ids), self._ttl)
        return [row["touch_sessions"] for row in rows]

    async def unused_for(self, session_id: str) -> float | None:
        """See `SessionStore.unused_for`."""
        left: float | None = await self._pool.value(self._seconds_left, session_id)
        return None if left is None else max(0.0, self._ttl - left)

    async def set_log_level(self, session_id: str, level: str) -> None:
        """See `SessionStore.set_log_level`."""
        await self._pool.execute(self._set_log_level, session_id, level)

    async def delete(self, session_id: str) -> Sequence[RunningCall] | None:
        """See `SessionStore.delete`."""
        calls: str | None = await self._pool.value(self._delete, session_id)
        return None if calls is None else [RunningCall(*call) for call in json.loads(calls)]

    async def live(self, principal: Principal | None = None) -> Sequence[str]:
        """See `SessionStore.live`."""
        rows = await self._pool.fetch(self._live, owner_of(principal))
        return [row["session_id"] for row in rows]

    async def count(self) -> int:
        """See `SessionStore.count`."""
        return await self._pool.value(self._count)

    async def subscribe(self, session_id: str, topics: Iterable[str], limits: ServingLimits) -> None:
        """See `SessionStore.subscribe`."""
        keys = [key_of(topic) for topic in topics]
        if not await self._pool.value(self._subscribe, session_id, keys, limits.subscriptions_per_session):
            raise too_many_subscriptions(limits)

    async def unsubscribe(self, session_id: str, topics: Iterable[str]) -> None:
        """See `SessionStore.unsubscribe`."""
        await self._pool.execute(self._unsubscribe, session_id, [key_of(topic) for topic in topics])

    async def subscribers(self, topic: str) -> Sequence[str]:
        """See `SessionStore.subscribers`."""
        rows = await self._pool.fetch(self._subscribers, key_of(topic))
        return [row["session_id"] for row in rows]

    async def get_state(self, session_id: str, key: str) -> str | None:
        """See `SessionStore.get_state`."""
        return await self._pool.value(self._get_state, session_id, key_of(key))

    async def set_state(self, session_id: str, key: str, value: str | None) -> None:
        """See `SessionStore.set_state`."""
        if value is None:
            await self._pool.execute(self._remove_state, session_id, key_of(key))
        else:
            await self._pool.execute(self._set_state, session_id, key_of(key), value)

    async def swap_state(self, session_id: str, key: str, expected: str | None, value: str) -> str | None:
        """See `SessionStore.swap_state`."""
        if expected is None:
            rows = await self._pool.fetch(self._add_state, session_id, key_of(key), value)
        else:
            rows = await self._pool.fetch(self._swap_state, session_id, key_of(key), value, expected)
        return value if rows else await self.get_state(session_id, key)


def _record(text: str, log_level: str | None) -> SessionRecord:
    record = read_record(text)
    return record if record.log_level == log_level else replace(record, log_level=log_level)
