"""Ctrl-C and SIGTERM end a gateway in good order: what it serves first, then all servers behind it."""

from __future__ import annotations

import signal
from collections.abc import Awaitable, Callable

import anyio


async def until_signalled(serve: Callable[[], Awaitable[None]], stop: Callable[[], None] | None = None) -> int | None:
    """Serve until it ends by itself or a signal comes; returns the signal's number, if one came.

    Args:
        serve: Does it.
        stop: Called on a signal, whereupon `serve` ends by itself; it is cancelled if omitted.
    """
    received: int | None = None
    async with anyio.create_task_group() as tasks:
        listening = anyio.Event()

        async def watch() -> None:
            nonlocal received
            with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
                listening.set()
                async for number in signals:
                    received = received or int(number)
                    (stop or tasks.cancel_scope.cancel)()

        tasks.start_soon(watch)
        await listening.wait()
        await serve()
        tasks.cancel_scope.cancel()
    return received
