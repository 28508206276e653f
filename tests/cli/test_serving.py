"""`jackfield serving migrate` on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import asyncpg
import pytest
from examples.stateful_servers import postgres
from tests.cli.conftest import Command
from tests.conftest import needs
from tests.postgres import running_postgres

from jackfield.serving.postgres_schema import SCHEMA_VERSION


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of an empty PostgreSQL."""
    needs(postgres.missing())
    with running_postgres() as running:
        yield running.url


def run_sql(url: str, sql: str) -> list[asyncpg.Record]:
    async def run() -> list[asyncpg.Record]:
        connection = await asyncpg.connect(url)
        try:
            if ";" in sql:
                await connection.execute(sql)
                return []
            return await connection.fetch(sql)
        finally:
            await connection.close()

    return anyio.run(run)


def test_the_tables_are_made_once(jackfield: Command, url: str) -> None:
    done = jackfield("serving", "migrate", "--postgres", url)
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"Schema jackfield was created, version {SCHEMA_VERSION}.\n"
    done = jackfield("serving", "migrate", "--postgres", url, "--json")
    assert done.json == {"schema": "jackfield", "before": SCHEMA_VERSION, "after": SCHEMA_VERSION}
    assert run_sql(url, "select count(*) from jackfield.sessions")[0]["count"] == 0


def test_a_person_of_the_database_can_run_the_sql(jackfield: Command, url: str) -> None:
    run_sql(url, "create role app; select 1")
    options = ["--schema", "printed", "--role", "app", "--rls", "--print"]
    done = jackfield("serving", "migrate", *options)
    assert done.exit_code == 0
    assert done.stdout.startswith("begin;")
    assert jackfield("serving", "migrate", "--postgres", url, *options).stdout == done.stdout
    assert run_sql(url, "select 1 from pg_namespace where nspname = 'printed'") == []
    run_sql(url, done.stdout)
    done = jackfield("serving", "migrate", "--postgres", url, "--schema", "printed")
    assert done.stderr == f"Schema printed already has version {SCHEMA_VERSION}.\n"
    may = "select has_table_privilege('app', 'printed.sessions', 'insert') as may"
    assert run_sql(url, may)[0]["may"]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "told"),
    [
        ([], 2, "Which database?"),
        (["--postgres", "mysql://host/x"], 2, "The DSN of PostgreSQL does not begin with postgresql://."),
        (["--schema", "a;b", "--print"], 2, "'a;b' cannot be the schema's name."),
        (["--postgres", "postgresql://ann:sup3rsecret@127.0.0.1:1/x"], 4, "PostgreSQL at 127.0.0.1:1/x is not avail"),
    ],
)
def test_what_cannot_be(jackfield: Command, arguments: list[str], exit_code: int, told: str) -> None:
    done = jackfield("serving", "migrate", *arguments)
    assert done.exit_code == exit_code
    assert told in done.stderr
    assert "sup3rsecret" not in done.stderr
    assert done.stdout == ""


def test_a_role_that_may_not(jackfield: Command, url: str) -> None:
    run_sql(url, "create role poor login; select 1")
    done = jackfield("serving", "migrate", "--postgres", url.replace("postgres@", "poor@"), "--schema", "another")
    assert done.exit_code == 3
    assert "permission denied" in done.stderr


def test_completion_knows_it(jackfield: Command) -> None:
    assert "migrate" in jackfield("__complete", "bash", "jackfield serving ").stdout
    assert "--postgres" in jackfield("__complete", "bash", "jackfield serving migrate --p").stdout
