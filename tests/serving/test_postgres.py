"""What is PostgreSQL's own: the schema, its rights, bounds, and what stands in the tables."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import anyio
import asyncpg
import pytest
from examples.stateful_servers.postgres import RunningPostgres
from tests.serving.contract.conftest import LIMITS, TTL, call, record, until

from jackfield import ConfigError
from jackfield.serving import (
    PostgresBackend,
    PostgresSessionStore,
    PostgresStreamManager,
    Principal,
    RequestRunsError,
    ServingLimitError,
    ServingLimits,
    StoredDataError,
    StoreUnavailableError,
    StreamEvent,
)
from jackfield.serving.postgres_migration import migrate
from jackfield.serving.postgres_pool import OPERATION_SECONDS
from jackfield.serving.postgres_schema import SCHEMA_VERSION, script
from jackfield.serving.postgres_versions import TABLES

ANN, BOB = Principal("https://issuer", "ann", "client"), Principal("https://issuer", "bob", "client")


class Database:
    """A schema and a role of this test only."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.schema = f"test_{uuid4().hex[:12]}"
        self.role = f"role_{self.schema}"

    async def run(self, sql: str, *arguments: object, url: str = "") -> list[Any]:
        connection = await asyncpg.connect(url or self.url)
        try:
            if not arguments and ";" in sql:
                return [await connection.execute(sql)]
            return await connection.fetch(sql.replace("{s}", self.schema), *arguments)
        finally:
            await connection.close()

    def url_of(self, role: str) -> str:
        parts = urlsplit(self.url)
        return urlunsplit(parts._replace(netloc=f"{role}@"))

    async def migrate(self, **more: Any) -> None:
        await migrate(self.url, schema=self.schema, **more)

    def backend(self, url: str = "", **more: Any) -> PostgresBackend:
        return PostgresBackend(url or self.url, schema=self.schema, **more)

    async def rows(self) -> dict[str, int]:
        return {
            table: count
            for table in TABLES
            if (count := (await self.run(f"select count(*) from {{s}}.{table}"))[0]["count"])
        }


@pytest.fixture
def database(postgres_server: RunningPostgres) -> Iterator[Database]:
    one = Database(postgres_server.url)
    yield one

    async def clean() -> None:
        await one.run(f"drop schema if exists {one.schema} cascade; select 1")
        for role in (one.role, f"{one.role}_reader"):
            found = await one.run("select 1 from pg_roles where rolname = $1", role)
            if found:
                await one.run(f"drop owned by {role}; drop role {role};")

    anyio.run(clean)


@asynccontextmanager
async def opened(backend: PostgresBackend, *, ttl: float = 60.0) -> AsyncGenerator[PostgresBackend]:
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(backend.sessions.open(ttl=ttl))
        await stack.enter_async_context(backend.streams.open(ttl=ttl, log_events=1000, log_bytes=10**7))
        yield backend


# What is said when it cannot be used


def test_without_its_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    with pytest.raises(ConfigError, match="PostgresBackend needs the package 'asyncpg'") as caught:
        PostgresBackend("postgresql://localhost/x")
    assert caught.value.hint == "Install it with: pip install 'jackfield[postgres]'"


@pytest.mark.parametrize(
    "dsn",
    [
        *("", "host=localhost", "mysql://u:sup3rsecret@h/x", "postgresql://[u:sup3rsecret@h"),
        *("postgresql://u:sup3rsecret/x@h/b", "postgresql://u:sup3rsecret#x@h/b", "postgresql://u:sup3rsecret?x@h/b"),
    ],
)
def test_a_dsn_of_another_kind(dsn: str) -> None:
    with pytest.raises(ConfigError, match="DSN") as caught:
        PostgresBackend(dsn)
    assert "sup3rsecret" not in repr(caught.value) + str(caught.value)


@pytest.mark.parametrize("schema", ["", "a-b", 'a"b', "a" * 49, "1a", "ä"])
def test_a_name_that_no_schema_has(schema: str) -> None:
    with pytest.raises(ConfigError, match="schema"):
        PostgresBackend("postgresql://localhost/x", schema=schema)
    with pytest.raises(ConfigError, match="pool_size"):
        PostgresBackend("postgresql://localhost/x", pool_size=0)


