"""Waiting on pipes and sockets without an event loop, ended by signals."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Generator, Sequence
from types import FrameType

from ...transport.spawn import ENDING

_POLL_SECONDS = 0.05


class OutOfTimeError(Exception):
    """What is waited for did not happen in time."""


class NotConnectedError(OutOfTimeError):
    """There was no connection in time; nothing was sent."""


class Interrupts:
    """The signals that came, and a pipe that has something to read once one has."""

    def __init__(self) -> None:
        self.came: list[int] = []
        readable, self._writable = os.pipe()
        self.readable: int = readable
        """Has something to read once a signal came."""
        os.set_blocking(self._writable, False)
        self.is_ignored: bool = False

    def note(self, number: int, frame: FrameType | None) -> None:
        """Note a signal; a second Ctrl-C while the server is closed ends the waiting there."""
        self.came.append(number)
        with contextlib.suppress(OSError):
            os.write(self._writable, b"x")

    def check(self) -> None:
        """Raise what a signal stands for.

        Raises:
            KeyboardInterrupt: It was Ctrl-C.
            SystemExit: It was another.
        """
        if self.came and not self.is_ignored:
            raise KeyboardInterrupt if self.came[0] == signal.SIGINT else SystemExit(128 + self.came[0])

    def wait(self, readable: Sequence[int], writable: Sequence[int], until: float) -> tuple[list[int], list[int]]:
        """Wait until one of the descriptors is ready; returns those that are.

        While signals are ignored, a second one ends the waiting.

        Args:
            readable: Those to read from.
            writable: Those to write to.
            until: On the monotonic clock.

        Raises:
            OutOfTimeError: It is too late.
            KeyboardInterrupt: By Ctrl-C.
            SystemExit: By SIGTERM and SIGHUP.
        """
        while True:
            self.check()
            left = until - time.monotonic()
            if left <= 0 or len(self.came) > 1:
                raise OutOfTimeError
            if self.is_ignored:
                ready = select.select(readable, writable, [], min(left, _POLL_SECONDS))
            else:
                ready = select.select([*readable, self.readable], writable, [], left)
            self.check()
            if ready[0] or ready[1]:
                return ready[0], ready[1]

    def close(self) -> None:
        """Free the pipe."""
        os.close(self.readable)
        os.close(self._writable)


@contextlib.contextmanager
def noted_interrupts() -> Generator[Interrupts]:
    """Note signals inside; one that nothing has waited for is raised at the end."""
    interrupts = Interrupts()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
    # One that is ignored, such as by nohup, stays so.
    mine = [number for number, handler in before.items() if handler not in (signal.SIG_IGN, None)]
    for number in mine:
        signal.signal(number, interrupts.note)
    try:
        yield interrupts
        interrupts.is_ignored = False
        interrupts.check()
    finally:
        for number in mine:
            signal.signal(number, before[number])
        interrupts.close()
