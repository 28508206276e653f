"""PostgreSQL is stopped, killed and started again while instances use it."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial

import anyio
import asyncpg
import pytest
from tests.serving.contract.conftest import LIMITS, call, record, until
from tests.serving.postgres_server import PostgresServer

from jackfield.serving import PostgresBackend, StoreUnavailableError, StreamEvent
from jackfield.serving.backplane import DEAD_AFTER_SECONDS, TRUSTED_AFTER_SECONDS
from jackfield.serving.postgres_migration import migrate
from jackfield.serving.postgres_pool import OPERATION_SECONDS
from jackfield.serving.streams import STANDALONE


class Instance:
    """An instance that listens to the standalone stream of one session."""

    def __init__(self, backend: PostgresBackend) -> None:
        self.sessions, self.streams = backend.sessions, backend.streams
        self.heard: list[int] = []
        self.was_behind = 0
        self.told: list[str] = []
        self.reconnected = 0

    def take(self, events: Sequence[StreamEvent]) -> None:
        self.heard.extend(event.number for event in events)
        self.was_behind += not events

    def back(self) -> None:
        self.reconnected += 1


@asynccontextmanager
async def instances(server: PostgresServer) -> AsyncGenerator[tuple[Instance, Instance]]:
    await migrate(server.url)
    backends = PostgresBackend(server.url), PostgresBackend(server.url)
    one, other = Instance(backends[0]), Instance(backends[1])
    async with anyio.create_task_group() as tasks:
        is_over = anyio.Event()

        async def run(name: str, instance: Instance, is_open: anyio.Event) -> None:
            async with (
                instance.sessions.open(ttl=60),
                instance.streams.open(ttl=60, log_events=1000, log_bytes=10**6),
                instance.sessions.backplane.join(name, instance.told.append, instance.back),
                instance.streams.listen("s1", STANDALONE, instance.take),
            ):
                is_open.set()
                await is_over.wait()

        for name, instance in (("one", one), ("other", other)):
            is_open = anyio.Event()
            tasks.start_soon(run, name, instance, is_open)
            await is_open.wait()
        await one.sessions.create(record(), LIMITS)
        await one.sessions.claim("s1", None, call(), LIMITS)
        yield one, other
        is_over.set()


async def until_back(one: Instance, other: Instance) -> None:
    async def are_back() -> bool:
        try:
            await one.sessions.find("s1", None)
            await other.sessions.find("s1", None)
        except StoreUnavailableError:
            return False
        return bool(one.reconnected and other.reconnected)

    await until(are_back)


async def check_goes_on(one: Instance, other: Instance, last: int) -> None:
    """The session, its ledger, its log, who hears of it and messages are as before, and nobody was taken for dead."""
    assert await other.sessions.running("s1", "1") == call()
    assert await other.streams.append("s1", STANDALONE, ["after"]) == last + 1

    async def is_heard() -> bool:
        return last + 1 in one.heard and last + 1 in other.heard

    await until(is_heard)
    assert one.was_behind
    assert other.was_behind

    async def is_told() -> bool:
        await other.sessions.backplane.tell("one", "hello")
        return "hello" in one.told

    await until(is_told)


async def test_operations_end_in_time_while_the_server_stands_still(
    own_postgres: PostgresServer, own_clock: Callable[[], float]
) -> None:
    async with instances(own_postgres) as (one, other):
        assert await one.streams.append("s1", STANDALONE, ["before"]) == 1
        own_postgres.pause()
        paused_at = time.monotonic()
        took: list[float] = []

        async def use(number: int) -> None:
            begun = own_clock()
            claim = partial(one.sessions.claim, "s1", None, call(f"{number}"), LIMITS)
            append = partial(one.streams.append, "s1", f"log{number}", ["1"])
            with pytest.raises(StoreUnavailableError, match="no answer within 2 seconds"):
                await (claim if number % 2 else append)()
            took.append(own_clock() - begun)

        async with anyio.create_task_group() as tasks:
            for number in range(2, 42):
                tasks.start_soon(use, number)
        assert max(took) < OPERATION_SECONDS + 1
        # So long that both instances look dead.
        await anyio.sleep(max(0.0, DEAD_AFTER_SECONDS + 2 - (time.monotonic() - paused_at)))
        own_postgres.resume()
        await until_back(one, other)
        await check_goes_on(one, other, 1)
        until_time = time.monotonic() + TRUSTED_AFTER_SECONDS + 1.5
        while time.monotonic() < until_time:
            assert list(await one.sessions.backplane.dead()) == list(await other.sessions.backplane.dead()) == []
            await anyio.sleep(0.2)


async def test_what_was_committed_is_there_after_a_kill(
    own_postgres: PostgresServer, own_clock: Callable[[], float]
) -> None:
    async with instances(own_postgres) as (one, other):
        assert await one.streams.append("s1", STANDALONE, ["1", "2"]) == 1
        # All connections of the pool were used.
        async with anyio.create_task_group() as tasks:
            for _ in range(40):
                tasks.start_soon(one.sessions.find, "s1", None)
        own_postgres.kill()
        for _ in range(3):
            begun = own_clock()
            with pytest.raises(StoreUnavailableError, match="is not available"):
                await one.sessions.find("s1", None)
            assert own_clock() - begun < 1
        own_postgres.restart()
        await until_back(one, other)
        await check_goes_on(one, other, 2)
        assert [event.message for event in await one.streams.read("s1", STANDALONE, 0)] == ["1", "2", "after"]


async def test_events_of_a_moment_without_connection_are_caught_up_with(
    own_postgres: PostgresServer, own_clock: Callable[[], float]
) -> None:
    """The connection that listens is cut, and the others stay."""
    async with instances(own_postgres) as (one, other):
        connection = await asyncpg.connect(own_postgres.url)
        cut = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'jackfield'"
        await connection.execute(cut + " and query like '%beat(%'")
        assert await other.streams.append("s1", STANDALONE, ["1"]) == 1
        await connection.close()
        begun = own_clock()

        async def know_of_it() -> bool:
            return all(1 in one_.heard or one_.was_behind for one_ in (one, other))

        await until(know_of_it)
        assert own_clock() - begun < 3
        await until_back(one, other)
        await check_goes_on(one, other, 1)


async def test_a_dead_instance_is_found_after_an_outage(own_postgres: PostgresServer) -> None:
    async with instances(own_postgres) as (one, other):
        connection = await asyncpg.connect(own_postgres.url)
        await connection.execute("insert into jackfield.instances values ('gone', now() - interval '5 seconds')")
        await connection.close()
        own_postgres.kill()
        own_postgres.restart()
        await until_back(one, other)
        back_at = time.monotonic()

        async def is_found() -> bool:
            dead = list(await one.sessions.backplane.dead())
            assert dead in ([], ["gone"])
            return bool(dead)

        await until(is_found)
        assert time.monotonic() - back_at > TRUSTED_AFTER_SECONDS - 1
        await one.sessions.backplane.bury("gone")
