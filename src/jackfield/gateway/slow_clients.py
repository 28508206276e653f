"""`Patience`: ends the connections of clients that take too long, each of which holds a descriptor.

A client need not be known to open a connection and to send nothing, or a piece of a request now and then.
"""

from __future__ import annotations

import asyncio

from ..serving.inbound import BODY_SECONDS

REQUEST_SECONDS = BODY_SECONDS + 15.0
"""From the beginning of a connection, or of a request, until all of the request has come; a body that takes longer is
answered with 408 before."""

STALLED_SECONDS = 300.0
"""A client for which as much waits as so long ago has taken nothing. Not less, since the system says only after
megabytes that a slow one has taken something."""


MOST_WAITING = 1000
_SHARE_OF_DESCRIPTORS = 4
"""One in this many may be a connection whose request has not come."""


class WaitingClients:
    """The connections of a gateway whose requests have not come yet. The oldest of them make room for new ones: most
    requests come at once.

    Args:
        most: How many there may be; as many as the system's bound on descriptors suggests, if omitted.
    """

    def __init__(self, most: int | None = None) -> None:
        self._most = _most() if most is None else most
        self._waiting: dict[Patience, None] = {}

    def add(self, patience: Patience) -> None:
        """A request is awaited."""
        self._waiting[patience] = None
        if len(self._waiting) > self._most:
            oldest = next(iter(self._waiting))
            del self._waiting[oldest]
            oldest.give_up()

    def remove(self, patience: Patience) -> None:
        """It has come, or its connection has ended."""
        self._waiting.pop(patience, None)


def _most() -> int:
    try:
        import resource
    except ImportError:  # Windows
        return MOST_WAITING
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_WAITING if soft == resource.RLIM_INFINITY else max(1, min(MOST_WAITING, soft // _SHARE_OF_DESCRIPTORS))


class Patience:
    """Has it with one connection.

    Args:
        loop: Runs the connection.
        transport: Of the connection, which has just begun.
        waiting: All those of which a request is awaited.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport, waiting: WaitingClients | None = None
    ) -> None:
        self._loop = loop
        self._transport = transport
        self._waiting = waiting or WaitingClients(MOST_WAITING)
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self.received(is_whole=False)

    def received(self, *, is_whole: bool) -> None:
        """Something came in.

        Args:
            is_whole: No part of the request that it belongs to is missing.
        """
        if is_whole:
            self._no_more_awaited()
        elif self._receiving is None:
            self._receiving = self._loop.call_later(REQUEST_SECONDS, self.give_up)
            self._waiting.add(self)

    def _no_more_awaited(self) -> None:
        if self._receiving is not None:
            self._receiving = _cancelled(self._receiving)
            self._waiting.remove(self)

    def give_up(self) -> None:
        """End the connection, whatever is missing."""
        self._transport.abort()

    def paused(self) -> None:
        """The client has not taken what was sent, and too much waits for it."""
        _cancelled(self._sending)
        self._look_at(self._transport.get_write_buffer_size())

    def _look_at(self, waiting_bytes: int) -> None:
        self._sending = self._loop.call_later(STALLED_SECONDS, self._look, waiting_bytes)

    def _look(self, waited_bytes: int) -> None:
        waiting_bytes = self._transport.get_write_buffer_size()
        if waiting_bytes >= waited_bytes:
            self._transport.abort()
        else:
            self._look_at(waiting_bytes)

    def resumed(self) -> None:
        """The client has taken most of it."""
        self._sending = _cancelled(self._sending)

    def end(self) -> None:
        """The connection has ended."""
        self._no_more_awaited()
        self._sending = _cancelled(self._sending)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
