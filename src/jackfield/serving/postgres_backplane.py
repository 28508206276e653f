"""Instances that share a PostgreSQL. A notification names a message, which is in a table for some seconds."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import anyio

from .backplane import BEAT_SECONDS, DEAD_AFTER_SECONDS, TRUSTED_AFTER_SECONDS, Told
from .errors import StoreUnavailableError
from .postgres_jobs import alongside
from .postgres_listener import PostgresListener
from .postgres_pool import PostgresPool

logger: logging.Logger = logging.getLogger("jackfield")

MESSAGE_SECONDS = 10.0
"""How long a message to all instances is kept; one to a single instance until that takes it."""

_SILENT_SECONDS = 2 * BEAT_SECONDS
"""Without a beat for so long, an instance is suspected."""

_SEEN_AGAIN_SECONDS = 1.0
"""It is dead for certain so long after it was first seen silent, if it is late by then."""


class PostgresBackplane:
    """A `Backplane` over PostgreSQL.

    Args:
        pool: Runs the operations.
        listener: Hears of messages, and beats.
    """

    def __init__(self, pool: PostgresPool, listener: PostgresListener) -> None:
        self._pool = pool
        self._listener = listener
        self._told: dict[str, Told] = {}
        self._ids: list[int] = []
        self._must_take = anyio.Event()
        self._suspected: dict[str, float] = {}
        sql = pool.sql
        self._beat = sql("select {s}.beat($1)")
        # One that leaves calls behind is dead, so that others answer for it.
        self._leave = sql(
            "with dead as (update {s}.instances set beat_at = to_timestamp(0) where instance = $1 "
            "and exists (select from {s}.calls where instance = $1) returning instance) "
            "delete from {s}.instances where instance = $1 and not exists (select from dead)"
        )
        self._tell = sql("select {s}.tell($1, $2, $3)")
        self._take = sql("select to_instance, text from {s}.take_messages($1, $2)")
        self._is_alive = sql(
            "select exists (select from {s}.instances where instance = $1 and beat_at > {s}.in_seconds(-$2::float8))"
        )
        self._silent = sql(
            "select instance, beat_at <= {s}.in_seconds(-$2::float8) as is_late "
            "from {s}.instances where beat_at <= {s}.in_seconds(-$1::float8)"
        )
        self._bury = sql("delete from {s}.instances where instance = $1 and beat_at <= {s}.in_seconds(-$2::float8)")

    @asynccontextmanager
    async def join(self, instance: str, told: Told, reconnected: Callable[[], None]) -> AsyncGenerator[None]:
        """See `Backplane.join`."""
        await self._pool.value(self._beat, [instance])
        token = object()
        self._told[instance] = told
        self._listener.instances.add(instance)
        self._listener.on_notified[token] = self._notified

        def back() -> None:
            self._must_take.set()
            reconnected()

        self._listener.on_back[token] = back
        try:
            async with alongside(self._take_forever):
                yield
        finally:
            del self._listener.on_notified[token], self._listener.on_back[token], self._told[instance]
            self._listener.instances.discard(instance)
            with anyio.CancelScope(shield=True), suppress(StoreUnavailableError):
                await self._pool.execute(self._leave, instance)

    def _notified(self, payload: list[Any]) -> None:
        match payload:
            case [int() as number, None | str() as instance] if instance is None or instance in self._told:
                self._ids.append(number)
                self._must_take.set()
            case _:
                pass

    async def _take_forever(self) -> None:
        """Fetch messages that were named by notifications, and hand them on."""
        while True:
            await self._must_take.wait()
            self._must_take = anyio.Event()
            ids, self._ids = self._ids, []
            try:
                rows = await self._pool.fetch(self._take, ids, list(self._told))
            except StoreUnavailableError as error:
                logger.warning("[MCP] Messages of other instances are lost: %s", error.message)
                continue
            for row in rows:
                instance: str | None = row["to_instance"]
                for told in [told for name, told in list(self._told.items()) if instance is None or instance == name]:
                    told(row["text"])

    async def tell(self, instance: str, message: str) -> bool:
        """See `Backplane.tell`."""
        return await self._pool.value(self._tell, instance, message, DEAD_AFTER_SECONDS)

    async def tell_all(self, message: str) -> None:
        """See `Backplane.tell_all`."""
        await self._pool.value(self._tell, None, message, DEAD_AFTER_SECONDS)

    async def is_alive(self, instance: str) -> bool:
        """See `Backplane.is_alive`."""
        return await self._pool.value(self._is_alive, instance, DEAD_AFTER_SECONDS)

    async def dead(self) -> Sequence[str]:
        """See `Backplane.dead`."""
        rows = await self._pool.fetch(self._silent, _SILENT_SECONDS, DEAD_AFTER_SECONDS)
        now, since = time.monotonic(), self._listener.heard_since
        if since is None or now - since < TRUSTED_AFTER_SECONDS:
            self._suspected.clear()
            return ()
        self._suspected = {row["instance"]: self._suspected.get(row["instance"], now) for row in rows}
        late = [row["instance"] for row in rows if row["is_late"]]
        return [instance for instance in late if now - self._suspected[instance] >= _SEEN_AGAIN_SECONDS]

    async def bury(self, instance: str) -> None:
        """See `Backplane.bury`."""
        await self._pool.execute(self._bury, instance, DEAD_AFTER_SECONDS)