async def test_nothing_listens_there() -> None:
    backend = PostgresBackend("postgresql://ann:sup3rsecret@127.0.0.1:1/base")
    with pytest.raises(StoreUnavailableError, match=r"PostgreSQL at 127\.0\.0\.1:1/base is not available") as caught:
        await backend.sessions.open(ttl=60).__aenter__()
    assert "sup3rsecret" not in str(caught.value)


async def test_who_may_not_enter(database: Database) -> None:
    with pytest.raises(ConfigError, match=r"refused: role .* does not exist"):
        await PostgresBackend(database.url_of("nobody_at_all")).sessions.open(ttl=60).__aenter__()


async def test_without_tables_the_command_is_named(database: Database) -> None:
    command = f"jackfield serving migrate --postgres DSN --schema {database.schema}"
    for opens in (database.backend().sessions.open(ttl=60), PostgresSessionStore(database.url).open(ttl=60)):
        with pytest.raises(ConfigError, match="has no tables of Jackfield") as caught:
            await opens.__aenter__()
        assert "jackfield serving migrate --postgres DSN" in str(caught.value.hint)
    await database.migrate()
    await database.run("update {s}.schema_versions set version = 99")
    with pytest.raises(ConfigError, match=rf"version 99 .* knows {SCHEMA_VERSION}"):
        await database.backend().sessions.open(ttl=60).__aenter__()
    with pytest.raises(ConfigError, match="version 99"):
        await database.migrate()
    await database.run("delete from {s}.schema_versions")
    with pytest.raises(ConfigError) as caught:
        await database.backend().streams.open(ttl=60, log_events=1, log_bytes=1).__aenter__()
    assert command in str(caught.value.hint)


# The schema


async def test_two_migrations_at_once_make_one_schema(database: Database) -> None:
    found: list[tuple[int, int]] = []

    async def run() -> None:
        done, _ = await migrate(database.url, schema=database.schema)
        found.append((done.before, done.after))

    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(run)
    assert sorted(found) == [(0, SCHEMA_VERSION)] + [(SCHEMA_VERSION, SCHEMA_VERSION)] * 4
    async with opened(database.backend()) as backend:
        await backend.sessions.create(record(), LIMITS)
    await database.migrate()
    async with opened(database.backend()) as backend:
        assert await backend.sessions.live() == ["s1"]


async def test_a_dry_run_changes_nothing_and_its_sql_does_it(database: Database) -> None:
    done, sql = await migrate(database.url, schema=database.schema, is_dry=True)
    assert (done.before, done.after) == (0, SCHEMA_VERSION)
    assert await database.run("select 1 from pg_namespace where nspname = $1", database.schema) == []
    assert sql == script(database.schema)
    await database.run(sql)
    async with opened(database.backend()) as backend:
        await backend.sessions.create(record(), LIMITS)


async def test_a_role_with_rights_on_the_tables_suffices(database: Database) -> None:
    await database.migrate()
    await database.run(f"create role {database.role} login; select 1")
    mine = database.url_of(database.role)
    with pytest.raises(ConfigError, match="lacks rights on the tables") as caught:
        await database.backend(mine).sessions.open(ttl=60).__aenter__()
    assert "--role ROLE" in str(caught.value.hint)
    with pytest.raises(ConfigError, match="refused"):
        await migrate(mine, schema=database.schema, role=database.role)
    await database.migrate(role=database.role)
    async with opened(database.backend(mine, prune_seconds=0.1), ttl=TTL) as backend:
        await use_all(backend)

        async def is_empty() -> bool:
            return not (await database.rows()).keys() - {"messages"}

        await until(is_empty)


async def test_a_role_that_is_not_there(database: Database) -> None:
    with pytest.raises(ConfigError, match='role "no_such_role" does not exist'):
        await database.migrate(role="no_such_role")
    assert await database.run("select 1 from pg_namespace where nspname = $1", database.schema) == []


