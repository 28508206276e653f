"""Runs in the environment of a contestant and does what it is told there, a line of JSON at a time.

    python worker.py WAY                  where WAY is MODULE:NAME, such as raw_sdk:handshake
    python worker.py WAY --once SERVER    one job as a whole process: open, call, print, close

Standard library only, for all that a contestant does not bring itself. It lives as long as the run, so that the
contestants can be measured in turns.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "contestants"), str(HERE / "peers")]

from subject import Driver, Server, Subject, running  # noqa: E402

if str(HERE) in sys.path:
    sys.path.remove(str(HERE))  # the folder of this file, whose names are nobody's business here


class Worker:
    """One contestant at work."""

    def __init__(self, way: str, token: str) -> None:
        module, _, name = way.partition(":")
        self.module = importlib.import_module(module)
        found = getattr(self.module, name or "DRIVER")
        self.way = found.ways[""] if isinstance(found, Driver) else found
        self.token = token
        self.block: AbstractAsyncContextManager[Subject] | None = None
        self.subject: Subject | None = None
        self.jobs = 0
        self.at_first = 0

    def begin(self) -> None:
        """Of a job whose memory is told: beyond what was there before the second, for the first loads what all need."""
        gc.collect()
        self.jobs += 1
        if self.jobs <= 2:
            self.at_first = memory()

    async def open(self, servers: list[dict[str, Any]]) -> None:
        """Open a subject that stays."""
        self.block = self.way([Server(**server) for server in servers])
        self.subject = await self.block.__aenter__()

    async def close(self) -> float:
        """Close it: seconds."""
        assert self.block
        started = time.perf_counter()
        await self.block.__aexit__(None, None, None)
        self.block = self.subject = None
        return time.perf_counter() - started

    async def call(self, tool: str, arguments: Mapping[str, Any], count: int, at_once: int) -> float:
        """Seconds a call, of so many, so many of them at once."""
        gc.collect()
        return await self._called(tool, arguments, count, at_once)

    async def _called(self, tool: str, arguments: Mapping[str, Any], count: int, at_once: int) -> float:
        assert self.subject
        if at_once == 1:
            started = time.perf_counter()
            for _ in range(count):
                await self.subject.call(tool, arguments)
            return (time.perf_counter() - started) / count
        started = time.perf_counter()
        for _ in range(count // at_once):
            await asyncio.gather(*(self.subject.call(tool, arguments) for _ in range(at_once)))
        return (time.perf_counter() - started) / (count // at_once * at_once)

    async def call_costs(self, tool: str, arguments: Mapping[str, Any], count: int, at_once: int) -> dict[str, float]:
        """Seconds a call, and CPU seconds of this process."""
        gc.collect()
        cpu = time.process_time()
        seconds = await self._called(tool, arguments, count, at_once)
        return {"seconds": seconds, "cpu": (time.process_time() - cpu) / (count // at_once * at_once)}

    async def listing_costs(self) -> dict[str, float]:
        """Seconds of a listing of tools, and CPU seconds of this process."""
        assert self.subject
        gc.collect()
        started, cpu = time.perf_counter(), time.process_time()
        await self.subject.tools()
        return {"seconds": time.perf_counter() - started, "cpu": time.process_time() - cpu}

    async def answer(self, tool: str, arguments: Mapping[str, Any]) -> str:
        """What a call gives, to see that it is what it should be."""
        assert self.subject
        answer = await self.subject.call(tool, arguments)
        if answer.is_error:
            raise RuntimeError(answer.text)
        return answer.text[-2000:] if len(answer.text) > 2000 else answer.text

    async def once(
        self, servers: list[dict[str, Any]], tool: str, arguments: Mapping[str, Any], *, listed: bool = False
    ) -> dict[str, float]:
        """Open, call (or list the tools of all), close: seconds to the result and to the end, bytes that it took."""
        self.begin()
        started = time.perf_counter()
        async with self.way([Server(**server) for server in servers]) as subject:
            if listed:
                await subject.tools()
            else:
                answer = await subject.call(tool, arguments)
                if answer.is_error:
                    raise RuntimeError(answer.text)
            first = time.perf_counter() - started
            held = memory() - self.at_first
        return {"first": first, "whole": time.perf_counter() - started, "bytes": held}

    async def crowd(
        self, server: dict[str, Any], count: int, tool: str, arguments: Mapping[str, Any]
    ) -> dict[str, float]:
        """So many sessions with one server: seconds until each had a result, and for a call of each at once."""
        self.begin()
        started = time.perf_counter()
        async with self.module.crowd(Server(**server), count) as subjects:
            await asyncio.gather(*(subject.call(tool, arguments) for subject in subjects))
            opened = time.perf_counter() - started
            held = memory() - self.at_first
            started = time.perf_counter()
            await asyncio.gather(*(subject.call(tool, arguments) for subject in subjects))
            called = time.perf_counter() - started
        return {"opened": opened, "called": called, "bytes": held}

    async def cycles(self, server: dict[str, Any], count: int, at_once: int, tool: str, arguments: Any) -> None:
        """Open, call and close so many times, in so many tasks."""
        left = iter(range(count))

        async def some() -> None:
            for _ in left:
                async with self.way([Server(**server)]) as subject:
                    await subject.call(tool, arguments)

        await asyncio.gather(*(some() for _ in range(at_once)))

    async def standing(self) -> dict[str, float]:
        """What this process holds now."""
        await asyncio.sleep(0.2)
        gc.collect()
        return {
            "processes": len(running(self.token)),
            "file descriptors": len(os.listdir("/proc/self/fd")) - 1,
            "tasks": len(asyncio.all_tasks()),
            "threads": threading.active_count(),
            "memory": memory() / 1e6,
        }


def memory() -> int:
    """Bytes that this process has in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


async def serve(worker: Worker, answers: Any) -> None:
    """Answer each line with a line, until there is none."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        order = json.loads(line)
        try:
            result = {"result": await getattr(worker, order.pop("do"))(**order)}
        except Exception as error:
            while isinstance(error, BaseExceptionGroup):
                error = error.exceptions[0]
            result = {"error": " ".join(f"{type(error).__name__}: {error}".split())[:200]}
        answers.write(json.dumps(result) + "\n")
        answers.flush()


async def job(worker: Worker, server: dict[str, Any]) -> None:
    """What a script does that needs one result."""
    async with worker.way([Server(**server)]) as subject:
        print((await subject.call("work", {"n": 1, "seconds": 0, "bytes": 0})).text)


def main() -> None:
    """Read the command line."""
    if "--once" in sys.argv:
        asyncio.run(job(Worker(sys.argv[1], ""), json.loads(sys.argv[3])))
        return
    # What a contestant prints is not to come between.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(sys.argv[1], sys.argv[2])
    answers.write('{"result": "ready"}\n')
    answers.flush()
    asyncio.run(serve(worker, answers))
    os._exit(0)  # what a contestant leaves behind may never end


if __name__ == "__main__":
    main()
