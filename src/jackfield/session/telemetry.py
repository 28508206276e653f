"""Reports about a session: events, logs and counters (`SessionReporter`), and spans and metrics of OpenTelemetry.

Spans for opening and for requests are children of the caller's span. The SDK makes a client span of its own for every
request and tells the server its trace context; ours is around it, and covers waiting, recovery and repetition as well.

Source: SEP-414 (trace context in `_meta`); OpenTelemetry semantic conventions for MCP.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..config.servers import BaseServerConfig
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
from .figures import ManagerStats, SessionInfo, shortened
from .spans import NotObserved, Observed, Operation, error_type, made_histogram, server_labels, traced_span, tracing

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from ..transport.connection import Connection


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


_NO_SPAN = nullcontext(None)


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
        self.log.warning("The answer to %s does not conform to the protocol: %s", method, text)
        self._emit(ListingProblem, method=method, problems=problems)

    def listing_failed(self, method: str, error: JackfieldError) -> None:
        """Its listing could not be fetched."""
        self.log.warning("Its %s could not be listed: %s", method.partition("/")[0], error.message)
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


def _is_traced() -> bool:
    trace = tracing()
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def _is_metered() -> bool:
    from opentelemetry import metrics

    # The API has no word for "nothing was set up", but its own providers, which do nothing.
    return not type(metrics.get_meter_provider()).__module__.startswith("opentelemetry.metrics.")


def span(name: str, server_name: str) -> AbstractContextManager[Span | None]:
    """A span around the block; an exception ends it with an error status. Does nothing without tracing."""
    if not _is_traced():
        return _NO_SPAN
    return traced_span(name, server_name)


NOT_OBSERVED: AbstractContextManager[Operation] = nullcontext(NotObserved())
"""For what nobody looks at."""


def operation(session: Observed, method: str, target: str | None = None) -> AbstractContextManager[Operation]:
    """Observe a request. Does nothing unless the program has set up OpenTelemetry.

    Args:
        session: Whose request it is.
        method: Of the request.
        target: The tool or the prompt.
    """
    is_traced, is_metered = _is_traced(), _is_metered()
    if not is_traced and not is_metered:
        return NOT_OBSERVED
    return Operation(session, method, target).observed(is_traced=is_traced, is_metered=is_metered)


def session_ended(config: BaseServerConfig, seconds: float, error: JackfieldError | None) -> None:
    """A session is over: a value of `mcp.client.session.duration`.

    Args:
        config: Its server.
        seconds: From the time it was open first.
        error: The failure that ended it.
    """
    if _is_metered():
        labels = server_labels(config)
        if error is not None:
            labels["error.type"] = error_type(error)
        made_histogram("mcp.client.session.duration", "How long sessions of clients lasted.").record(seconds, labels)