async def use_all(backend: PostgresBackend) -> None:
    """Each operation once."""
    sessions, streams, backplane = backend.sessions, backend.streams, backend.sessions.backplane
    told: list[str] = []
    async with backplane.join("me", told.append, lambda: None):
        await sessions.create(record(principal=ANN), LIMITS)
        assert await sessions.claim("s1", ANN, call(instance="me"), LIMITS) is not None
        await sessions.subscribe("s1", ["tools"], LIMITS)
        await sessions.unsubscribe("s1", ["tools"])
        await sessions.set_state("s1", "key", "1")
        assert await sessions.touch(["s1"]) == []
        await sessions.set_log_level("s1", "error")
        assert await sessions.count() == 1
        heard: list[StreamEvent] = []
        async with streams.listen("s1", "get", heard.extend):
            await streams.append("s1", "get", ["1"])
            await backplane.tell("me", "hello")
            await backplane.tell_all("all")

            async def is_heard() -> bool:
                return bool(heard) and told == ["hello", "all"]

            await until(is_heard)
        await streams.attach("s1", "me:1")
        await streams.touch([("s1", "get")])
        assert await backplane.dead() in ([], ())
        await backplane.bury("me")
        assert await sessions.delete("s1") == [call(instance="me")]
        await streams.delete("s1", [])
        await sessions.create(record("s2"), LIMITS)
        await sessions.claim("s2", None, call(), LIMITS)
        await sessions.set_state("s2", "key", "1")
        await sessions.subscribe("s2", ["tools"], LIMITS)
        await streams.append("s2", "get", ["1", "2"])
        await streams.append("s2", "log", ["1"], is_final=True)
        await streams.attach("s2", "me:1")


# Row-level security


async def test_other_roles_see_the_rows_of_one_principal_only(database: Database) -> None:
    reader = f"{database.role}_reader"
    await database.run(f"create role {database.role} login; create role {reader} login;")
    await database.migrate(role=database.role, rls=True)
    # Once more changes nothing.
    await database.migrate(role=database.role, rls=True)
    grants = f"grant usage on schema {database.schema} to {reader};"
    await database.run(f"{grants} grant select on all tables in schema {database.schema} to {reader};")
    mine, theirs = database.url_of(database.role), database.url_of(reader)
    async with opened(database.backend(mine)) as backend:
        for session_id, principal in (("s1", ANN), ("s2", BOB), ("s3", None)):
            await backend.sessions.create(record(session_id, principal), LIMITS)
            await backend.sessions.claim(session_id, principal, call(), LIMITS)
            await backend.sessions.set_state(session_id, "key", "1")
            await backend.sessions.subscribe(session_id, ["tools"], LIMITS)
            await backend.streams.append(session_id, "get", ["1"])
            await backend.streams.attach(session_id, "me:1")
        assert sorted(await backend.sessions.live()) == ["s1", "s2", "s3"]
        tables = ["sessions", "calls", "topics", "state", "logs", "events", "readers"]

        async def seen(principal: Principal | None) -> set[str]:
            connection = await asyncpg.connect(theirs)
            try:
                if principal is not None:
                    text = json.dumps([principal.issuer, principal.subject, principal.client], separators=(",", ":"))
                    await connection.execute("select set_config('jackfield.principal', $1, false)", text)
                found = [
                    frozenset(
                        row["session_id"]
                        for row in await connection.fetch(f"select session_id from {database.schema}.{table}")
                    )
                    for table in tables
                ]
                assert await connection.fetch(f"select 1 from {database.schema}.messages") == []
                assert await connection.fetch(f"select 1 from {database.schema}.instances") == []
                assert len(set(found)) == 1, "each table shows the same sessions"
                return set(found[0])
            finally:
                await connection.close()

        async with backend.sessions.backplane.join("me", print, lambda: None):
            await backend.sessions.backplane.tell_all("secret")
            assert await seen(None) == set()
            assert await seen(ANN) == {"s1"}
            assert await seen(BOB) == {"s2"}
            # A role that is named there cannot choose.
            principal = (await database.run("select principal from {s}.sessions where session_id = 's2'"))[0][0]
            await database.run("insert into {s}.reader_roles values ($1, $2)", reader, principal)
            assert await seen(None) == await seen(ANN) == {"s2"}
    # Without a policy of its own, an instance would see nothing, and says so.
    await database.run(f"grant insert, update, delete on all tables in schema {database.schema} to {reader}; select 1")
    with pytest.raises(ConfigError, match="lacks rights on the tables"):
        await database.backend(theirs).sessions.open(ttl=60).__aenter__()


# Bounds


