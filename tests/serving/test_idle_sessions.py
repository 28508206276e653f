"""What a session costs that nobody uses."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc

from tests.daily import daily
from tests.serving.contract.conftest import memory
from tests.serving.instances import two

_SESSIONS = daily(100, whole=300)


async def test_an_idle_session_costs_no_task_and_little_memory() -> None:
    async with two(memory(None)) as both:  # type: ignore[arg-type]
        for url in both.urls:
            session = await both.session(url)
            await session.call(url, "where")
        gc.collect()
        tasks = len(asyncio.all_tasks())
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        for number in range(_SESSIONS // 10):
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(both.session(both.urls[number % 2]))
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(await both.served[0].host.sessions.live()) == _SESSIONS + 2
        assert (after - before) / _SESSIONS < 16 * 1024
        assert len(asyncio.all_tasks()) <= tasks + 20  # connections of the client
