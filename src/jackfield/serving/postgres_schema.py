"""The schema in PostgreSQL: the SQL that makes it, and the check that it fits this Jackfield."""

from __future__ import annotations

from typing import Any

from ..errors import ConfigError
from .errors import StoreUnavailableError
from .postgres_pool import Connection, PostgresPool
from .postgres_versions import (
    LOOKED_UP,
    OF_SESSIONS,
    ROW_LEVEL_SECURITY,
    ROW_LEVEL_SECURITY_OF_SESSION,
    TABLES,
    VERSIONS,
)

SCHEMA_VERSION = len(VERSIONS)

_OLDEST_SERVER = 13
"""The first that has `gen_random_uuid` without an extension."""

_START = """
create table if not exists {s}.schema_versions (
    version int primary key,
    applied_at timestamptz not null default now()
);
"""

_POLICIES = """
select 1 from pg_policies
where schemaname = $1 and tablename = 'sessions' and policyname = 'serving'
    and exists (select from unnest(roles) role where role = 'public' or pg_has_role(role, 'member'))
"""


def quoted(name: str) -> str:
    """A name as SQL writes it."""
    return '"' + name.replace('"', '""') + '"'


def script(schema: str, version: int = 0, *, role: str | None = None, rls: bool = False, is_new: bool = True) -> str:
    """The SQL that brings a schema to the current version.

    Args:
        schema: Its name.
        version: Its version; 0 if there is none.
        role: Grant a role the privileges that an instance needs.
        rls: Enable row-level security.
        is_new: Create the schema as well.
    """
    parts = [f"create schema if not exists {quoted(schema)};\n"] if is_new else []
    parts.append(_START)
    for number, text in enumerate(VERSIONS[version:], version + 1):
        parts += [text, f"insert into {{s}}.schema_versions (version) values ({number});\n"]  # noqa: S608
    if rls:
        parts.append(_row_level_security(role))
    if role is not None:
        parts.append(_rights(role))
    return "".join(parts).replace("{s}", quoted(schema)).strip() + "\n"


def _rights(role: str) -> str:
    to, tables, looked_up = (
        quoted(role),
        ", ".join(f"{{s}}.{table}" for table in TABLES),
        ", ".join(f"{{s}}.{table}" for table in LOOKED_UP),
    )
    return (
        f"\ngrant usage on schema {{s}} to {to};\n"
        f"grant select, insert, update, delete on {tables} to {to};\n"
        f"grant select on {looked_up} to {to};\n"
    )


def _row_level_security(role: str | None) -> str:
    parts = [ROW_LEVEL_SECURITY, *(ROW_LEVEL_SECURITY_OF_SESSION.replace("{table}", table) for table in OF_SESSIONS)]
    for table in TABLES:
        parts.append(f"alter table {{s}}.{table} enable row level security;\n")
        if role is not None:
            parts.append(
                f"drop policy if exists serving on {{s}}.{table};\n"
                f"create policy serving on {{s}}.{table} to {quoted(role)} using (true) with check (true);\n"
            )
    return "".join(parts)


async def current_version(connection: Connection, schema: str) -> int:
    """The version of a schema; 0 if there is none."""
    there = await connection.fetchval("select to_regclass($1)::text", f"{quoted(schema)}.schema_versions")
    if there is None:
        return 0
    return await connection.fetchval(f"select coalesce(max(version), 0) from {quoted(schema)}.schema_versions")  # noqa: S608


async def check_server(connection: Connection, place: str) -> None:
    """Check that the server is new enough.

    Raises:
        ConfigError: It is not.
    """
    major = connection.get_server_version()[0]
    if major < _OLDEST_SERVER:
        raise ConfigError(f"PostgreSQL at {place} has version {major}; Jackfield needs {_OLDEST_SERVER} or newer.")


async def check_schema(pool: PostgresPool, connection: Connection) -> str:
    """Check that the tables are there, of this version, and open to this role.

    Returns:
        The channel that instances listen on.

    Raises:
        ConfigError: They are not; the text says which command helps.
    """
    driver: Any = pool.driver
    await check_server(connection, pool.place)
    command = f"jackfield serving migrate --postgres DSN --schema {pool.schema}"
    who = f"Schema {pool.schema!r} in PostgreSQL at {pool.place}"
    try:
        version = await current_version(connection, pool.schema)
        if version < SCHEMA_VERSION:
            has = f"has version {version} of Jackfield's tables" if version else "has no tables of Jackfield"
            raise ConfigError(f"{who} {has}; this Jackfield needs version {SCHEMA_VERSION}.", hint=f"Run: {command}")
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{who} has version {version} of Jackfield's tables; this Jackfield knows {SCHEMA_VERSION}.",
                hint="Update Jackfield on this instance.",
            )
        tables = [f"{quoted(pool.schema)}.{table}" for table in TABLES]
        rights = "select bool_and(has_table_privilege(t, 'select') and has_table_privilege(t, 'insert') and "
        rights += "has_table_privilege(t, 'update') and has_table_privilege(t, 'delete')) from unnest($1::text[]) t"
        may = await connection.fetchval(rights, tables)
        is_restricted = await connection.fetchval("select row_security_active($1::text)", tables[0])
        if may and is_restricted:
            may = await connection.fetchval(_POLICIES, pool.schema)
        channel = await connection.fetchval(f"select name from {quoted(pool.schema)}.channel") if may else None  # noqa: S608
    except driver.InsufficientPrivilegeError:
        channel = None
    if not channel:
        raise ConfigError(
            f"{who}: Jackfield's database role lacks rights on the tables.",
            hint=f"As their owner, run: {command} --role ROLE",
        )
    return channel


def refused(pool: PostgresPool, error: BaseException) -> ConfigError | StoreUnavailableError:
    """What opening raises for what went wrong: what no waiting helps against is a matter of configuration."""
    driver = pool.driver
    lasting = (
        driver.InvalidAuthorizationSpecificationError,
        driver.InvalidCatalogNameError,
        driver.InsufficientPrivilegeError,
    )
    if isinstance(error, lasting):
        return ConfigError(f"PostgreSQL at {pool.place} refused: {error}.", hint="Check user, password and database.")
    return pool.unavailable(error)
