"""`Stopping`: how a served application stops on a signal, so that no request on its way is lost.

An ASGI server that gets SIGTERM closes its listening sockets immediately, and with them connections whose request it
has not read yet. A load balancer notices later. So the server gets the signal after a delay; until then, the
application answers everything as before, except that health checks find it not ready.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import threading
import time
from collections.abc import Callable, Generator
from types import FrameType
from typing import Any

from starlette.types import Message, Scope, Send

READY_PATH = "/ready"


class Stopping:
    """Whether an application is stopping.

    Args:
        drain: Begins to end what runs; called in the event loop.
        delay: Seconds between SIGTERM and that.
    """

    def __init__(self, drain: Callable[[], None], delay: float) -> None:
        self.drain: Callable[[], None] = drain
        self._delay = delay
        self._drain_at: float | None = None

    @property
    def has_begun(self) -> bool:
        """Whether no new requests should be sent here."""
        return self._drain_at is not None

    def begin(self) -> float:
        """Stop from now on; returns the seconds until the drain."""
        if self._drain_at is None:
            self._drain_at = time.monotonic() + self._delay
        return max(0.0, self._drain_at - time.monotonic())

    @contextlib.contextmanager
    def on_signal(self) -> Generator[None]:
        """While in this context, begin to stop on a signal, before the ASGI server does."""
        self._drain_at = None
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        handlers = {
            number: _Handler(self, before, loop)
            for number in (signal.SIGTERM, signal.SIGINT)
            if callable(before := signal.getsignal(number))
        }
        for number, handler in handlers.items():
            signal.signal(number, handler)
        try:
            yield
        finally:
            for number, handler in handlers.items():
                handler.close()
                if signal.getsignal(number) is handler:
                    signal.signal(number, handler.before)


class _Handler:
    """A signal handler in front of another one. The applications of one process stop together."""

    def __init__(
        self, stopping: Stopping, before: Callable[[int, FrameType | None], Any], loop: asyncio.AbstractEventLoop
    ) -> None:
        self.before = before
        self.stopping = stopping
        self._loop = loop
        self._is_waiting = False
        self._timer: asyncio.TimerHandle | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        # Another application may have put its own handler before this one, and still have it when this has ended.
        if self._loop.is_closed():
            self.before(number, frame)
            return
        delay = max(one.stopping.begin() for one in self._all())
        if number == signal.SIGTERM and delay and not self._is_waiting:
            self._is_waiting = True
            self._loop.call_soon_threadsafe(self._wait, delay, number, frame)
        else:
            # Also after Ctrl-C or a second SIGTERM: somebody is in a hurry.
            self._is_waiting = False
            self._loop.call_soon_threadsafe(self._drain)
            self._last(number, frame)

    def _all(self) -> list[_Handler]:
        return [self, *(self.before._all() if isinstance(self.before, _Handler) else ())]

    def _last(self, number: int, frame: FrameType | None) -> None:
        self._all()[-1].before(number, frame)

    def _wait(self, delay: float, number: int, frame: FrameType | None) -> None:
        self._timer = self._loop.call_later(delay, self._pass_on, number, frame)

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        if self._is_waiting:
            self._drain()
            self._last(number, frame)

    def _drain(self) -> None:
        for one in self._all():
            one.stopping.drain()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()


def closing(scope: Scope, send: Send) -> Send:
    """A `send` that tells the client to use another connection for its next request."""
    if scope.get("http_version") not in ("1.0", "1.1"):
        return send

    async def send_closing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message.get("headers", ()), (b"connection", b"close")]}
        await send(message)

    return send_closing
