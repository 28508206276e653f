"""Creates Jackfield's schema in PostgreSQL, or brings it to the current version."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from ..errors import ConfigError
from .postgres_pool import PostgresPool
from .postgres_schema import SCHEMA_VERSION, check_server, current_version, quoted, refused, script

MIGRATE_SECONDS = 60.0


@dataclass(frozen=True)
class Migration:
    """What a migration changed.

    Args:
        before: The previous version of the schema; 0 if there was none.
        after: The current version.
    """

    before: int
    after: int


async def migrate(
    dsn: str, *, schema: str = "jackfield", role: str | None = None, rls: bool = False, is_dry: bool = False
) -> tuple[Migration, str]:
    """Bring the schema to the current version. Two at once are safe, and a second run changes nothing.

    Args:
        dsn: As for `PostgresBackend`; its role must own the schema, or be able to create it.
        schema: The schema for the tables.
        role: Grant a role the privileges that an instance needs. Only the schema's owner has them by default.
        rls: Enable row-level security by principal; see docs/serving.md.
        is_dry: Change nothing.

    Returns:
        The change, and its SQL.

    Raises:
        StoreUnavailableError: The server is unavailable.
        ConfigError: The role may not do that, or the schema is of a newer Jackfield.
    """
    pool = PostgresPool(dsn, schema=schema, operation_timeout=MIGRATE_SECONDS)
    driver = pool.driver
    try:
        with anyio.fail_after(MIGRATE_SECONDS):
            connection = await pool.connect()
            try:
                await check_server(connection, pool.place)
                async with connection.transaction():
                    await connection.fetchval(
                        "select pg_advisory_xact_lock(hashtextextended($1, 0))", f"jackfield.migrate.{schema}"
                    )
                    before = await current_version(connection, schema)
                    if before > SCHEMA_VERSION:
                        raise ConfigError(
                            f"Schema {schema!r} in PostgreSQL at {pool.place} has version {before} of Jackfield's "
                            f"tables; this Jackfield knows {SCHEMA_VERSION}.",
                            hint="Update Jackfield.",
                        )
                    is_new = await connection.fetchval("select to_regnamespace($1) is null", quoted(schema))
                    text = script(schema, before, role=role, rls=rls, is_new=is_new)
                    if not is_dry:
                        await connection.execute(text)
            finally:
                await connection.close()
    except driver.UndefinedObjectError as error:
        raise ConfigError(f"PostgreSQL at {pool.place}: {error}.", hint="Create the role first.") from None
    except (driver.PostgresError, driver.InternalClientError, driver.InterfaceError, OSError) as error:
        raise refused(pool, error) from error
    return Migration(before, SCHEMA_VERSION), text
