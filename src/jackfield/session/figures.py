"""How sessions stand: one of them (`SessionInfo`), and all that a manager opened (`ManagerStats`)."""

from __future__ import annotations

from dataclasses import dataclass

from .lifecycle import StateName


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