async def test_every_operation_ends_in_time_also_where_rows_are_locked(
    database: Database, own_clock: Callable[[], float]
) -> None:
    await database.migrate()
    async with opened(database.backend()) as backend:
        await backend.sessions.create(record(), LIMITS)
        connection = await asyncpg.connect(database.url)
        transaction = connection.transaction()
        await transaction.start()
        await connection.execute(f"select 1 from {database.schema}.sessions for update")
        begun = own_clock()
        with pytest.raises(StoreUnavailableError, match="is not available"):
            await backend.sessions.claim("s1", None, call(), LIMITS)
        assert own_clock() - begun < OPERATION_SECONDS + 0.5
        # Nothing waits on in the server, so that nothing happens late.
        waiting = "select 1 from pg_stat_activity where application_name = 'jackfield' and wait_event_type = 'Lock'"

        async def is_over() -> bool:
            return not await database.run(waiting)

        await until(is_over)
        await transaction.rollback()
        await connection.close()
        assert await backend.sessions.running("s1", "1") is None


async def test_more_at_once_than_connections_wait(database: Database) -> None:
    await database.migrate()
    async with opened(database.backend(pool_size=2)) as backend:
        await backend.sessions.create(record(), LIMITS)
        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(backend.streams.append, "s1", f"log{number % 20}", ["1"])
        connected = await database.run(
            "select count(*) from pg_stat_activity where application_name = 'jackfield' and query like $1",
            f"%{database.schema}%",
        )
        assert connected[0]["count"] <= 3


async def test_what_loses_against_another_transaction_is_tried_again(database: Database) -> None:
    await database.migrate()
    url = database.url + "&default_transaction_isolation=serializable"
    async with opened(database.backend(url)) as one, opened(database.backend(url)) as other:
        numbers: list[int | None] = []

        async def add(number: int) -> None:
            numbers.append(await (one, other)[number % 2].streams.append("s1", "log", ["1"]))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(add, number)
        assert sorted(number or 0 for number in numbers) == list(range(1, 21))


async def test_claims_that_are_sent_together_are_judged_one_by_one(database: Database) -> None:
    await database.migrate()
    outcomes: dict[tuple[str, str], list[object]] = {}
    limits = ServingLimits(requests_per_session=3)

    async def claim(backend: PostgresBackend, session_id: str, request_id: str, instance: str) -> None:
        outcome: object
        try:
            outcome = await backend.sessions.claim(session_id, None, call(request_id, instance), limits)
        except (RequestRunsError, ServingLimitError) as error:
            outcome = type(error)
        outcomes.setdefault((session_id, request_id), []).append(outcome)

    async with opened(database.backend()) as one, opened(database.backend()) as other:
        known = [record(f"s{number}") for number in range(20)]
        for session in known:
            await one.sessions.create(session, LIMITS)
        async with anyio.create_task_group() as tasks:
            for session_id in [*(session.session_id for session in known), "unknown"]:
                for request_id in "1", "2":
                    tasks.start_soon(claim, one, session_id, request_id, "one")
                    tasks.start_soon(claim, other, session_id, request_id, "other")
        for session in known:
            for request_id in "1", "2":
                got = outcomes.pop((session.session_id, request_id))
                assert session in got
                assert RequestRunsError in got
        assert list(outcomes.values()) == [[None, None]] * 2
        outcomes.clear()
        async with anyio.create_task_group() as tasks:
            for request_id in "3", "4", "5":
                tasks.start_soon(claim, one, "s0", request_id, "one")
        assert sorted(map(str, (one[0] for one in outcomes.values()))) == sorted(
            map(str, [known[0], ServingLimitError, ServingLimitError])
        )
        running = await one.sessions.running_on("one")
        assert len(running) + len(await one.sessions.running_on("other")) == 41


async def test_names_of_any_length_and_kind(database: Database) -> None:
    await database.migrate()
    names = ["x" * 100_000, "a\0b", "\ud800", "sha256:" + "0" * 64, "é", ""]
    async with opened(database.backend()) as backend:
        await backend.sessions.create(record(), LIMITS)
        await backend.sessions.subscribe("s1", names, LIMITS)
        for number, name in enumerate(names):
            await backend.sessions.set_state("s1", name, str(number))
            assert await backend.streams.append("s1", f"s{name}", [str(number)]) == 1
            mine = call(json.dumps(name), "me", f"stream{number}")
            assert await backend.sessions.claim("s1", None, mine, LIMITS) is not None
            assert await backend.sessions.running("s1", mine.request_id) == mine
        for number, name in enumerate(names):
            assert await backend.sessions.get_state("s1", name) == str(number)
            assert await backend.sessions.subscribers(name) == ["s1"]
            assert [event.message for event in await backend.streams.read("s1", f"s{name}", 0)] == [str(number)]
        assert len(await backend.sessions.running_on("me")) == len(names)


