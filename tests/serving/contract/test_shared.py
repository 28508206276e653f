"""Every engine that instances of several processes share counts and keeps things for all of them."""

from __future__ import annotations

import anyio
import pytest
from tests.serving.contract.conftest import TTL, Engine, until

from jackfield.serving.backplane_messages import ShareWanted, decoded
from jackfield.serving.memory import InMemorySessionStore
from jackfield.serving.shares import Sharing
from jackfield.serving.stores import KeepsValues, SharesBounds


def nothing(_: str = "") -> None:
    """Nothing to do."""


def test_a_store_in_memory_is_of_one_process() -> None:
    assert not isinstance(InMemorySessionStore(), SharesBounds | KeepsValues)


async def test_shares_of_a_bound(shared_engine: Engine) -> None:
    async with shared_engine.two() as (one, other):
        here, there = one.sessions, other.sessions
        assert isinstance(here, SharesBounds)
        assert isinstance(there, SharesBounds)
        async with here.backplane.join("here", nothing, nothing):
            async with there.backplane.join("there", nothing, nothing):
                assert await here.take_share("calls:ann", "here", 0, 4, 5) == 4
                assert await there.take_share("calls:ann", "there", 0, 4, 5) == 1
                assert await there.take_share("calls:bob", "there", 0, 4, 5) == 4
                # Given back, as far as it is not in use.
                assert await here.take_share("calls:ann", "here", 2, 0, 5) == 2
                assert await there.take_share("calls:ann", "there", 1, 9, 5) == 3
                # What is in use counts in any case.
                assert await here.take_share("calls:ann", "here", 4, 4, 5) == 4
                assert await here.take_share("calls:ann", "here", 0, 9, 5) == 2
                assert await here.take_share("calls:ann", "here", 0, 0, 5) == 0
                given: list[int] = []

                async def take(store: SharesBounds, name: str) -> None:
                    given.append(await store.take_share("calls:cat", name, 0, 4, 6))

                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(take, here, "here")
                    tasks.start_soon(take, there, "there")
                assert sorted(given) == [2, 4]
            # One that has ended has none.
            assert await here.take_share("calls:cat", "here", 0, 6, 6) == 6
            for name in ("calls:ann", "calls:bob", "calls:cat"):
                assert await here.take_share(name, "here", 0, 0, 6) == 0

        async def is_empty() -> bool:
            return await shared_engine.is_empty()

        await until(is_empty)


async def test_instances_keep_a_bound_together(shared_engine: Engine) -> None:
    async with shared_engine.two() as stores, anyio.create_task_group() as tasks:

        class Tasks:
            def start(self, function: object, *args: object) -> None:
                tasks.start_soon(function, *args)  # type: ignore[arg-type]

        used: list[dict[str, int]] = [{"ann": 0}, {"ann": 0}]
        sharings: list[Sharing] = []

        async def tell(message: ShareWanted) -> None:
            for sharing in sharings:
                sharing.heard(message)

        for number, store in enumerate(stores):
            assert isinstance(store.sessions, SharesBounds)
            sharings.append(Sharing(store.sessions, f"i{number}", Tasks(), tell))  # type: ignore[arg-type]
        bounds = [
            sharing.bound("calls", 20, lambda user, counts=counts: counts[user])
            for sharing, counts in zip(sharings, used, strict=True)
        ]
        here, there = (store.sessions.backplane for store in stores)
        async with here.join("i0", nothing, nothing), there.join("i1", nothing, nothing):

            async def begin(number: int) -> bool:
                for _ in range(50):
                    if bounds[number].size("ann") > used[number]["ann"] or await bounds[number].room("ann"):
                        used[number]["ann"] += 1
                        return True
                    if sum(counts["ann"] for counts in used) >= 20:
                        return False
                    await anyio.sleep(0.01)
                return False

            begun = [await begin(number % 2) for number in range(30)]
            assert begun == [True] * 20 + [False] * 10
            used[0]["ann"] -= 1
            # What one does not use any more, another may.
            assert await begin(1)
            assert not await begin(0)
            assert sum(counts["ann"] for counts in used) == 20
            used[1]["ann"] = 0
            async with sharings[0].kept():
                pass
            assert await begin(1)


async def test_texts_of_no_session(shared_engine: Engine) -> None:
    async with shared_engine.two(ttl=TTL) as (one, other):
        here, there = one.sessions, other.sessions
        assert isinstance(here, KeepsValues)
        assert isinstance(there, KeepsValues)
        assert await here.get_value("tokens", "ann") is None
        assert await here.swap_value("tokens", "ann", None, "1", 60)
        assert not await there.swap_value("tokens", "ann", None, "2", 60)
        assert not await there.swap_value("tokens", "ann", "2", "3", 60)
        assert await there.get_value("tokens", "ann") == "1"
        assert await there.get_value("others", "ann") is None
        assert await there.swap_value("tokens", "ann", "1", "é\n" * 10_000, 60)
        assert await here.get_value("tokens", "ann") == "é\n" * 10_000
        swapped: list[bool] = []

        async def swap(store: KeepsValues, value: str) -> None:
            swapped.append(await store.swap_value("tokens", "bob", None, value, TTL))

        async with anyio.create_task_group() as tasks:
            for number in range(4):
                tasks.start_soon(swap, (here, there)[number % 2], str(number))
        assert sorted(swapped) == [False, False, False, True]
        assert [key for key, _ in await here.values("tokens", 10)] == ["bob", "ann"]
        assert [key for key, _ in await here.values("tokens", 1)] == ["bob"]

        async def has_expired() -> bool:
            return await there.get_value("tokens", "bob") is None

        await until(has_expired)
        assert [key for key, _ in await here.values("tokens", 10)] == ["ann"]
        assert await here.swap_value("tokens", "bob", None, "again", 60)
        for name, value in await there.values("tokens", 10):
            assert await there.swap_value("tokens", name, value, None, 0)
        assert await here.values("tokens", 10) == []

        async def is_empty() -> bool:
            return await shared_engine.is_empty()

        await until(is_empty)


@pytest.mark.parametrize("text", ["{}", '{"kind": "share_wanted"}'])
def test_what_another_version_says_is_left_out(text: str) -> None:
    assert decoded(text) is None
