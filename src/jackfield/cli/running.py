"""Runs what opens servers, so that whatever ends the command closes them first."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ..transport.spawn import ENDING

_T = TypeVar("_T")


def run(job: Callable[[], Awaitable[_T]]) -> _T:
    """Run a job on a new event loop.

    Raises:
        KeyboardInterrupt: By Ctrl-C, after everything that the job opened is closed.
        SystemExit: By SIGTERM and SIGHUP, likewise.
    """
    came: list[int] = []

    async def main() -> _T:
        task = asyncio.current_task()
        assert task
        loop = asyncio.get_running_loop()

        def cancel(number: int) -> None:
            if number == signal.SIGINT and came:
                # By itself asyncio would raise it wherever the loop is just then: what is broken off in the middle of a
                # step would be waited for in vain. Here it comes up between two steps.
                raise KeyboardInterrupt
            came.append(number)
            task.cancel()

        for number in (signal.SIGINT, *ENDING):
            # One that is ignored, such as by nohup, stays so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, cancel, number)
        return await job()

    try:
        return asyncio.run(main())
    except asyncio.CancelledError:
        if came[:1] == [signal.SIGINT]:
            raise KeyboardInterrupt from None
        raise SystemExit(128 + came[0] if came else 1) from None
