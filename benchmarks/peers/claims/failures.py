"""What happens when a server does not start, or dies."""

from __future__ import annotations

import asyncio
import os
import signal
import time
import traceback
from typing import Any

from subject import MARK, NoEndError, Server, Way
from trial import WORK, Seen, Trial, is_on, outcome, said, words_of


async def start_is_bounded(trial: Trial, way: Way) -> Seen:
    """By default, opening a server that never answers ends with a timeout."""

    async def use() -> object:
        async with way([trial.unruly("--silent")]) as subject:
            return await subject.tools()

    started = time.monotonic()
    ended = await outcome(use(), 45)
    seconds = time.monotonic() - started
    if isinstance(ended, NoEndError):
        return Seen(False, f"{ended}")
    return Seen(isinstance(ended, Exception), f"after {seconds:.0f} s: {said(ended)}")


async def failed_start_says_why(trial: Trial, way: Way) -> Seen:
    """If a server does not start, the error contains its stderr output."""
    code = "import sys; print('no such', 'database', file=sys.stderr); sys.exit(3)"

    async def use() -> object:
        async with way([trial.python_server("-c", code)]) as subject:
            return await subject.tools()

    ended = await outcome(use(), 45)
    if not isinstance(ended, Exception):
        return Seen(False, "it seemed to start")
    return Seen("no such database" in "".join(traceback.format_exception(ended)), said(ended))


async def one_that_fails_spares_the_others(trial: Trial, way: Way) -> Seen:
    """If one of two servers cannot be started, the tools of the other are still available."""

    async def use() -> Any:
        broken = Server("broken", "no-such-command", ["x"], {MARK: f"{trial.token}/broken"})
        async with way([broken, trial.unruly()]) as subject:
            names = await subject.tools()
            return await subject.call(next(name for name in names if name.endswith("echo")), {"text": "on"})

    answer = await outcome(use(), 60)
    return Seen(is_on(answer), "answered" if is_on(answer) else words_of(answer))


async def crash_is_told_at_once(trial: Trial, way: Way) -> Seen:
    """If a server dies during a call, the caller gets an error immediately."""
    async with way([trial.unruly()]) as subject:
        started = time.monotonic()
        answer = await outcome(subject.call("crash", {"code": 1}), 60)
        seconds = time.monotonic() - started
    if isinstance(answer, NoEndError):
        return Seen(False, str(answer))
    return Seen(seconds < 5, words_of(answer))


async def goes_on_after_a_crash(trial: Trial, way: Way) -> Seen:
    """If a server is killed between two calls, the next call restarts it."""
    async with way([trial.everything()]) as subject:
        await subject.call("echo", {"text": "x"})
        for process in trial.running():
            os.kill(process, signal.SIGKILL)
        await asyncio.sleep(0.5)
        answer = await outcome(subject.call("echo", {"text": "on"}), 20)
    return Seen(is_on(answer), "answered" if is_on(answer) else words_of(answer))


async def goes_on_after_a_restart(trial: Trial, way: Way) -> Seen:
    """If a remote server restarts and forgets the session, the next call succeeds."""
    async with (
        trial.remote(trial.driver.remote, "--fault", "crash", "--when", "idle") as server,
        way([server]) as subject,
    ):
        await outcome(subject.call("work", WORK), 20)
        await asyncio.sleep(1)
        answer = await outcome(subject.call("work", {**WORK, "n": 2}), 20)
    ok = "work 2" in getattr(answer, "text", "")
    return Seen(ok, "answered" if ok else words_of(answer))
