"""What happens in the life of sessions and calls, as typed events. No event ever holds a secret."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import JackfieldError

logger = logging.getLogger("jackfield")
# A library prints nothing of itself; what is logged here is in the errors as well.
logger.addHandler(logging.NullHandler())


@dataclass(frozen=True, kw_only=True)
class Event:
    """What all events tell."""

    server_name: str
    key: str | None = None
    """The session's key; `None` for a private session."""
    at: float = field(default_factory=time.time)
    """Seconds since the epoch."""


@dataclass(frozen=True, kw_only=True)
class SessionOpening(Event):
    """A server is being started or connected."""


@dataclass(frozen=True, kw_only=True)
class SessionOpened(Event):
    """The handshake is done."""

    seconds: float
    protocol_version: str
    session_id: str | None = None
    """The first 8 characters of the id an HTTP server gave."""
    process_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class SessionFailed(Event):
    """A session could not be opened."""

    seconds: float
    error: JackfieldError


@dataclass(frozen=True, kw_only=True)
class SessionLost(Event):
    """An open session ended without being closed here."""

    error: JackfieldError


@dataclass(frozen=True, kw_only=True)
class SessionClosed(Event):
    """Nothing of the session is left."""

    reason: str
    """`released`, `idle`, `evicted`, `lost`, `manager` or `cancelled`."""
    seconds_open: float


@dataclass(frozen=True, kw_only=True)
class CallStarted(Event):
    """A tool is being called."""

    tool: str
    call_number: int
    """Counts the calls of this session from 1; joins start and finish."""


@dataclass(frozen=True, kw_only=True)
class CallFinished(Event):
    """A tool call ended."""

    tool: str
    call_number: int
    seconds: float
    error: JackfieldError | None = None
    """Why there is no result; also set where the tool itself reported an error."""


EventListener = Callable[[Event], None]


def emit(listener: EventListener | None, event: Event) -> None:
    """Hand an event to a listener; its exceptions are logged and go no further."""
    if listener is None:
        return
    try:
        listener(event)
    except Exception:
        logger.exception("[MCP][%s] The on_event listener raised on %s", event.server_name, type(event).__name__)
