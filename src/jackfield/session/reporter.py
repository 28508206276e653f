"""`SessionReporter`: reports a session's lifecycle as events, log records and counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import JackfieldError, ServerLimitError
from ..events import (
    Event,
    EventHub,
    LimitReached,
    ListingFailed,
    ListingProblem,
    RecoveryFailed,
    SessionClosed,
    SessionEvicted,
    SessionFailed,
    SessionLog,
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StreamRenewed,
    ToolsChanged,
)
from ..masking import masked
from .info import Totals, shortened

if TYPE_CHECKING:
    from ..transport.connection import Connection


class SessionReporter:
    """Reports on one session.

    Args:
        server_name: Its server.
        key: Its key.
        session_id: Its id.
        events: Gets the events.
        totals: Counts it.
    """

    def __init__(self, server_name: str, key: str | None, session_id: str, events: EventHub, totals: Totals) -> None:
        self.log: SessionLog = SessionLog(server_name, session_id)
        self._life = SessionLog(server_name)
        self.session_id: str = session_id
        self.about: dict[str, Any] = {"server_name": server_name, "key": key, "session_id": session_id}
        """What all its events tell."""
        self.session_errors: int = 0
        """How often it could not be opened, was lost, or could not be opened again."""
        self._events = events
        self._totals = totals
        self._started = self._lost_at = time.monotonic()

    def _emit(self, event: Callable[..., Event], **facts: Any) -> None:
        """Emit an event of the session; it is made only where anybody listens."""
        if self._events.is_heard:
            self._events.emit(event(**self.about, **facts))

    def _count_error(self) -> None:
        self.session_errors += 1
        self._totals.session_errors += 1

    def opening(self) -> None:
        """It is being opened for the first time."""
        self._emit(SessionOpening)

    def failed(self, error: JackfieldError) -> None:
        """It could not be opened at all."""
        seconds = time.monotonic() - self._started
        self._totals.failed += 1
        self._count_error()
        self._emit(SessionFailed, seconds=seconds, error=error)
        self._life.warning("Session could not be opened: %s: %s", self.session_id, error.message)

    def opened(self, connection: Connection, seconds: float) -> None:
        """It is open for the first time."""
        self._totals.opened += 1
        self._totals.open_times.add(seconds)
        self._emit(SessionOpened, **_details(connection), seconds=seconds)
        self._life.info("Session created: %s%s", self.session_id, _http_id(connection))

    def lost(self, error: JackfieldError, generation: int) -> None:
        """It ended without being closed here."""
        self._lost_at = time.monotonic()
        self._totals.lost += 1
        self._count_error()
        self._life.warning("Session lost: %s: %s", self.session_id, error.message)
        self._emit(SessionLost, error=error, generation=generation)

    def recovered(self, connection: Connection, *, generation: int, attempts: int, open_seconds: float) -> None:
        """It is open again."""
        seconds = time.monotonic() - self._lost_at
        self._totals.recoveries += 1
        self._totals.open_times.add(open_seconds)
        self._emit(SessionRecovered, **_details(connection), generation=generation, attempts=attempts, seconds=seconds)
        self._life.info("Session recovered: %s (generation %d)%s", self.session_id, generation, _http_id(connection))

    def recovery_failed(self, error: JackfieldError, attempts: int) -> None:
        """It could not be opened again for now."""
        self._count_error()
        self._life.warning("Session could not be recovered: %s: %s", self.session_id, error.message)
        self._emit(RecoveryFailed, error=error, attempts=attempts)

    def closed(self, reason: str, *, seconds_open: float, generation: int) -> None:
        """It is fully closed."""
        self._totals.closed += 1
        self._emit(SessionClosed, reason=reason, seconds_open=seconds_open, generation=generation)
        self._life.info("Session closed: %s (%s)", self.session_id, reason)

    def evicted(self, for_server: str, for_key: str | None, state_lost: bool) -> None:
        """It is closed to make room."""
        self._emit(SessionEvicted, for_server=for_server, for_key=for_key, state_lost=state_lost)

    def renewed(self, resumed: bool) -> None:
        """A stream of it broke and was opened again."""
        self.log.info("Stream renewed%s", " and resumed" if resumed else "")
        self._emit(StreamRenewed, resumed=resumed)

    def reached_limit(self, error: ServerLimitError) -> None:
        """The server went beyond a limit."""
        self.log.warning("%s", error.message)
        self._emit(LimitReached, error=error)

    def listing_problem(self, method: str, problems: Sequence[str]) -> None:
        """Something was wrong with a listing."""
        problems = masked(list(problems))
        text = "; ".join(problems)
        self.log.warning("The answer to %s is not as the protocol has it: %s", method, text)
        self._emit(ListingProblem, method=method, problems=problems)

    def listing_failed(self, method: str, error: JackfieldError) -> None:
        """Its listing could not be fetched."""
        self.log.warning("It could not be asked for its %s: %s", method.partition("/")[0], error.message)
        self._emit(ListingFailed, method=method, error=error)

    def tools_changed(self) -> None:
        """The server says that it offers other tools now."""
        self._emit(ToolsChanged)


def _details(connection: Connection) -> dict[str, Any]:
    return {
        "protocol_version": connection.client.protocol_version,
        "http_session_id": shortened(connection.report.http_session_id),
        "process_id": connection.report.process_id,
    }


def _http_id(connection: Connection) -> str:
    http_id = shortened(connection.report.http_session_id)
    return f", the server's id {http_id}..." if http_id else ""
