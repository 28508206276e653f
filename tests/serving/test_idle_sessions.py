"""What a session costs that nobody uses, and what is left of those that ended."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
import weakref
from collections import deque

import pytest
from mcp.server.lowlevel.server import Server
from tests.daily import daily
from tests.serving.contract.conftest import memory
from tests.serving.instances import two

from jackfield.serving import serve_sessions

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


class Cycle:
    """What refers to itself, as a session with a server does."""

    def __init__(self) -> None:
        self.itself = self


async def test_reference_cycles_that_lived_for_a_while_do_not_pile_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gc, "get_freeze_count", lambda: 0)
    thresholds = gc.get_threshold()
    alive: weakref.WeakSet[Cycle] = weakref.WeakSet()
    in_use: deque[Cycle] = deque(maxlen=10_000)
    most = 0
    async with serve_sessions(Server("empty")).lifespan():
        for number in range(120_000):
            in_use.append(Cycle())
            alive.add(in_use[-1])
            if number % 500 == 0:
                most = max(most, len(alive))
    # With the defaults of Python, it is 56,000.
    assert most < 35_000
    assert gc.get_threshold() == thresholds
