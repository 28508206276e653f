"""What a process holds, so that what is left at the end of a run can be named; and how late its event loop runs."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from dataclasses import dataclass

import psutil


@dataclass(frozen=True)
class Held:
    """Child processes, descriptors of sockets and pipes, and threads, each with what it is."""

    names: dict[str, str]

    @classmethod
    def now(cls) -> Held:
        """What there is now."""
        gc.collect()
        names: dict[str, str] = {}
        for child in psutil.Process().children(recursive=True):
            try:
                names[f"process {child.pid}"] = f"{child.status()}: {' '.join(child.cmdline()[:6])}"
            except psutil.Error:
                continue
        for descriptor in os.listdir("/proc/self/fd"):
            try:
                target = os.readlink(f"/proc/self/fd/{descriptor}")
            except OSError:
                continue  # The one that the listing itself used.
            if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
                names[f"descriptor {descriptor}, {target}"] = "open"
        names.update({f"thread {thread.ident}": thread.name for thread in threading.enumerate()})
        return cls(names)

    def left(self, seconds: float = 3.0) -> list[str]:
        """What is there now and was not then; waits for what is about to end."""
        deadline = time.monotonic() + seconds
        while (more := (now := Held.now().names).keys() - self.names.keys()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return sorted(f"{name} ({now[name]})" for name in more)


class Lateness:
    """How much later than asked the event loop ran its tasks, in seconds, all in all.

    A deadline that was missed because the machine was busy is not the fault of what is tested.
    """

    _STEP = 0.05

    def __init__(self) -> None:
        self.total = 0.0
        self._last = time.monotonic()

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            self._last = time.monotonic()
            await asyncio.sleep(self._STEP)
            self.total += max(time.monotonic() - self._last - self._STEP, 0.0)

    def now(self) -> float:
        """The total, with what the step under way is late by."""
        return self.total + max(time.monotonic() - self._last - self._STEP, 0.0)


async def tasks_left(before: set[asyncio.Task[object]], seconds: float = 3.0) -> list[str]:
    """The tasks that run now and did not then; waits for those that are about to end."""
    deadline = time.monotonic() + seconds
    while (more := asyncio.all_tasks() - before) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return sorted(f"task {task.get_name()}: {task.get_coro()!r}" for task in more)
