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


class Patience:
    """Has it with one connection.

    Args:
        loop: Runs the connection.
        transport: Of the connection, which has just begun.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, transport: asyncio.Transport) -> None:
        self._loop = loop
        self._transport = transport
        self._receiving: asyncio.TimerHandle | None = None
        self._sending: asyncio.TimerHandle | None = None
        self.received(is_whole=False)

    def received(self, *, is_whole: bool) -> None:
        """Something came in.

        Args:
            is_whole: No part of the request that it belongs to is missing.
        """
        if is_whole:
            self._receiving = _cancelled(self._receiving)
        elif self._receiving is None:
            self._receiving = self._loop.call_later(REQUEST_SECONDS, self._transport.abort)

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
        self._receiving, self._sending = _cancelled(self._receiving), _cancelled(self._sending)


def _cancelled(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()