# What stands in the tables


async def test_something_else_in_the_place_of_a_session(database: Database) -> None:
    await database.migrate()
    async with opened(database.backend()) as backend:
        for number, text in enumerate(("", "[]", "{", '{"v": 99}', "[" * 100_000)):
            sql = "insert into {s}.sessions values ($1, $2, null, null, now() + interval '1 hour')"
            await database.run(sql, f"s{number}", text)
            with pytest.raises(StoredDataError):
                await backend.sessions.find(f"s{number}", None)
            with pytest.raises(StoredDataError):
                await backend.sessions.claim(f"s{number}", None, call(), LIMITS)
            assert await backend.sessions.running(f"s{number}", "1") is None


async def test_notifications_hold_ids_only_and_are_sent_where_somebody_listens(database: Database) -> None:
    await database.migrate()
    [(channel,)] = await database.run("select name from {s}.channel")
    payloads: list[str] = []
    connection = await asyncpg.connect(database.url)
    await connection.add_listener(channel, lambda *heard: payloads.append(heard[3]))
    async with opened(database.backend()) as backend:
        told: list[str] = []
        async with backend.sessions.backplane.join("me", told.append, lambda: None):
            await backend.streams.append("s1", "log", ["unheard"])
            async with backend.streams.listen("s1", "log", print):
                await backend.streams.append("s1", "log", ["secret" * 2000, "secret"])
                await backend.sessions.backplane.tell("me", "secret")

                async def is_told() -> bool:
                    return told == ["secret"] and len(payloads) == 2

                await until(is_told)
    assert json.loads(payloads[0]) == ["s1", "log", 2, 3]
    [number, instance] = json.loads(payloads[1])
    assert (type(number), instance) == (int, "me")
    await connection.close()


async def test_all_rows_are_removed_when_their_time_is_over(database: Database) -> None:
    await database.migrate()
    # Nothing is removed before all is there, however long that takes.
    async with opened(database.backend(prune_seconds=600), ttl=TTL) as backend:
        # More than are removed in one transaction.
        async with anyio.create_task_group() as tasks:
            for number in range(450):
                tasks.start_soon(backend.streams.append, f"s{number}", "log", ["1", "2"])
        await use_all(backend)
        assert (await database.rows())["events"] > 900
    pruning = [opened(database.backend(prune_seconds=0.2), ttl=TTL) for _ in range(2)]
    async with pruning[0], pruning[1]:

        async def is_empty() -> bool:
            # A message to all is kept for longer than this test.
            return not (await database.rows()).keys() - {"messages"}

        await until(is_empty)


async def test_parts_of_two_kinds(database: Database) -> None:
    """Streams without sessions, as where these are kept elsewhere."""
    await database.migrate()
    streams = PostgresStreamManager(database.url, schema=database.schema)
    async with streams.open(ttl=60, log_events=10, log_bytes=1000):
        assert await streams.append("s1", "log", ["1"], is_final=True) == 1
        assert await streams.append("s1", "log", ["1"], is_final=True) is None
    # It can be opened again.
    async with streams.open(ttl=60, log_events=10, log_bytes=1000):
        assert await streams.tip("s1", "log") == 1


async def test_what_the_block_raises_is_raised_as_it_is(database: Database) -> None:
    await database.migrate()
    with pytest.raises(KeyError, match="mine"):
        async with opened(database.backend()):
            raise KeyError("mine")


async def test_nothing_is_left_open(database: Database) -> None:
    await database.migrate()
    async with opened(database.backend()) as backend:
        async with backend.sessions.backplane.join("me", print, lambda: None):
            async with anyio.create_task_group() as tasks:
                for number in range(20):
                    tasks.start_soon(backend.streams.append, "s1", f"log{number}", ["1"])
    open_ones = "select 1 from pg_stat_activity where application_name = 'jackfield' and query like $1"

    async def are_closed() -> bool:
        return not await database.run(open_ones, f"%{database.schema}%")

    await until(are_closed)
