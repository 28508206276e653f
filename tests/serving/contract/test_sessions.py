"""Every engine keeps sessions as `SessionStore` says. Each test has two instances on one store."""

from __future__ import annotations

import time

import anyio
import pytest
from tests.serving.contract.conftest import LIMITS, TTL, Engine, call, record, until

from jackfield.serving import Backend, Principal, RequestRunsError, RunningCall, ServingLimitError, ServingLimits
from jackfield.serving.memory import InMemorySessionStore
from jackfield.serving.stores import CountsCalls

ANN, BOB = Principal("https://issuer", "ann", "client"), Principal("https://issuer", "bob", "client")


async def test_a_session_is_the_same_on_every_instance(engine: Engine) -> None:
    async with engine.two() as (one, other):
        made = record(principal=ANN)
        await one.sessions.create(made, LIMITS)
        assert await other.sessions.find("s1", ANN) == made
        assert await other.sessions.find("s2", None) is None
        # 64 KiB of anything that JSON can hold comes back as it was.
        text = '\0\n"\\\u2028\U0001f600' * 1000
        long = record("s2")
        long = type(long)("s2", {"clientInfo": {"name": text}}, "2025-06-18", Principal(None, text, None), 1.5)
        await other.sessions.create(long, LIMITS)
        assert await one.sessions.find("s2", long.principal) == long


