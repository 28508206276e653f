"""What clients see while Redis is away, and after it. Two instances over HTTP, and a Redis of their own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import anyio
import httpx2
import pytest
from tests.serving.authorized import Client, all_listening, answer_of, text_of, until
from tests.serving.outages import Stepped, make_server
from tests.serving.redis_server import RedisServer

from jackfield.serving import RedisBackend, ServedSessions, serve_sessions
from jackfield.serving.backplane import DEAD_AFTER_SECONDS, TRUSTED_AFTER_SECONDS

OPERATION_SECONDS = 0.5
"""The bound of one operation here; 2 s as a rule."""

pytestmark = pytest.mark.timeout(60)


@dataclass
class Pair:
    """Two instances, and a client of theirs."""

    redis: RedisServer
    served: Sequence[ServedSessions]
    urls: Sequence[str]
    http: httpx2.AsyncClient
    ran: list[str]
    may_end: anyio.Event
    client: Client

    async def steps(self, count: int, seconds: float = 0.05) -> Stepped:
        """Call a tool of the first instance that reports progress."""
        stepped = Stepped()
        await stepped.call(self.http, self.client, self.urls[0], count=count, seconds=seconds)
        return stepped


@asynccontextmanager
async def pair(redis: RedisServer) -> AsyncGenerator[Pair]:
    ran: list[str] = []
    may_end = anyio.Event()
    served = [
        serve_sessions(
            make_server(ran, may_end),
            RedisBackend(redis.url, operation_timeout=OPERATION_SECONDS),
            session_ttl=120,
        )
        for _ in range(2)
    ]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=30))
        urls = [f"{url}/mcp" for url in await stack.enter_async_context(all_listening(served))]
        client = Client(http, None)
        await client.initialize(urls[0])
        yield Pair(redis, served, urls, http, ran, may_end, client)
        may_end.set()


@asynccontextmanager
async def heard(client: Client, url: str) -> AsyncGenerator[tuple[list[str], anyio.Event]]:
    """Read the standalone stream; what is heard on it, and whether it has ended."""
    methods: list[str] = []
    opened, ended = anyio.Event(), anyio.Event()

    async def read() -> None:
        async with client.stream(url) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                opened.set()
                if line.startswith("data:") and line[5:].strip():
                    methods.append(json.loads(line[5:])["method"])
        ended.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(read)
        await opened.wait()
        yield methods, ended
        tasks.cancel_scope.cancel()


def away(how: str, redis: RedisServer) -> None:
    redis.pause() if how == "paused" else redis.kill()


def back(how: str, redis: RedisServer) -> None:
    redis.resume() if how == "paused" else redis.restart()


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_an_outage_in_mid_call(
    own_redis: Callable[..., RedisServer], how: str, own_clock: Callable[[], float]
) -> None:
    redis = own_redis(append_only=True)
    async with pair(redis) as it, heard(it.client, it.urls[1]) as (methods, ended):
        stepped: list[Stepped] = []

        async def call() -> None:
            stepped.append(await it.steps(40))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: it.ran == ["steps"])
            away(how, redis)
            until_time = time.monotonic() + 1.5
            refused = 0
            while time.monotonic() < until_time:
                for url in it.urls:
                    began = own_clock()
                    response = await it.client.request(
                        url, "tools/call", {"name": "quick", "arguments": {}}, number=f"quick{refused}"
                    )
                    assert own_clock() - began < 2
                    assert response.status_code == 503
                    assert int(response.headers["retry-after"]) >= 1
                    refused += 1
            back(how, redis)
            it.may_end.set()
        assert it.ran == ["steps"], "nothing that was refused was run"
        assert stepped[0].progress == list(range(40)), "whole, in order, each once"
        assert text_of(stepped[0].answer) == "done"

        async def works_again() -> bool:
            answers = [
                await it.client.request(url, "tools/call", {"name": "quick", "arguments": {}}, number="again")
                for url in it.urls
            ]
            return [answer.status_code for answer in answers] == [200, 200]

        await until(works_again)
        for number in range(3):
            await it.client.call(it.urls[0], "change", number=f"change{number}")
        await until(lambda: len(methods) >= 3)
        assert methods == ["notifications/tools/list_changed"] * 3
        assert not ended.is_set()
        # An id that was refused can be used again, although Redis may have noted late that it runs.
        for number in range(refused):

            async def is_run(number: int = number) -> bool:
                parameters = {"name": "quick", "arguments": {}}
                answer = await it.client.request(it.urls[number % 2], "tools/call", parameters, number=f"quick{number}")
                return answer.status_code == 200

            await until(is_run, 3)


async def test_redis_comes_back_empty(own_redis: Callable[..., RedisServer]) -> None:
    redis = own_redis()
    async with pair(redis) as it, heard(it.client, it.urls[1]) as (_, ended):
        stepped: list[Stepped] = []

        async def call() -> None:
            stepped.append(await it.steps(30))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: it.ran == ["steps"])
            redis.kill()
            await anyio.sleep(0.5)
            redis.restart()
            # Nobody may wait for messages of a session that is gone.
            with anyio.fail_after(10):
                await ended.wait()
            it.may_end.set()
        assert stepped[0].progress == list(range(30))
        assert text_of(stepped[0].answer) == "done"
        for url in it.urls:
            response = await it.client.request(url, "tools/call", {"name": "quick", "arguments": {}})
            assert response.status_code == 404
        anew = Client(it.http, None)
        await anew.initialize(it.urls[0])
        assert await anew.call(it.urls[1], "quick") == "quick"


@pytest.mark.parametrize("comes_back", [False, True])
async def test_an_outage_that_lasts(
    own_redis: Callable[..., RedisServer], monkeypatch: pytest.MonkeyPatch, comes_back: bool
) -> None:
    """A call is held for a while. Then it goes on without a log, whatever Redis does."""
    monkeypatch.setattr("jackfield.serving.exchange.HOLD_SECONDS", 0.3)
    redis = own_redis()
    async with pair(redis) as it:
        stepped: list[Stepped] = []

        async def call() -> None:
            stepped.append(await it.steps(60))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: it.ran == ["steps"])
            redis.kill()
            await anyio.sleep(1.5)
            if comes_back:
                redis.restart()
            it.may_end.set()
        assert stepped[0].progress == list(range(60))
        assert text_of(stepped[0].answer) == "done"
        if not comes_back:
            redis.restart()


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_no_instance_answers_for_one_that_lives(own_redis: Callable[..., RedisServer], how: str) -> None:
    """After an outage all instances look dead to the first that is back."""
    redis = own_redis(append_only=True)
    async with pair(redis) as it:
        stepped: list[Stepped] = []

        async def call() -> None:
            stepped.append(await it.steps(2))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(call)
            await until(lambda: it.ran == ["steps"])
            away(how, redis)
            await anyio.sleep(DEAD_AFTER_SECONDS + 0.5)
            back(how, redis)
            # Long enough for everybody to trust what is heard, and to look twice.
            await anyio.sleep(TRUSTED_AFTER_SECONDS + 1.5)
            it.may_end.set()
        assert text_of(stepped[0].answer) == "done"


async def test_fifty_clients_at_once(own_redis: Callable[..., RedisServer]) -> None:
    """A pool that raises when it is full would answer some of them with 503."""
    redis = own_redis()
    async with pair(redis) as it:
        statuses: list[int] = []

        async def client(number: int) -> None:
            mine = Client(it.http, None)
            await mine.initialize(it.urls[number % 2])
            for call in range(5):
                response = await mine.request(
                    it.urls[call % 2], "tools/call", {"name": "quick", "arguments": {}}, number=call
                )
                statuses.append(response.status_code)
                assert text_of(answer_of(response.text)) == "quick"

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(client, number)
        assert statuses == [200] * 250
        assert redis.connections() - 1 <= 2 * 16


async def test_an_id_is_free_as_soon_as_its_call_is_answered(own_redis: Callable[..., RedisServer]) -> None:
    """Clients that are written by hand give every request the same id, whichever instance it goes to."""
    async with pair(own_redis()) as it:
        for number in range(100):
            assert await it.client.call(it.urls[number % 2], "quick", number=1) == "quick"
