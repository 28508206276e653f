"""`PostgresStreamManager`: the logs of streams in PostgreSQL.

An append notifies only if someone listens to the log, since PostgreSQL commits transactions that notify one
after another. `listen` marks the log; the listener itself reads what was added before.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import islice
from typing import Any

import anyio

from .errors import StoreUnavailableError
from .memory_streams import not_in_log
from .postgres_connections import PostgresConnections
from .postgres_jobs import alongside, prune_forever, prune_interval
from .postgres_pool import OPERATION_SECONDS, key_of
from .records import StreamEvent
from .streams import ANSWERED_SECONDS, STANDALONE, Heard

logger: logging.Logger = logging.getLogger("jackfield")

_FETCHED_EVENTS = 64
"""Listeners who are behind by more read the log themselves."""

_FETCHED_LOGS = 128
"""Number of logs that are read concurrently."""

_AGAIN_SECONDS = 0.3

Key = tuple[str, str]
"""A session and the key of one of its streams."""


class PostgresStreamManager:
    """A `StreamManager` in PostgreSQL 13 or newer; see `PostgresBackend`.

    Args:
        connections: The DSN of the database, or connections that are shared with a `PostgresSessionStore`.
        schema: The schema with the tables; for a DSN.
        pool_size: Maximum number of connections for operations; for a DSN.
        operation_timeout: Seconds after which an unanswered operation fails; for a DSN.
        prune_seconds: How often expired data is removed; a quarter of the logs' life if omitted, but at least every
            30 seconds.

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
        self._pool = connections.pool
        self._prune_seconds = prune_seconds
        self._ttl = 0.0
        self._log_events = self._log_bytes = 0
        self._heard: dict[Key, dict[object, Heard]] = {}
        self._tips: dict[Key, int] = {}
        """Of the logs that are listened to, the newest event when that began. Nothing is fetched before it is known."""
        self._added: dict[Key, tuple[int, int]] = {}
        """The events that notifications named, and that are to be fetched."""
        self._must_fetch = anyio.Event()
        self._must_mark = anyio.Event()
        sql = self._pool.sql
        self._append = sql("select {s}.append($1, $2, $3, $4, $5, $6, $7, $8, $9)")
        self._read = sql(
            "select first_number, last_number, number, message, is_final from {s}.logs left join lateral ("
            "select number, message, is_final from {s}.events e where e.session_id = logs.session_id "
            "and e.stream = logs.stream and number > $3 order by number limit $4) kept on true "
            "where session_id = $1 and stream = $2 and expires_at > clock_timestamp()"
        )
        self._fetch = sql(
            "select session_id, stream, number, message, is_final from {s}.events "
            "join unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) "
            "wanted (session_id, stream, first_number, last_number) using (session_id, stream) "
            "where number between wanted.first_number and wanted.last_number order by session_id, stream, number"
        )
        self._tip = sql(
            "select last_number from {s}.logs where session_id = $1 and stream = $2 and expires_at > clock_timestamp()"
        )
        self._listen = sql("select session, log, tip, was_marked from {s}.listen_to($1, $2, $3)")
        self._attach = sql("select {s}.attach($1, $2, $3, $4)")
        self._reader = sql("select reader from {s}.readers where session_id = $1 and expires_at > clock_timestamp()")
        self._detach = sql("delete from {s}.readers where session_id = $1 and reader = $2")
        self._touch = sql("select {s}.touch_streams($1, $2, $3, $4, $5)")
        self._delete = sql("select {s}.delete_streams($1, $2)")
        self._prune = sql("select {s}.prune_streams($1)")

    @asynccontextmanager
    async def open(self, *, ttl: float, log_events: int, log_bytes: int) -> AsyncGenerator[None]:
        """See `StreamManager.open`."""
        self._ttl, self._log_events, self._log_bytes = ttl, log_events, log_bytes
        interval = prune_interval(self._prune_seconds, ttl)
        listener = self._connections.listener
        async with self._connections.opened():
            listener.on_notified[self] = self._notified
            listener.on_back[self] = self._missed
            try:
                async with alongside(
                    partial(prune_forever, self._pool, interval, self._prune),
                    partial(self._mark_forever, interval),
                    self._fetch_forever,
                ):
                    yield
            finally:
                del listener.on_notified[self], listener.on_back[self]

    # Logs

    async def append(
        self, session_id: str, stream: str, messages: Sequence[str], *, is_final: bool = False, at: int | None = None
    ) -> int | None:
        """See `StreamManager.append`."""
        return await self._pool.value(
            self._append,
            session_id,
            key_of(stream),
            list(messages),
            is_final,
            at,
            self._ttl,
            ANSWERED_SECONDS,
            self._log_events,
            self._log_bytes,
        )

    async def read(self, session_id: str, stream: str, after: int, *, max_events: int = 256) -> Sequence[StreamEvent]:
        """See `StreamManager.read`."""
        rows = await self._pool.fetch(self._read, session_id, key_of(stream), after, max_events)
        first, last = (rows[0]["first_number"], rows[0]["last_number"]) if rows else (1, 0)
        if not first - 1 <= after <= last:
            raise not_in_log(after)
        return (
            ()
            if after == last
            else [
                StreamEvent(row["number"], row["message"], row["is_final"]) for row in rows if row["number"] is not None
            ]
        )

    async def tip(self, session_id: str, stream: str) -> int:
        """See `StreamManager.tip`."""
        return await self._pool.value(self._tip, session_id, key_of(stream)) or 0

    async def touch(self, streams: Sequence[tuple[str, str]]) -> None:
        """See `StreamManager.touch`."""
        if streams:
            sessions, keys = [session_id for session_id, _ in streams], [key_of(stream) for _, stream in streams]
            await self._pool.value(self._touch, sessions, keys, STANDALONE, self._ttl, ANSWERED_SECONDS)

    async def delete(self, session_id: str, streams: Sequence[str]) -> None:
        """See `StreamManager.delete`."""
        await self._pool.value(self._delete, session_id, [STANDALONE, *map(key_of, streams)])

    # Listening

    @asynccontextmanager
    async def listen(self, session_id: str, stream: str, heard: Heard) -> AsyncGenerator[None]:
        """See `StreamManager.listen`."""
        key = session_id, key_of(stream)
        token = object()
        self._heard.setdefault(key, {})[token] = heard
        try:
            [log] = await self._pool.fetch(self._listen, [key[0]], [key[1]], self._ttl)
            self._begin(key, log["tip"])
            yield
        finally:
            del self._heard[key][token]
            if not self._heard[key]:
                del self._heard[key]
                self._tips.pop(key, None)
                self._added.pop(key, None)

    def _begin(self, key: Key, tip: int) -> None:
        """Deliver the events after a given one, including those already announced."""
        if key not in self._tips:
            self._tips[key] = tip
            first, last = self._added.pop(key, (1, 0))
            if last > tip:
                self._added[key] = max(first, tip + 1), last
                self._must_fetch.set()

    def _hand_on(self, key: Key, events: Sequence[StreamEvent]) -> None:
        """Deliver events to the listeners of a log; without events, they read it themselves."""
        for heard in list(self._heard.get(key, {}).values()):
            heard(events)

    def _notified(self, payload: list[Any]) -> None:
        match payload:
            case [str() as session_id, str() as stream, int() as first, int() as last]:
                key = session_id, stream
                if key not in self._heard or 1 < first <= self._tips.get(key, 0):
                    return
                before = self._added.get(key, (first, last))
                self._added[key] = min(first, before[0]), max(last, before[1])
                self._must_fetch.set()
            case _:
                pass

    async def _fetch_forever(self) -> None:
        """Fetch events that notifications announced; those announced during one fetch come with the next one."""
        while True:
            await self._must_fetch.wait()
            ready = list(islice((key for key in self._added if key in self._tips), _FETCHED_LOGS))
            wanted = {key: self._added.pop(key) for key in ready}
            if not wanted:
                self._must_fetch = anyio.Event()
                continue
            few = [(*key, first, last) for key, (first, last) in wanted.items() if last - first < _FETCHED_EVENTS]
            events: dict[Key, list[StreamEvent]] = {key: [] for key in wanted}
            if few:
                try:
                    rows = await self._pool.fetch(self._fetch, *map(list, zip(*few, strict=True)))
                except StoreUnavailableError:
                    # Who reads the log asks again.
                    rows = []
                for row in rows:
                    event = StreamEvent(row["number"], row["message"], row["is_final"])
                    events[row["session_id"], row["stream"]].append(event)
            for key, found in events.items():
                self._hand_on(key, found)

    def _missed(self) -> None:
        self._must_mark.set()

    async def _mark_forever(self, interval: float) -> None:
        """Make sure that logs with listeners are marked, unless they have expired or were lost with the store."""
        while True:
            with anyio.move_on_after(interval):
                await self._must_mark.wait()
            has_missed = self._must_mark.is_set()
            self._must_mark = anyio.Event()
            while keys := list(self._heard):
                sessions, logs = [session_id for session_id, _ in keys], [stream for _, stream in keys]
                try:
                    rows = await self._pool.fetch(self._listen, sessions, logs, self._ttl)
                except StoreUnavailableError:
                    await anyio.sleep(_AGAIN_SECONDS)
                    continue
                for row in rows:
                    if has_missed or not row["was_marked"]:
                        key = row["session"], row["log"]
                        self._tips[key] = 0
                        self._hand_on(key, ())
                break

    # Readers

    async def attach(self, session_id: str, reader: str, *, over: str | None = None) -> str | None:
        """See `StreamManager.attach`."""
        return await self._pool.value(self._attach, session_id, reader, over, self._ttl)

    async def reader(self, session_id: str) -> str | None:
        """See `StreamManager.reader`."""
        return await self._pool.value(self._reader, session_id)

    async def detach(self, session_id: str, reader: str) -> None:
        """See `StreamManager.detach`."""
        await self._pool.execute(self._detach, session_id, reader)
