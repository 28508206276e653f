"""When servers start and end, and whose state they keep."""

from __future__ import annotations

import asyncio
import gc
from contextlib import AbstractAsyncContextManager
from typing import Any

from subject import Way, eventually
from trial import Seen, Trial, number_in, outcome, said


async def starts_only_what_is_called(trial: Trial, way: Way) -> Seen:
    """A server starts only when one of its tools is called (from the second run on)."""
    servers = [trial.unruly(name="one"), trial.unruly(name="other")]

    async def run() -> tuple[int, int, int]:
        async with way(servers) as subject:
            offered = await subject.tools()
            before = len(starts.seen)
            await subject.call(next((name for name in offered if name.endswith("count")), "count"))
            await asyncio.sleep(0.2)
            return before, len(starts.seen), len(offered)

    for _ in range(2):
        with trial.starts() as starts:
            figures = await outcome(run(), 30)
    if isinstance(figures, BaseException):
        return Seen(False, said(figures))
    seen = "{} of 2 started before the call, {} in all; {} tools in the prompt".format(*figures)
    return Seen(figures[1] == 1, seen)


async def child_ends_with_the_block(trial: Trial, way: Way) -> Seen:
    """The server's process has ended when the block exits, without an error."""
    async with way([trial.unruly()]) as subject:
        await subject.call("echo", {"text": "x"})
    gone = await eventually(lambda: not trial.running(), 5)
    del subject
    gc.collect()
    await asyncio.sleep(0.2)
    note = f"; logged: {trial.unraised[0]}" if trial.unraised else ""
    return Seen(gone and not note, ("no process remains" if gone else "its process still runs 5 s later") + note)


async def helper_ends_with_the_block(trial: Trial, way: Way) -> Seen:
    """So have processes that the server started, such as a browser."""
    async with way([trial.unruly("--helper", "group")]) as subject:
        await subject.call("echo", {"text": "x"})
    gone = await eventually(lambda: not trial.running(), 5)
    return Seen(gone, "no process remains" if gone else f"{len(trial.running())} still running 5 s later")


async def stubborn_child_is_killed(trial: Trial, way: Way) -> Seen:
    """A server that ignores the end of its stdin and SIGTERM is killed."""

    async def use() -> None:
        async with way([trial.unruly("--ignore-eof", "--ignore-sigterm")]) as subject:
            await subject.call("echo", {"text": "x"})

    ended = await outcome(use(), 30)
    gone = await eventually(lambda: not trial.running(), 5)
    note = f"; {said(ended)}" if isinstance(ended, BaseException) else ""
    return Seen(gone and not note, ("no process remains" if gone else "still running") + note)


async def left_in_another_task(trial: Trial, way: Way) -> Seen:
    """A block can be entered in one task and exited in another (web frameworks, test fixtures, pools)."""
    block = way([trial.unruly()])
    subject = await asyncio.create_task(enter(block))
    await subject.call("echo", {"text": "x"})
    left = await outcome(asyncio.create_task(block.__aexit__(None, None, None)))  # type: ignore[arg-type]
    gone = await eventually(lambda: not trial.running(), 5)
    del subject, block
    gc.collect()
    await asyncio.sleep(0.2)
    errors = [left] if isinstance(left, BaseException) else []
    notes = [said(error) for error in errors] + trial.unraised
    note = f"; {notes[0]}" if notes else ""
    return Seen(gone and not note, ("no process remains" if gone else "its process still runs 5 s later") + note)


async def enter(block: AbstractAsyncContextManager[Any]) -> Any:
    """Enter it in the task that runs this."""
    return await block.__aenter__()


async def ten_at_once_start_one(trial: Trial, visits: Any) -> Seen:
    """Ten tasks that request a user's session at the same time share one, and it is closed at the end."""
    with trial.starts() as starts:
        async with visits(trial.unruly("--start-delay", "0.3")) as visit:

            async def user() -> str:
                async with visit("ada") as subject:
                    await asyncio.sleep(1)
                    return number_in(await subject.call("pid"))

            pids = await outcome(asyncio.gather(*(user() for _ in range(10))), 30)
        gone = await eventually(lambda: not trial.running(), 5)
    if isinstance(pids, BaseException):
        return Seen(False, said(pids))
    left = "none remains" if gone else f"{len(trial.running())} still running 5 s later"
    return Seen(len(set(pids)) == 1 and len(starts.seen) == 1 and gone, f"{len(starts.seen)} started, {left}")


async def keeps_state(trial: Trial, way: Way) -> Seen:
    """State on the server (a page, a transaction) is kept until the next call."""
    async with way([trial.everything()]) as subject:
        counts = [number_in(await subject.call("count")) for _ in range(3)]
    return Seen(counts == ["1", "2", "3"], f"a counter said {', '.join(counts)}")


async def own_state_for_each_user(trial: Trial, visits: Any) -> Seen:
    """Two users of one client have separate state, and find it again when they return."""
    async with visits(trial.everything()) as visit:
        counts: list[str] = []
        for user in ("ada", "bob", "ada"):
            async with visit(user) as subject:
                counts.append(number_in(await subject.call("count")))
    return Seen(counts == ["1", "1", "2"], f"counters of Ada, Bob, Ada: {', '.join(counts)}")
