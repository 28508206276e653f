"""What clients see while PostgreSQL is away, and after it. Two instances over HTTP, and a PostgreSQL of their own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
import asyncpg
import httpx2
import pytest
from tests.serving.authorized import Client, all_listening, until
from tests.serving.outages import Stepped, make_server
from tests.serving.postgres_server import PostgresServer

from jackfield.serving import PostgresBackend, serve_sessions
from jackfield.serving.postgres_migration import migrate

pytestmark = pytest.mark.timeout(90)


@dataclass
class Pair:
    """Two instances, and a client of theirs that reads the standalone stream of the second."""

    urls: Sequence[str]
    http: httpx2.AsyncClient
    client: Client
    ran: list[str]
    may_end: anyio.Event
    heard: list[str] = field(default_factory=list[str])
    is_ended: anyio.Event = field(default_factory=anyio.Event)

    async def steps(self, stepped: Stepped, count: int) -> None:
        """Call a tool of the first instance that reports progress."""
        await stepped.call(self.http, self.client, self.urls[0], count=count)

    async def listen(self, is_open: anyio.Event) -> None:
        headers = self.client.headers() | {"accept": "text/event-stream"}
        async with self.http.stream("GET", self.urls[1], headers=headers) as response:
            assert response.status_code == 200
            async for line in response.aiter_lines():
                is_open.set()
                if line.startswith("data:") and line[5:].strip():
                    self.heard.append(json.loads(line[5:])["method"])
        self.is_ended.set()

    async def quick(self, url: str, number: str) -> httpx2.Response:
        return await self.client.request(url, "tools/call", {"name": "quick", "arguments": {}}, number=number)


@asynccontextmanager
async def pair(server: PostgresServer) -> AsyncGenerator[Pair]:
    await migrate(server.url)
    ran: list[str] = []
    may_end = anyio.Event()
    served = [serve_sessions(make_server(ran, may_end), PostgresBackend(server.url)) for _ in range(2)]
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(httpx2.AsyncClient(timeout=60))
        urls = [f"{url}/mcp" for url in await stack.enter_async_context(all_listening(served))]
        client = Client(http, None)
        await client.initialize(urls[0])
        one = Pair(urls, http, client, ran, may_end)
        async with anyio.create_task_group() as tasks:
            is_open = anyio.Event()
            tasks.start_soon(one.listen, is_open)
            await is_open.wait()
            yield one
            may_end.set()
            tasks.cancel_scope.cancel()


@pytest.mark.parametrize("how", ["paused", "killed"])
async def test_an_outage_in_mid_call(own_postgres: PostgresServer, how: str, own_clock: Callable[[], float]) -> None:
    async with pair(own_postgres) as it:
        stepped = Stepped()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.steps, stepped, 60)
            await until(lambda: len(stepped.progress) >= 3)
            if how == "paused":
                own_postgres.pause()
            else:
                own_postgres.kill()
            away_since = time.monotonic()
            refused = 0
            while time.monotonic() < away_since + 4:
                for url in it.urls:
                    begun = own_clock()
                    response = await it.quick(url, f"quick{refused}")
                    assert own_clock() - begun < 3
                    assert response.status_code == 503, response.text
                    assert int(response.headers["retry-after"]) >= 1
                    refused += 1
                await anyio.sleep(0.05)
            if how == "paused":
                own_postgres.resume()
            else:
                await anyio.to_thread.run_sync(own_postgres.restart)
            it.may_end.set()
        assert it.ran == ["steps"], "nothing that was refused was run"
        assert stepped.progress == list(range(60)), "whole, in order, each once"
        assert stepped.answer["result"]["content"][0]["text"] == "done"

        async def works_again() -> bool:
            return [(await it.quick(url, "again")).status_code for url in it.urls] == [200, 200]

        await until(works_again)
        for number in range(3):
            assert await it.client.call(it.urls[0], "change", number=f"change{number}") == "told"
        await until(lambda: len(it.heard) >= 3)
        assert it.heard == ["notifications/tools/list_changed"] * 3
        assert not it.is_ended.is_set()

        # An id that was refused can be used again, although PostgreSQL may have noted late that it runs.
        async def none_is_in_use() -> bool:
            answers = [await it.quick(it.urls[number % 2], f"quick{number}") for number in range(refused)]
            return {answer.status_code for answer in answers} == {200}

        await until(none_is_in_use, 20)


async def test_the_database_comes_back_with_an_older_state(own_postgres: PostgresServer) -> None:
    """As after a restore: the session is not there."""
    async with pair(own_postgres) as it:
        stepped = Stepped()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(it.steps, stepped, 30)
            await until(lambda: len(stepped.progress) >= 3)
            connection = await asyncpg.connect(own_postgres.url)
            tables = ", ".join(f"jackfield.{table}" for table in ("calls", "topics", "state", "logs", "events"))
            await connection.execute(f"truncate jackfield.sessions, jackfield.readers, {tables}")
            await connection.close()
            own_postgres.kill()
            await anyio.to_thread.run_sync(own_postgres.restart)
            # Nobody may wait for messages of a session that is gone.
            with anyio.fail_after(20):
                await it.is_ended.wait()
            it.may_end.set()
        assert stepped.progress == list(range(30))
        assert stepped.answer["result"]["content"][0]["text"] == "done"
        for url in it.urls:
            assert (await it.quick(url, "lost")).status_code == 404
        other = Client(it.http, None)
        await other.initialize(it.urls[0])
        assert await other.call(it.urls[1], "quick") == "quick"