async def test_the_log_level_is_part_of_the_record(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        await other.sessions.set_log_level("s1", "warning")
        found = await one.sessions.find("s1", None)
        assert found is not None
        assert found.log_level == "warning"
        claimed = await other.sessions.claim("s1", None, call(), LIMITS)
        assert claimed == found
        await one.sessions.set_log_level("gone", "warning")
        assert await other.sessions.find("gone", None) is None


async def test_a_session_is_gone_when_its_time_is_over(engine: Engine) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.sessions.create(record(principal=ANN), LIMITS)
        await one.sessions.claim("s1", ANN, call(), LIMITS)
        await one.sessions.subscribe("s1", ["tools", "resource:a"], LIMITS)
        await one.sessions.set_state("s1", "key", "1")

        async def is_gone() -> bool:
            return not await other.sessions.live()

        await until(is_gone)
        assert await other.sessions.live(ANN) == []
        assert await other.sessions.find("s1", ANN) is None
        assert await other.sessions.claim("s1", ANN, call("2"), LIMITS) is None
        assert await other.sessions.touch(["s1"]) == ["s1"]
        assert await other.sessions.get_state("s1", "key") is None
        assert await other.sessions.running("s1", "1") is None
        assert await other.sessions.subscribers("tools") == []
        assert await other.sessions.delete("s1") is None
        await until(engine.is_empty)


@pytest.mark.parametrize("use", ["find", "claim", "touch"])
async def test_use_lets_a_session_live_on(engine: Engine, use: str) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.sessions.create(record(principal=ANN), LIMITS)
        await one.sessions.subscribe("s1", ["tools"], LIMITS)
        await one.sessions.set_state("s1", "key", "1")
        assert await one.sessions.claim("s1", ANN, call("0"), LIMITS) is not None
        until_time = time.monotonic() + 2.5 * TTL
        number = 0
        while time.monotonic() < until_time:
            number += 1
            match use:
                case "find":
                    assert await other.sessions.find("s1", ANN) is not None
                case "claim":
                    assert await other.sessions.claim("s1", ANN, call(str(number), "other"), LIMITS) is not None
                case _:
                    assert await other.sessions.touch(["s1", "s2"]) == ["s2"]
            await anyio.sleep(TTL / 10)
        # All that belongs to it lives on with it.
        assert await one.sessions.live() == ["s1"]
        assert await one.sessions.live(ANN) == ["s1"]
        assert await one.sessions.subscribers("tools") == ["s1"]
        assert await one.sessions.get_state("s1", "key") == "1"
        assert await one.sessions.running("s1", "0") == call("0")
        assert list(await one.sessions.running_on("one")) == [("s1", call("0"))]


async def test_a_session_is_its_principals_only(engine: Engine) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.sessions.create(record("s1", ANN), LIMITS)
        await one.sessions.create(record("s2"), LIMITS)
        await one.sessions.claim("s1", ANN, call(), LIMITS)
        for session_id, principal in [("s1", BOB), ("s1", None), ("s1", Principal()), ("s2", ANN), ("s2", Principal())]:
            assert await other.sessions.find(session_id, principal) is None
            # Nothing is told of what runs in it.
            assert await other.sessions.claim(session_id, principal, call(), LIMITS) is None
            assert (
                await other.sessions.claim(session_id, principal, call("2"), ServingLimits(requests_per_session=1))
                is None
            )
        assert await one.sessions.running("s1", "2") is None

        async def is_gone() -> bool:
            await other.sessions.find("s1", BOB)
            await other.sessions.claim("s1", BOB, call("3"), LIMITS)
            return not await one.sessions.live(ANN)

        await until(is_gone)


async def test_sessions_are_counted(engine: Engine) -> None:
    async with engine.two() as (one, other):
        assert await one.sessions.count() == 0
        for number in range(3):
            await one.sessions.create(record(f"s{number}"), LIMITS)
        assert await other.sessions.count() == 3
        await one.sessions.delete("s0")
        assert await other.sessions.count() == 2


async def test_reading_a_list_is_no_use(engine: Engine) -> None:
    async with engine.two(ttl=TTL) as (one, other):
        await one.sessions.create(record(), LIMITS)

        async def is_gone() -> bool:
            await other.sessions.subscribers("tools")
            await other.sessions.running_on("one")
            await other.sessions.count()
            return not await other.sessions.live()

        await until(is_gone)


async def test_one_of_many_claims_at_once_wins(engine: Engine) -> None:
    async with engine.two() as backends:
        await backends[0].sessions.create(record(), LIMITS)
        won: list[RunningCall] = []
        refused: list[RunningCall] = []

        async def claim(number: int) -> None:
            mine = RunningCall('"id"', f"instance{number % 2}", f"stream{number}")
            try:
                assert await backends[number % 2].sessions.claim("s1", None, mine, LIMITS) is not None
                won.append(mine)
            except RequestRunsError:
                refused.append(mine)

        async with anyio.create_task_group() as tasks:
            for number in range(40):
                tasks.start_soon(claim, number)
        assert len(won) == 1
        assert len(refused) == 39
        # The loser's release changes nothing.
        assert not await backends[0].sessions.release("s1", refused[0])
        assert await backends[1].sessions.running("s1", '"id"') == won[0]
        # 1 and "1" are two ids.
        assert await backends[1].sessions.claim("s1", None, call("1"), LIMITS) is not None
        assert await backends[1].sessions.claim("s1", None, call('"1"'), LIMITS) is not None


async def test_two_applications_in_one_process_share_a_store(engine: Engine) -> None:
    backend = engine.backend()
    async with backend.sessions.open(ttl=60.0):
        await backend.sessions.create(record(), LIMITS)
        await backend.sessions.claim("s1", None, call("1"), LIMITS)
        async with backend.sessions.open(ttl=60.0):
            await backend.sessions.claim("s1", None, call("2"), LIMITS)
            with anyio.fail_after(5):
                assert await backend.sessions.release("s1", call("2"))
        with anyio.fail_after(5):
            assert await backend.sessions.release("s1", call("1"))


async def test_a_released_id_can_be_claimed_again(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        first, second = call("1", "one", "a"), call("1", "other", "b")
        assert await one.sessions.claim("s1", None, first, LIMITS) is not None
        assert await other.sessions.release("s1", first)
        assert not await other.sessions.release("s1", first)
        assert await other.sessions.claim("s1", None, second, LIMITS) is not None
        assert not await one.sessions.release("s1", first)
        assert await one.sessions.running("s1", "1") == second
        assert await one.sessions.running("s1", "2") is None
        assert await one.sessions.running("s2", "1") is None
        assert not await one.sessions.release("s2", first)


async def test_the_calls_of_an_instance(engine: Engine) -> None:
    async with engine.two() as (one, other):
        for session_id in ("s1", "s2"):
            await one.sessions.create(record(session_id), LIMITS)
        strange = call('"a b {\\u00e9} \\u0000"', "one")
        for session_id, mine in [("s1", call("1")), ("s2", call("1")), ("s1", strange), ("s1", call("2", "other"))]:
            assert await one.sessions.claim(session_id, None, mine, LIMITS) is not None
        found = await other.sessions.running_on("one")
        assert sorted(found, key=str) == sorted([("s1", call("1")), ("s2", call("1")), ("s1", strange)], key=str)
        assert await other.sessions.running_on("other") == [("s1", call("2", "other"))]
        await one.sessions.release("s1", strange)
        await one.sessions.delete("s2")
        assert await other.sessions.running_on("one") == [("s1", call("1"))]
        assert await other.sessions.running_on("third") == []


async def test_delete_removes_everything_and_tells_what_ran(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.sessions.create(record(principal=ANN), LIMITS)
        await one.sessions.subscribe("s1", ["tools"], LIMITS)
        await one.sessions.set_state("s1", "key", "1")
        for mine in (call("1"), call("2", "other")):
            await one.sessions.claim("s1", ANN, mine, LIMITS)
        calls = await other.sessions.delete("s1")
        assert calls is not None
        assert sorted(calls, key=str) == [call("1"), call("2", "other")]
        assert await one.sessions.delete("s1") is None
        assert await one.sessions.find("s1", ANN) is None
        assert await one.sessions.live() == await one.sessions.live(ANN) == []
        assert await one.sessions.subscribers("tools") == []
        assert await one.sessions.running_on("one") == []
        # What it would write is not written to a session that is gone.
        await one.sessions.set_state("s1", "key", "2")
        await one.sessions.subscribe("s1", ["tools"], LIMITS)
        assert not await one.sessions.release("s1", call("1"))
        assert await other.sessions.get_state("s1", "key") is None
        assert await other.sessions.subscribers("tools") == []
        assert await engine.is_empty()


async def test_no_more_sessions_than_the_limit(engine: Engine) -> None:
    limits = ServingLimits(sessions=3)
    async with engine.two() as (one, other):
        for number in range(3):
            await (one, other)[number % 2].sessions.create(record(f"s{number}"), limits)
        with pytest.raises(ServingLimitError, match="`sessions` is 3") as caught:
            await other.sessions.create(record("s3"), limits)
        assert (caught.value.bound, caught.value.maximum) == ("sessions", 3)
        assert await one.sessions.find("s3", None) is None
        assert sorted(await one.sessions.live()) == ["s0", "s1", "s2"]
        await one.sessions.delete("s0")
        await other.sessions.create(record("s3"), limits)


async def test_no_more_sessions_of_one_user_than_the_limit(engine: Engine) -> None:
    limits = ServingLimits(sessions_per_user=2)
    # Parts that run into each other are still different users.
    others = [BOB, Principal("https://issuer", "annclient", None), Principal("https://issuera", "nn", "client"), None]
    async with engine.two() as (one, other):
        await one.sessions.create(record("s0", ANN), limits)
        await other.sessions.create(record("s1", ANN), limits)
        with pytest.raises(ServingLimitError, match="`sessions_per_user` is 2"):
            await one.sessions.create(record("s2", ANN), limits)
        for number, principal in enumerate(others):
            await one.sessions.create(record(f"t{number}", principal), limits)
        for number in range(3):
            await one.sessions.create(record(f"u{number}", None), limits)
        assert sorted(await other.sessions.live(ANN)) == ["s0", "s1"]
        assert await other.sessions.live(BOB) == ["t0"]
        assert len(await other.sessions.live()) == 9
        await other.sessions.delete("s1")
        await other.sessions.create(record("s2", ANN), limits)


async def test_sessions_whose_time_is_over_do_not_count(engine: Engine) -> None:
    limits = ServingLimits(sessions=2, sessions_per_user=1)
    async with engine.two(ttl=TTL) as (one, other):
        await one.sessions.create(record("s1", ANN), limits)
        with pytest.raises(ServingLimitError):
            await one.sessions.create(record("s2", ANN), limits)

        async def is_gone() -> bool:
            return not await other.sessions.live(ANN)

        await until(is_gone)
        await other.sessions.create(record("s2", ANN), limits)


async def test_no_more_running_requests_than_the_limit(engine: Engine) -> None:
    limits = ServingLimits(requests_per_session=2)
    async with engine.two() as (one, other):
        await one.sessions.create(record(), limits)
        await one.sessions.claim("s1", None, call("1"), limits)
        await other.sessions.claim("s1", None, call("2"), limits)
        with pytest.raises(ServingLimitError, match="`requests_per_session` is 2"):
            await one.sessions.claim("s1", None, call("3"), limits)
        # An id that runs is told as such.
        with pytest.raises(RequestRunsError):
            await one.sessions.claim("s1", None, call("1"), limits)
        assert await other.sessions.running("s1", "3") is None
        await one.sessions.release("s1", call("2"))
        await one.sessions.claim("s1", None, call("3"), limits)


async def test_who_hears_of_a_topic(engine: Engine) -> None:
    async with engine.two() as (one, other):
        for session_id in ("s1", "s2"):
            await one.sessions.create(record(session_id), LIMITS)
        strange = "resource:file:///{a b}/*?é"
        await one.sessions.subscribe("s1", ["tools", strange], LIMITS)
        await other.sessions.subscribe("s2", iter(["tools", "tools"]), LIMITS)
        assert sorted(await other.sessions.subscribers("tools")) == ["s1", "s2"]
        assert await other.sessions.subscribers(strange) == ["s1"]
        assert await other.sessions.subscribers("prompts") == []
        await other.sessions.unsubscribe("s1", ["tools", "prompts"])
        assert await one.sessions.subscribers("tools") == ["s2"]
        assert await one.sessions.subscribers(strange) == ["s1"]
        await one.sessions.subscribe("s1", [], LIMITS)
        await one.sessions.unsubscribe("s1", [])
        await one.sessions.unsubscribe("gone", ["tools"])


async def test_no_more_subscriptions_than_the_limit(engine: Engine) -> None:
    limits = ServingLimits(subscriptions_per_session=2)
    async with engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        await one.sessions.subscribe("s1", ["a"], limits)
        with pytest.raises(ServingLimitError, match="`subscriptions_per_session` is 2"):
            await other.sessions.subscribe("s1", ["b", "c"], limits)
        assert await one.sessions.subscribers("b") == []
        await other.sessions.subscribe("s1", ["b", "b", "a"], limits)
        await one.sessions.subscribe("s1", ["a", "b"], limits)
        assert await one.sessions.subscribers("b") == ["s1"]
        # Fewer than it has by now: what it has stays.
        await one.sessions.subscribe("s1", ["a"], ServingLimits(subscriptions_per_session=1))
        await one.sessions.unsubscribe("s1", ["a"])
        await other.sessions.subscribe("s1", ["c"], limits)
        await one.sessions.subscribe("gone", ["a", "b", "c"], limits)


async def test_application_state(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        await one.sessions.create(record("s2"), LIMITS)
        await one.sessions.set_state("s1", "key é", '{"a":"\\u0000é"}')
        assert await other.sessions.get_state("s1", "key é") == '{"a":"\\u0000é"}'
        await other.sessions.set_state("s1", "key é", "2")
        assert await one.sessions.get_state("s1", "key é") == "2"
        assert await one.sessions.get_state("s2", "key é") is None
        assert await one.sessions.get_state("gone", "key é") is None
        await one.sessions.set_state("s1", "key é", None)
        await one.sessions.set_state("s1", "never", None)
        assert await other.sessions.get_state("s1", "key é") is None


async def test_state_is_claimed_by_one_instance(engine: Engine) -> None:
    async with engine.two() as (one, other):
        await one.sessions.create(record(), LIMITS)
        assert await one.sessions.swap_state("s1", "owner", "none", "one") is None
        assert await one.sessions.swap_state("s1", "owner", None, "one") == "one"
        assert await other.sessions.swap_state("s1", "owner", None, "other") == "one"
        assert await other.sessions.swap_state("s1", "owner", "else", "other") == "one"
        assert await other.sessions.swap_state("s1", "owner", "one", "other é") == "other é"
        assert await one.sessions.get_state("s1", "owner") == "other é"
        assert await one.sessions.swap_state("gone", "owner", None, "one") is None
        won: list[str | None] = []

        async def claim(backend: Backend, number: int) -> None:
            won.append(await backend.sessions.swap_state("s1", "contested", None, str(number)))

        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(claim, (one, other)[number % 2], number)
        assert len(set(won)) == 1
        await one.sessions.delete("s1")
        assert await one.sessions.get_state("s1", "owner") is None


async def test_touching_none_is_fine(engine: Engine) -> None:
    async with engine.two() as (one, other):
        assert await one.sessions.touch([]) == []
        await one.sessions.create(record(), LIMITS)
        assert await other.sessions.touch(["s1", "s1"]) == []


async def test_subscriptions_of_a_session_are_bounded(engine: Engine) -> None:
    limits = ServingLimits(subscriptions_per_session=2)
    async with engine.two() as (one, other):
        await one.sessions.create(record("s1"), LIMITS)
        await one.sessions.subscribe("s1", ["a", "b"], limits)
        with pytest.raises(ServingLimitError, match="`subscriptions_per_session` is 2"):
            await other.sessions.subscribe("s1", ["a", "c"], limits)
        await other.sessions.subscribe("s1", ["a", "b"], limits)
        assert list(await one.sessions.subscribers("c")) == []
        await one.sessions.unsubscribe("s1", ["a"])
        await other.sessions.subscribe("s1", ["c"], limits)
        assert list(await one.sessions.subscribers("c")) == ["s1"]


async def test_calls_of_many_sessions_end_at_once(engine: Engine) -> None:
    async with engine.two() as (one, other):
        running = [(f"s{number % 7}", call(str(number))) for number in range(70)]
        for session_id in {session_id for session_id, _ in running}:
            await one.sessions.create(record(session_id), LIMITS)
        for session_id, run in running:
            assert await one.sessions.claim(session_id, None, run, LIMITS) is not None
        unknown = [("s1", call("1000")), ("none", call("1"))]
        were_there: list[bool] = []

        async def release(session_id: str, run: RunningCall) -> None:
            were_there.append(await one.sessions.release(session_id, run))

        async with anyio.create_task_group() as tasks:
            for session_id, run in [*running, *unknown]:
                tasks.start_soon(release, session_id, run)
        assert sorted(were_there) == [False] * len(unknown) + [True] * len(running)
        assert list(await other.sessions.running_on(running[0][1].instance)) == []


async def test_the_calls_of_a_minute_are_counted_on_all_instances(engine: Engine) -> None:
    async with engine.two() as stores:
        one, other = (two.sessions for two in stores)
        if not isinstance(one, CountsCalls):
            # All instances of a store in memory are one process, and each counts for itself.
            assert isinstance(one, InMemorySessionStore)
            return
        assert isinstance(other, CountsCalls)
        counted: list[float | None] = []

        async def begin(store: CountsCalls) -> None:
            counted.append(await store.begin_call(ANN, 5))

        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(begin, one)
                tasks.start_soon(begin, other)
        assert counted.count(None) == 5
        assert all(58 < seconds <= 60 for seconds in counted if seconds is not None)
        assert await one.begin_call(BOB, 5) is None
        assert await one.begin_call(None, 5) is None
