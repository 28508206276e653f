"""The operations of a call on each store, one after another: claim, release, append, and until an append is heard.

A release waits up to 5 ms for what is asked next, since no client waits for it; here nothing is.
Redis keeps nothing on disk here, and PostgreSQL commits with `fsync` off, so that no disk is measured.

    python -m benchmarks.serving.operations [--times 500]
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack

from tests.serving.cluster.backends import backend_of
from tests.serving.cluster.cluster import running_store

from jackfield.serving import Backend, RunningCall, ServingLimits, SessionRecord, StreamEvent
from jackfield.serving.streams import STANDALONE

STORES = ("memory", "redis", "postgres")
LIMITS = ServingLimits()
MESSAGE = '{"jsonrpc":"2.0","id":1,"result":"' + "x" * 500 + '"}'
HEARD_SECONDS = 10.0

Operation = Callable[[int], Awaitable[object]]


async def operations(backend: Backend, other: Backend) -> tuple[dict[str, Operation], AsyncExitStack]:
    """The operations by name, on a session of their own; the stack ends what hears of them."""
    sessions, streams = backend.sessions, backend.streams
    await sessions.create(SessionRecord("s1", {"clientInfo": {"name": "x" * 300}}, "2025-11-25"), LIMITS)
    heard = asyncio.Event()

    def take(events: object) -> None:
        heard.set()

    stack = AsyncExitStack()
    await stack.enter_async_context(other.streams.listen("s1", STANDALONE, take))

    def call(number: int) -> RunningCall:
        return RunningCall(str(number), "one", f"stream{number}")

    async def until_heard(number: int) -> None:
        heard.clear()
        await streams.append("s1", STANDALONE, [MESSAGE])
        async with asyncio.timeout(HEARD_SECONDS):
            await heard.wait()

    async def read(number: int) -> None:
        [event] = await streams.read("s1", f"stream{number}", 1)
        assert event == StreamEvent(2, MESSAGE, is_final=True)

    return {
        "claim": lambda number: sessions.claim("s1", None, call(number), LIMITS),
        "append": lambda number: streams.append("s1", f"stream{number}", [""]),
        "append answer": lambda number: streams.append("s1", f"stream{number}", [MESSAGE], is_final=True),
        "read": read,
        "release": lambda number: sessions.release("s1", call(number)),
        "append, heard by another": until_heard,
    }, stack


async def run(times: int) -> None:
    """Measure all stores in turn, call by call, so that each has its share of a busy machine."""
    took: dict[str, dict[str, list[float]]] = {}
    async with AsyncExitStack() as stack:
        subjects: dict[str, dict[str, Operation]] = {}
        for name in STORES:
            url = await stack.enter_async_context(running_store(name))
            one = backend_of(url) or Backend()
            other = one if url == "memory" else backend_of(url) or Backend()
            for backend in dict.fromkeys((one, other)):
                await stack.enter_async_context(backend.sessions.open(ttl=600))
                await stack.enter_async_context(backend.streams.open(ttl=600, log_events=1000, log_bytes=8_000_000))
            subjects[name], hearing = await operations(one, other)
            await stack.enter_async_context(hearing)
            took[name] = {operation: [] for operation in subjects[name]}
        for number in range(times + 20):
            for name, of_store in subjects.items():
                for operation, run_one in of_store.items():
                    begun = time.perf_counter()
                    await run_one(number)
                    if number >= 20:
                        took[name][operation].append((time.perf_counter() - begun) * 1000)
    print(f"p50 (p95) in ms of {times}")
    print(f"{'':26}" + "".join(f"{name:>18}" for name in STORES))
    for operation in took[STORES[0]]:
        cells = [sorted(took[name][operation]) for name in STORES]
        shown = [f"{statistics.median(cell):.2f} ({cell[int(len(cell) * 0.95)]:.2f})" for cell in cells]
        print(f"{operation:26}" + "".join(f"{cell:>18}" for cell in shown))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=500)
    asyncio.run(run(parser.parse_args().times))


if __name__ == "__main__":
    main()
