"""`PostgresShared`: what instances count and keep together in PostgreSQL, apart from sessions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import astuple

from .backplane import DEAD_AFTER_SECONDS
from .postgres_pool import PostgresPool, key_of
from .records import Principal


class PostgresShared:
    """What instances have in common, apart from sessions; see `CountsCalls`, `SharesBounds` and `KeepsValues`.

    Args:
        pool: Runs the operations.
    """

    def __init__(self, pool: PostgresPool) -> None:
        self._pool = pool
        sql = pool.sql
        self._begin_call = sql("select {s}.begin_call($1, $2)")
        self._take_share = sql("select {s}.take_share($1, $2, $3, $4, $5, $6)")
        self._get_value = sql(
            "select value from {s}.kept_values where for_what = $1 and key = $2 and expires_at > clock_timestamp()"
        )
        self._swap_value = sql("select {s}.swap_value($1, $2, $3, $4, $5)")
        self._values = sql(
            "select key, value from {s}.kept_values where for_what = $1 and expires_at > clock_timestamp() "
            "order by expires_at limit $2"
        )

    async def begin_call(self, principal: Principal | None, maximum: int) -> float | None:
        """See `CountsCalls.begin_call`."""
        return await self._pool.value(self._begin_call, owner_of(principal) or "", maximum)

    async def take_share(self, name: str, instance: str, in_use: int, wanted: int, maximum: int) -> int:
        """See `SharesBounds.take_share`."""
        given = (key_of(name), instance, in_use, wanted, maximum, DEAD_AFTER_SECONDS)
        return await self._pool.value(self._take_share, *given)

    async def get_value(self, group: str, key: str) -> str | None:
        """See `KeepsValues.get_value`."""
        return await self._pool.value(self._get_value, group, key_of(key))

    async def swap_value(self, group: str, key: str, expected: str | None, value: str | None, seconds: float) -> bool:
        """See `KeepsValues.swap_value`."""
        return await self._pool.value(self._swap_value, group, key_of(key), expected, value, seconds)

    async def values(self, group: str, most: int) -> Sequence[tuple[str, str]]:
        """See `KeepsValues.values`."""
        return [(row["key"], row["value"]) for row in await self._pool.fetch(self._values, group, most)]


def owner_of(principal: Principal | None) -> str | None:
    """A principal as the column `principal` has it."""
    return None if principal is None else key_of(json.dumps(astuple(principal), separators=(",", ":")))
