"""`Faults`: which servers could not be opened when they were last tried: since when, why, and what they wrote."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import JackfieldError, one_line
from ...events import Event, RecoveryFailed, SessionFailed, SessionOpened, SessionRecovered
from ...masking import mask

_TEXT_CHARS = 500
_STDERR_CHARS = 4000


@dataclass(frozen=True)
class Fault:
    """A server that cannot be opened."""

    since: float
    """When it failed for the first time since it was open last, in seconds since the epoch."""
    why: str
    """The reason of the last failure."""
    stderr: str | None
    """What it wrote there last, if it is a process."""


class Faults:
    """Takes the events of a session manager."""

    def __init__(self) -> None:
        self._of_server: dict[str, Fault] = {}

    def event(self, event: Event) -> None:
        """Note an event, if it is about opening a session."""
        match event:
            case SessionOpened() | SessionRecovered():
                self._of_server.pop(event.server_name, None)
            case SessionFailed() | RecoveryFailed():
                before = self._of_server.get(event.server_name)
                self._of_server[event.server_name] = _fault(event.at if before is None else before.since, event.error)
            case _:
                pass

    def of(self, server_name: str) -> Fault | None:
        """That of one server."""
        return self._of_server.get(server_name)


def _fault(since: float, error: JackfieldError) -> Fault:
    output = error.server_output
    stderr = None if output is None else mask(output[-_STDERR_CHARS:], is_cut=True)
    return Fault(since, one_line(mask(error.message), _TEXT_CHARS), stderr)
