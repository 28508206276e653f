"""Jackfield's own client and served sessions that two instances share: killed instances, and a store that is away."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import anyio
import pytest
from mcp.client.subscriptions import ResourceUpdated
from tests.servers.balancer import Balancer
from tests.serving.clients.conftest import Client, Served
from tests.serving.redis_server import RedisServer

from jackfield import (
    CallRetried,
    JackfieldError,
    ServerUnavailableError,
    SessionLost,
    StreamRenewed,
)

OwnRedis = Callable[..., RedisServer]


async def test_everything_that_is_said_is_heard_through_five_kills(served: Served, own_redis: OwnRedis) -> None:
    """Each instance is killed in turn, so that the one that holds the stream is among them, and at last both."""
    redis = own_redis()
    for _ in range(2):
        served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        updated: list[str] = []

        async def note_updates() -> None:
            async with session.listen(resource_subscriptions=["notes://today"]) as changes:
                subscribed.set()
                async for change in changes:
                    assert isinstance(change, ResourceUpdated)
                    updated.append(change.uri)

        async with client.open() as session, anyio.create_task_group() as tasks:
            subscribed = anyio.Event()
            tasks.start_soon(note_updates)
            await subscribed.wait()
            said = 0
            for kill in range(5):
                killed, other = kill % 2, 1 - kill % 2
                served.kill(killed)
                for _ in range(3):
                    said += 1
                    assert await served.do("tell", by=other, n=said) == "1"
                await served.do("update", by=other)
                await client.heard(said)
                served.start_again(killed)
                for by in (0, 1):
                    said += 1
                    assert await served.do("tell", by=by, n=said) == "1"
                await client.heard(said)
            for number in (0, 1):
                served.kill(number)
            await anyio.sleep(3)  # the SDK's client has given up by then
            for number in (0, 1):
                served.start_again(number)
            for by in (0, 1):
                said += 1
                assert await served.do("tell", by=by, n=said) == "1"
            await client.heard(said)
            assert client.numbers == list(range(1, said + 1))
            assert client.told.count("notifications/resources/updated") == 5
            assert updated == ["notes://today"] * 5
            assert session.generation == 1
            assert not (await session.call_tool("work", {"n": 1})).state_lost
            # And a request of the server.
            assert (await session.call_tool("aside", {"kind": "elicitation"})).text == "ann"
            tasks.cancel_scope.cancel()
    assert not client.of_kind(SessionLost)
    assert all(event.resumed for event in client.of_kind(StreamRenewed))


async def test_a_call_goes_on_at_the_other_instance_where_its_connection_is_cut(
    served: Served, own_redis: OwnRedis
) -> None:
    redis = own_redis()
    for _ in range(2):
        served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        progress: list[float] = []

        async def on_progress(done: float, total: float | None, message: str | None) -> None:
            progress.append(done)
            if done in (2, 6, 10):
                balancer.cut()

        async with client.open() as session:
            arguments = {"n": 1, "count": 40, "pause": 0.1}
            result = await session.call_tool("steps_slowly", arguments, progress_callback=on_progress)
            assert result.text == "40 steps"
    assert progress == list(range(1, 41))
    assert served.runs("steps", 1) == 1


async def test_a_call_whose_instance_is_killed_is_told_and_not_made_again(served: Served, own_redis: OwnRedis) -> None:
    redis = own_redis()
    for _ in range(2):
        served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)

        async with client.open() as session:
            for n in (1, 2):
                started = anyio.Event()

                async def on_progress(
                    done: float, total: float | None, message: str | None, started: anyio.Event = started
                ) -> None:
                    started.set()

                # The log says which instance runs it only by its process; each is killed once.
                call = asyncio.ensure_future(
                    session.call_tool(
                        "steps_slowly", {"n": n, "count": 30, "pause": 0.1}, progress_callback=on_progress
                    )
                )
                await started.wait()
                killed_at = time.monotonic()
                served.kill(n - 1)
                (outcome,) = await asyncio.gather(call, return_exceptions=True)
                if isinstance(outcome, JackfieldError):
                    assert outcome.sent is True
                    assert "may have taken effect" in outcome.message
                    assert time.monotonic() - killed_at < 6
                served.start_again(n - 1)
            assert session.generation == 1
            assert not (await session.call_tool("work", {"n": 3})).state_lost
    assert [served.runs("steps", n) for n in (1, 2)] == [1, 1]


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_a_store_that_is_away_for_a_while(served: Served, own_redis: OwnRedis, how: str) -> None:
    redis = own_redis(append_only=True)
    served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session, anyio.create_task_group() as tasks:

            async def back() -> None:
                await anyio.sleep(3)
                if how == "paused":
                    redis.resume()
                else:
                    redis.restart()

            await session.call_tool("work", {"n": 1})
            redis.pause() if how == "paused" else redis.kill()
            tasks.start_soon(back)
            result = await session.call_tool("work", {"n": 2})
            assert result.text == "work 2"
            assert not result.state_lost
            await served.do("tell", n=5)
            await client.until(lambda: client.numbers == [5])
            assert session.generation == 1
    assert client.of_kind(CallRetried)
    assert [served.runs("work", n) for n in (1, 2)] == [1, 1]


async def test_a_store_that_stays_away_is_told_with_what_it_means_for_the_call(
    served: Served, own_redis: OwnRedis
) -> None:
    redis = own_redis(append_only=True)
    served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer, retry_attempts=1)
        async with client.open() as session:
            await session.list_tools()
            redis.kill()
            with pytest.raises(ServerUnavailableError, match=r"HTTP 503.*the call was not carried out") as caught:
                await session.call_tool("work", {"n": 1})
            assert caught.value.sent is False
            assert caught.value.retryable
            assert caught.value.retry_after == 1
            assert "Try again in 1 s" in (caught.value.hint or "")
            assert "nothing was run" in (caught.value.server_output or "")
            redis.restart()
            assert (await session.call_tool("work", {"n": 2})).text == "work 2"
    assert [served.runs("work", n) for n in (1, 2)] == [0, 1]


async def test_a_store_that_comes_back_empty_costs_the_session_and_that_is_told(
    served: Served, own_redis: OwnRedis
) -> None:
    redis = own_redis()
    for _ in range(2):
        served.start("--redis", redis.url)
    async with Balancer(served.urls) as balancer:
        client = Client(balancer)
        async with client.open() as session:
            await session.call_tool("work", {"n": 1})
            redis.restart(empty=True)
            # The open stream of the session that is gone is ended, and with it the session is lost.
            await client.until(lambda: client.of_kind(SessionLost) != [])
            result = await session.call_tool("work", {"n": 2})
            assert result.state_lost
            assert session.generation == 2
            await client.listening(session, 2)
            await served.do("tell", n=1)
            await client.until(lambda: client.numbers == [1])
    assert [served.runs("work", n) for n in (1, 2)] == [1, 1]
