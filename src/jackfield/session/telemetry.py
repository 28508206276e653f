"""What is told of a session: events, log records and counters (`SessionReporter`), spans, and how it stands now
(`SessionInfo`; `ManagerStats` of all that a manager opened).

Spans of OpenTelemetry for opening and calling are children of the caller's span. The SDK makes a client span of its own
for every request and tells the server its trace context; ours is around it, and covers waiting, recovery and repetition
as well.

Source: SEP-414 (trace context in `_meta`); OpenTelemetry semantic conventions for MCP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from types import ModuleType
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
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StreamRenewed,
    ToolsChanged,
)
from ..logs import SessionLog
from ..masking import masked
from .lifecycle import StateName

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer

    from ..transport.connection import Connection


@dataclass(frozen=True)
class SessionInfo:
    """How one live session stands."""

    session_id: str
    """Its id, the same in all its events and log lines, recoveries included."""
    server_name: str
    key: str | None
    """Whose session it is; `None` for a private one."""
    state: StateName
    """`recovering`: being opened again after a loss; `lost`: that failed, and the next call tries once more."""
    state_since: float
    """When it came into this state, in seconds since the epoch."""
    protocol_version: str | None
    http_session_id: str | None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None
    generation: int
    """How often it was opened: 1, and one more for each recovery."""
    opened_at: float | None
    """When it was open for the first time, in seconds since the epoch; `None` if it was not yet."""
    last_used_at: float
    """Seconds since the epoch."""
    calls: int
    """Tool calls that were made."""
    errors: int
    """Calls that ended without a result, or with a tool's own error."""
    session_errors: int
    """How often it was lost, or could not be opened again."""
    in_flight: int
    """Requests under way."""
    leases: int
    """How many have it open now."""


def shortened(session_id: str | None) -> str | None:
    """A session id for display: anyone who has the whole id can use the session."""
    return session_id[:8] if session_id else None


@dataclass
class Timing:
    """How long something took, in seconds."""

    count: int = 0
    total: float = 0.0
    longest: float = 0.0

    def add(self, seconds: float) -> None:
        """Take in one more."""
        self.count += 1
        self.total += seconds
        self.longest = max(self.longest, seconds)

    @property
    def mean(self) -> float:
        """Average seconds; 0 if there was none."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True)
class ManagerStats:
    """The current state of a manager, and its activity so far. Times are in seconds."""

    users: int
    """Keys that have a session now."""
    sessions: int
    """Sessions open or opening now."""
    active: int
    """Sessions open now."""
    in_flight: int
    """Requests under way now."""
    max_sessions: int
    opened: int
    failed: int
    """Openings that failed."""
    closed: int
    lost: int
    recoveries: int
    calls: int
    errors: int
    """Calls that ended without a result, or with a tool's own error."""
    session_errors: int
    """Sessions that could not be opened, were lost, or could not be opened again for the time being."""
    retries: int
    """Calls made once more."""
    mean_open_seconds: float
    longest_open_seconds: float
    mean_call_seconds: float
    longest_call_seconds: float


@dataclass
class Totals:
    """Counted since the manager was made, by the sessions themselves."""

    opened: int = 0
    failed: int = 0
    closed: int = 0
    lost: int = 0
    recoveries: int = 0
    calls: int = 0
    errors: int = 0
    session_errors: int = 0
    retries: int = 0
    open_times: Timing = field(default_factory=Timing)
    call_times: Timing = field(default_factory=Timing)

    def stats(self, infos: Sequence[SessionInfo], max_sessions: int) -> ManagerStats:
        """The figures of a manager with these totals and sessions.

        Args:
            infos: The sessions that it has now.
            max_sessions: How many it may have.
        """
        return ManagerStats(
            users=len({info.key for info in infos if info.key is not None}),
            sessions=len(infos),
            active=sum(info.state == "open" for info in infos),
            in_flight=sum(info.in_flight for info in infos),
            max_sessions=max_sessions,
            opened=self.opened,
            failed=self.failed,
            closed=self.closed,
            lost=self.lost,
            recoveries=self.recoveries,
            calls=self.calls,
            errors=self.errors,
            session_errors=self.session_errors,
            retries=self.retries,
            mean_open_seconds=self.open_times.mean,
            longest_open_seconds=self.open_times.longest,
            mean_call_seconds=self.call_times.mean,
            longest_call_seconds=self.call_times.longest,
        )


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


_NO_SPAN = nullcontext(None)


@cache
def _tracing() -> ModuleType:
    # Imported late: it costs half as much as all else that a program needs that opens nothing.
    from opentelemetry import trace

    return trace


def span(name: str, server_name: str) -> AbstractContextManager[Span | None]:
    """A span around the block; an exception ends it with an error status. Does nothing without tracing."""
    trace = _tracing()
    if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
        return _NO_SPAN
    return _span(trace.get_tracer("jackfield"), name, server_name)


@contextmanager
def _span(tracer: Tracer, name: str, server_name: str) -> Generator[Span]:
    with tracer.start_as_current_span(name, attributes={"mcp.server.name": server_name}) as current:
        try:
            yield current
        except JackfieldError as error:
            mark_failed(current, error)
            raise


def mark_failed(current: Span | None, error: JackfieldError) -> None:
    """End in an error, by its code: its text may quote the server at length."""
    from opentelemetry.trace import StatusCode

    if current is not None:
        current.set_attribute("error.type", error.code)
        current.set_status(StatusCode.ERROR, error.message)
