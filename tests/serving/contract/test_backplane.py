"""Every engine lets instances reach each other as `Backplane` says."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator

import pytest
from tests.conftest import quick_python
from tests.serving.contract.conftest import LIMITS, Engine, call, record, until

from jackfield.serving.backplane import DEAD_AFTER_SECONDS, TRUSTED_AFTER_SECONDS

INSTANCE = """
import asyncio
{program}
async def main():
    async with backend.sessions.open(ttl=60), backend.sessions.backplane.join("killed", print, print):
        print("joined", flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


def nothing() -> None:
    """Nothing to do after an outage."""


async def test_messages_reach_one_or_all(engine: Engine) -> None:
    async with engine.two() as (one, other):
        told: dict[str, list[str]] = {"one": [], "other": []}
        here, there = one.sessions.backplane, other.sessions.backplane
        async with here.join("one", told["one"].append, nothing), there.join("other", told["other"].append, nothing):
            assert await here.tell("other", '{"é": "1"}')
            assert await here.tell("one", "to myself")
            assert not await here.tell("third", "nobody")

            async def are_told() -> bool:
                return told == {"one": ["to myself"], "other": ['{"é": "1"}']}

            await until(are_told)
            await there.tell_all("to all")

            async def are_all_told() -> bool:
                return told == {"one": ["to myself", "to all"], "other": ['{"é": "1"}', "to all"]}

            await until(are_all_told)
            for number in range(50):
                await here.tell("other", str(number))

            async def are_told_in_order() -> bool:
                return told["other"][2:] == [str(number) for number in range(50)]

            await until(are_told_in_order)
        assert not await here.tell("other", "left")


async def test_who_is_alive(engine: Engine) -> None:
    async with engine.two() as (one, other):
        here, there = one.sessions.backplane, other.sessions.backplane
        async with here.join("one", print, nothing):
            assert await there.is_alive("one")
            async with there.join("other", print, nothing):
                assert await here.is_alive("other")
                # It beats, for as long as it is there.
                until_time = time.monotonic() + DEAD_AFTER_SECONDS + 1

                async def is_over() -> bool:
                    assert await here.is_alive("other")
                    assert await there.is_alive("one")
                    assert list(await here.dead()) == list(await there.dead()) == []
                    return time.monotonic() > until_time

                await until(is_over)
            assert not await here.is_alive("other")
            # One that leaves is not dead: it ran nothing any more.
            assert list(await here.dead()) == []
        assert not await there.is_alive("one")
    assert await engine.is_empty()


async def test_an_instance_that_leaves_calls_behind_is_dead(shared_engine: Engine) -> None:
    async with shared_engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        here, there = one.sessions.backplane, other.sessions.backplane
        async with there.join("other", print, nothing):
            async with here.join("one", print, nothing):
                # Its handler ignored that the instance was stopped, or the store was away when it ended.
                await one.sessions.claim("s1", None, call("1", "one"), LIMITS)
            assert not await there.is_alive("one")

            async def is_dead() -> bool:
                return list(await there.dead()) == ["one"]

            await until(is_dead)
            assert await other.sessions.running_on("one") == [("s1", call("1", "one"))]
            await other.sessions.release("s1", call("1", "one"))
            await there.bury("one")
            assert list(await there.dead()) == []


@pytest.fixture
def killed_instance(shared_engine: Engine, nothing_left: None) -> Iterator[subprocess.Popen[str]]:
    """An instance in a process of its own."""
    program = INSTANCE.format(program=shared_engine.program)
    process = subprocess.Popen([quick_python(), "-c", program], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "joined\n"
    yield process
    process.kill()
    process.communicate()


async def test_a_killed_instance_is_found_dead_once_that_is_certain(
    shared_engine: Engine, killed_instance: subprocess.Popen[str]
) -> None:
    async with shared_engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        await one.sessions.claim("s1", None, call("1", "killed"), LIMITS)
        here, there = one.sessions.backplane, other.sessions.backplane
        async with here.join("one", print, nothing), there.join("other", print, nothing):
            joined_at = time.monotonic()
            assert await here.is_alive("killed")
            killed_instance.kill()
            killed_instance.wait()
            killed_at = time.monotonic()

            async def is_dead() -> bool:
                dead = list(await here.dead())
                assert dead in ([], ["killed"])
                if dead:
                    assert time.monotonic() - joined_at > TRUSTED_AFTER_SECONDS - 0.1
                return bool(dead)

            await until(is_dead)
            assert time.monotonic() - killed_at < TRUSTED_AFTER_SECONDS + 3
            assert not await here.is_alive("killed")
            assert not await here.tell("killed", "nobody")
            assert await one.sessions.running_on("killed") == [("s1", call("1", "killed"))]
            await one.sessions.release("s1", call("1", "killed"))
            await here.bury("killed")

            async def is_buried() -> bool:
                return list(await there.dead()) == []

            await until(is_buried)
            assert list(await here.dead()) == []
