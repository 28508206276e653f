"""What is in a store, and who is connected to it."""

from __future__ import annotations

from redis.asyncio import Redis


async def keys(url: str) -> int:
    """How many keys, or rows, there are of sessions."""
    if url.startswith("redis"):
        async with Redis.from_url(url) as redis:
            return len([key async for key in redis.scan_iter(count=1000) if not _is_of_instances(key)])
    if url.startswith("postgres"):
        return await _rows(url)
    return 0


def _is_of_instances(key: bytes) -> bool:
    """Whether it lives as long as an instance does."""
    return b"{" not in key


async def connections(url: str) -> int:
    """How many there are, but for the one that asks."""
    if url.startswith("redis"):
        async with Redis.from_url(url) as redis:
            return len(await redis.client_list()) - 1
    if url.startswith("postgres"):
        import asyncpg

        connection = await asyncpg.connect(url)
        try:
            text = "select count(*) from pg_stat_activity where backend_type = 'client backend'"
            return int(await connection.fetchval(text)) - 1
        finally:
            await connection.close()
    return 0


async def _rows(url: str) -> int:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch(
            "select format('%I.%I', schemaname, tablename) as name from pg_tables"
            " where schemaname not in ('pg_catalog', 'information_schema') and tablename not like '%instance%'"
            " and tablename not in ('schema_versions', 'channel')"
        )
        return sum([int(await connection.fetchval(f"select count(*) from {table['name']}")) for table in tables])
    finally:
        await connection.close()
