"""Ctrl-C and SIGTERM end a gateway in good order: what it serves first, then all servers behind it. SIGHUP has it read
its configuration again."""

from __future__ import annotations

import os
import signal
from collections.abc import Awaitable, Callable

import anyio


async def until_signalled(
    serve: Callable[[], Awaitable[None]],
    stop: Callable[[int], None] | None = None,
    reload: Callable[[], Awaitable[None]] | None = None,
) -> int | None:
    """Serve until it ends by itself or a signal comes; returns the signal's number, if one came.

    Args:
        serve: Does it.
        stop: Called with each signal, whereupon `serve` ends by itself; it is cancelled if omitted.
        reload: Called on SIGHUP. If omitted, or when the terminal is gone, that ends it like the others.
    """
    received: int | None = None
    had_terminal = _has_terminal()
    async with anyio.create_task_group() as tasks:
        listening = anyio.Event()

        async def watch() -> None:
            nonlocal received
            reloads = () if reload is None else (signal.SIGHUP,)
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, *reloads) as signals:
                listening.set()
                async for number in signals:
                    if number == signal.SIGHUP and reload is not None and _has_terminal() == had_terminal:
                        await reload()
                        continue
                    received = received or int(number)
                    if stop is None:
                        tasks.cancel_scope.cancel()
                    else:
                        stop(int(number))

        tasks.start_soon(watch)
        await listening.wait()
        await serve()
        tasks.cancel_scope.cancel()
    return received


def _has_terminal() -> bool:
    """Whether there is a terminal that could close, which is told by SIGHUP, too."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True
