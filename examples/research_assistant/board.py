"""What Jackfield's events have said so far about each server. Knows nothing of screens."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field

from jackfield import (
    CallFinished,
    CallStarted,
    Event,
    SessionClosed,
    SessionFailed,
    SessionLost,
    SessionOpened,
    SessionOpening,
)

BUSY, OPEN, OPENING, NOTHING = "busy", "open", "opening", "nothing"


@dataclass
class Span:
    """A time in which a server was opening, open or busy. `end` is missing while it lasts."""

    kind: str
    start: float
    end: float | None = None


@dataclass
class ServerRecord:
    """One server's story."""

    name: str
    state: str = "not started"
    open_seconds: float = 0.0
    calls: int = 0
    spans: list[Span] = field(default_factory=list)

    def begin(self, kind: str, at: float) -> None:
        """A time of this kind starts."""
        self.spans.append(Span(kind, at))

    def finish(self, kind: str, at: float) -> None:
        """The oldest one of this kind that lasts is over."""
        for span in self.spans:
            if span.kind == kind and span.end is None:
                span.end = at
                return

    def timeline(self, start: float, end: float, cells: int) -> list[str]:
        """What there was of it in each of so many equal parts of the time, the most telling first."""
        step = (end - start) / cells or 1.0
        return [self._at(start + cell * step, start + (cell + 1) * step) for cell in range(cells)]

    def _at(self, start: float, end: float) -> str:
        kinds = {span.kind for span in self.spans if span.start < end and (span.end is None or span.end > start)}
        return next((kind for kind in (BUSY, OPENING, OPEN) if kind in kinds), NOTHING)


class Board:
    """All servers' records, kept up to date by `record`."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self.started_at = time.time()
        self.ended_at: float | None = None
        self.servers = {name: ServerRecord(name) for name in names}
        self.process_ids: set[int] = set()
        """Every process that a session was ever opened with."""

    @property
    def now(self) -> float:
        """The time up to which there is something to show."""
        return self.ended_at or time.time()

    def names(self, *states: str) -> list[str]:
        """The servers that are in one of these states."""
        return [server.name for server in self.servers.values() if server.state in states]

    def record(self, event: Event) -> None:
        """Take in one event."""
        server = self.servers[event.server_name]
        match event:
            case SessionOpening():
                server.state = "opening"
                server.begin(OPENING, event.at)
            case SessionOpened():
                server.state = "open"
                server.open_seconds += event.seconds
                server.finish(OPENING, event.at)
                server.begin(OPEN, event.at)
                if event.process_id is not None:
                    self.process_ids.add(event.process_id)
            case SessionFailed():
                server.state = "failed"
                server.finish(OPENING, event.at)
            case SessionLost():
                server.state = "lost"
            case SessionClosed():
                server.state = "closed"
                server.finish(OPEN, event.at)
            case CallStarted():
                server.calls += 1
                server.begin(BUSY, event.at)
            case CallFinished():
                server.finish(BUSY, event.at)
            case _:
                pass
