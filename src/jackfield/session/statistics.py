"""How sessions stand: one of them (`SessionInfo`), and all that a manager opened (`Totals`, `ManagerStats`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from .lifecycle import StateName


@dataclass(frozen=True)
class SessionInfo:
    """The state of one live session."""

    session_id: str
    """Its id, the same in all its events and log lines, recoveries included."""
    server_name: str
    key: str | None
    """The session's key; `None` for a private one."""
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
    """Completed calls without a result, or with a tool's own error."""
    session_errors: int
    """How often it was lost, or could not be opened again."""
    in_flight: int
    """Requests under way."""
    leases: int
    """How many have it open now."""


def shortened(session_id: str | None) -> str | None:
    """A session id for display: anyone who has the whole id can use the session."""
    return session_id[:8] if session_id else None


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
    """Completed calls without a result, or with a tool's own error."""
    session_errors: int
    """Sessions that could not be opened, were lost, or could not be opened again for the time being."""
    retries: int
    """Calls made once more."""
    mean_open_seconds: float
    longest_open_seconds: float
    mean_call_seconds: float
    longest_call_seconds: float


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
