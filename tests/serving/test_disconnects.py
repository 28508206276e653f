"""Clients that go without ending their session, and who hears of the end of a session."""

from __future__ import annotations

import anyio
import pytest
from tests.serving.authorized import until
from tests.serving.contract.conftest import ENGINES, TTL, Engine
from tests.serving.instances import Session, Talk, talkative, two

from jackfield.serving import serve_sessions

AT_ONCE = 0.05
LONG = 60.0


# What depends on the engine itself, tests/serving/contract tries at each of them; here the tests have them in turn.
pytestmark = pytest.mark.in_turn("engine")


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Engine:
    return ENGINES[request.param](request)


async def status_of_ping(session: Session, url: str) -> int:
    return (await session.post(url, {"id": 1, "method": "ping"})).status_code


async def test_each_end_is_told_once_on_the_instances_that_were_used(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, on_session_end=ended.append) as both:
        by_client, by_server, stays = [await both.session() for _ in range(3)]
        assert await status_of_ping(by_client, both.b) == 200
        assert await by_client.delete(both.b) == 200
        assert await both.served[0].end_session(by_server.id)
        await until(lambda: sorted(ended) == sorted([by_client.id] * 2 + [by_server.id]))
        assert await by_client.delete(both.a) == 404
        assert await status_of_ping(stays, both.a) == 200
    assert stays.id not in ended


async def test_an_expired_session_is_told(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, session_ttl=TTL, on_session_end=ended.append) as both:
        used, unused = await both.session(), await both.session()
        with anyio.fail_after(30):
            while unused.id not in ended:
                # Only on the other instance: to the first it is unused, too.
                assert await status_of_ping(used, both.b) == 200
                await anyio.sleep(TTL / 4)
        assert await status_of_ping(unused, both.a) == 404
        assert ended == [unused.id]


async def test_a_stream_that_broke_ends_the_session(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, reconnect_timeout=AT_ONCE, on_session_end=ended.append) as both:
        gone, reads, streamless = [await both.session() for _ in range(3)]
        async with reads.reading(both.a) as stays:
            await stays.begin()
            async with gone.reading(both.a) as stream:
                await stream.begin()
            await until(lambda: ended == [gone.id])
            assert await status_of_ping(gone, both.b) == 404
            assert await status_of_ping(reads, both.a) == 200
            assert await status_of_ping(streamless, both.a) == 200
        await until(lambda: ended == [gone.id, reads.id])
        assert await status_of_ping(streamless, both.a) == 200


async def test_a_call_whose_client_waits_keeps_the_session_and_one_whose_client_left_does_not(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, reconnect_timeout=AT_ONCE, on_session_end=ended.append) as both:
        waits, left, witness = [await both.session() for _ in range(3)]
        async with waits.calling(both.a, "wait", token="t") as call:
            for session in (waits, left):
                async with session.reading(both.a) as stream:
                    await stream.begin()
                    if session is left:
                        async with left.calling(both.a, "wait", token="t", tag="left") as other:
                            await other.next()
            await until(lambda: ended == [left.id])
            async with witness.reading(both.a) as stream:
                await stream.begin()
            await until(lambda: ended == [left.id, witness.id])
            assert both.talk.cancelled == ["left@a"]
            both.talk.opened.set()
            assert "result" in await call.answer()
        await until(lambda: waits.id in ended)


async def test_a_stream_that_comes_back_in_time_keeps_the_session(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, reconnect_timeout=LONG, on_session_end=ended.append) as both:
        session = await both.session()
        async with session.reading(both.a) as stream:
            after = await stream.begin()
        async with session.reading(both.a, after) as stream:
            assert stream.response.status_code == 200
        assert await status_of_ping(session, both.a) == 200
        assert not ended


async def test_a_hook_that_fails_costs_no_other_session(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    ended: list[str] = []

    def fail(session_id: str) -> None:
        ended.append(session_id)
        raise RuntimeError("This hook fails.")

    async with two(engine, reconnect_timeout=AT_ONCE, on_session_end=fail) as both:
        for number in (1, 2):
            session = await both.session()
            async with session.reading(both.a) as stream:
                await stream.begin()
            await until(lambda number=number: len(ended) == number)
    assert "`on_session_end` failed" in caplog.text


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_odd_times_are_refused(seconds: float, engine: Engine) -> None:
    with pytest.raises(ValueError, match="reconnect_timeout"):
        serve_sessions(talkative(Talk(), "a"), engine.backend(), reconnect_timeout=seconds)


async def test_a_client_that_came_back_to_another_instance_has_not_gone(engine: Engine) -> None:
    ended: list[str] = []
    async with two(engine, reconnect_timeout=1.5, on_session_end=ended.append) as both:
        reads, asks, gone = [await both.session() for _ in range(3)]
        for session in (reads, asks, gone):
            async with session.reading(both.a) as stream:
                await stream.begin()
        async with reads.reading(both.b) as again:
            await again.begin()
            with anyio.fail_after(30):
                while gone.id not in ended:
                    assert await status_of_ping(asks, both.b) == 200
                    await anyio.sleep(0.2)
            for _ in range(10):
                assert await status_of_ping(asks, both.b) == 200
                await anyio.sleep(0.2)
            assert ended == [gone.id]
        # Until that breaks, too.
        await until(lambda: reads.id in ended and asks.id in ended)
