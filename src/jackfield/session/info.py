"""How one live session stands, for users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["opening", "open", "recovering", "lost", "closing", "closed"]


@dataclass(frozen=True)
class SessionInfo:
    """How one live session stands."""

    server_name: str
    key: str | None
    state: State
    """`recovering`: being opened again after a loss; `lost`: that failed, and the next call tries anew."""
    protocol_version: str | None
    session_id: str | None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None
    generation: int
    """How often it was opened: 1, and one more for each recovery."""
    opened_at: float | None
    """Seconds since the epoch."""
    last_used_at: float
    calls: int
    errors: int
    in_flight: int
    leases: int


def shortened(session_id: str | None) -> str | None:
    """A session id as it may be shown: whoever has the whole id can use the session."""
    return session_id[:8] if session_id else None
