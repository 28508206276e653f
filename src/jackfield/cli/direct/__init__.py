"""Speaks to a server without the SDK, the models and an event loop: importing these takes most of a call.

Only a server whose protocol version the catalog knows, and whose entry has no settings, is spoken to like this, and
only as far as it does what is usual. What is not raises `LeftError` as long as nothing was asked that may have taken
effect; the session of the library then asks again (`live`). What goes wrong later is told in the library's own words,
which are imported for that.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...config.launch import Launch
from ...errors import JackfieldError
from ..kept import run_kept
from ..targets import Target, known_version
from .interrupts import Interrupts, noted_interrupts
from .session import DirectSession
from .wire import NotDirectError, Wire

if TYPE_CHECKING:
    from ...config.endpoint import Endpoint
    from ..request_steps import ProgressListener, Request, Result, Steps


class LeftError(Exception):
    """The server does something that is left to the session of the library.

    Args:
        request: What the steps wait for an answer to.
    """

    def __init__(self, request: Request) -> None:
        super().__init__(request.method)
        self.request = request


def run_direct(
    target: Target,
    place: Launch | Endpoint,
    first: Request,
    steps: Steps,
    *,
    deadline: float | None,
    on_progress: ProgressListener | None,
) -> Result:
    """Open the server, make the steps, close it; returns their results.

    Args:
        target: The server.
        place: How its program is started, or where it is.
        first: What the steps ask first.
        steps: What to ask of it after that.
        deadline: Of all, on the monotonic clock.
        on_progress: Gets the progress of tool calls.

    Raises:
        LeftError: Something is not as usual, and nothing was asked that may have taken effect.
        JackfieldError: As the steps.
        KeyboardInterrupt: By Ctrl-C, after the server is fully closed.
        SystemExit: By SIGTERM and SIGHUP, likewise.
    """
    asked = _Asked(first, steps)
    try:
        with noted_interrupts() as interrupts:
            session = DirectSession(target, _wire(target, place, interrupts), known_version(target), deadline)
            try:
                session.shake_hands()
                return run_kept(session, asked.steps(), timeout=None, on_progress=on_progress)
            finally:
                interrupts.is_ignored = True
                session.close()
    except NotDirectError:
        raise LeftError(asked.request) from None


def _wire(target: Target, place: Launch | Endpoint, interrupts: Interrupts) -> Wire:
    if isinstance(place, Launch):
        from .program import ProgramWire

        return ProgramWire(target, place, interrupts)
    from .http import HttpWire

    return HttpWire(target, place, interrupts)


class _Asked:
    """Steps that have been asked for a request already; they are left as they are if that is not answered here."""

    def __init__(self, request: Request, steps: Steps) -> None:
        self.request = request
        """The one without an answer."""
        self._steps = steps

    def steps(self) -> Steps:
        """The steps, from that request on."""
        try:
            while True:
                try:
                    answer = yield self.request
                except JackfieldError as error:
                    self.request = self._steps.throw(error)
                else:
                    self.request = self._steps.send(answer)
        except StopIteration as end:
            return end.value
