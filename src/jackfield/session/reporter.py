"""`SessionReporter`: the events of one session. They are made only where somebody listens."""

from __future__ import annotations

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
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StreamRenewed,
    ToolsChanged,
)
from .statistics import shortened

if TYPE_CHECKING:
    from ..transport.connection import Connection


class SessionReporter:
    """Emits the events of one session; its owner counts and logs the same.

    Args:
        server_name: Its server.
        key: Its key.
        session_id: Its id.
        events: Gets the events.
    """

    def __init__(self, server_name: str, key: str | None, session_id: str, events: EventHub) -> None:
        self.about: dict[str, Any] = {"server_name": server_name, "key": key, "session_id": session_id}
        """What all its events tell."""
        self._events = events

    def _emit(self, event: Callable[..., Event], **facts: Any) -> None:
        if self._events.is_heard:
            self._events.emit(event(**self.about, **facts))

    def opening(self) -> None:
        """It is being opened for the first time."""
        self._emit(SessionOpening)

    def failed(self, error: JackfieldError, seconds: float) -> None:
        """It could not be opened at all."""
        self._emit(SessionFailed, seconds=seconds, error=error)

    def opened(self, connection: Connection, seconds: float) -> None:
        """It is open for the first time."""
        self._emit(SessionOpened, **_details(connection), seconds=seconds)

    def lost(self, error: JackfieldError, generation: int) -> None:
        """It ended without being closed here."""
        self._emit(SessionLost, error=error, generation=generation)

    def recovered(self, connection: Connection, *, generation: int, attempts: int, seconds: float) -> None:
        """It is open again, that long after it was lost."""
        self._emit(SessionRecovered, **_details(connection), generation=generation, attempts=attempts, seconds=seconds)

    def recovery_failed(self, error: JackfieldError, attempts: int) -> None:
        """It could not be opened again for now."""
        self._emit(RecoveryFailed, error=error, attempts=attempts)

    def closed(self, reason: str, *, seconds_open: float, generation: int) -> None:
        """It is fully closed."""
        self._emit(SessionClosed, reason=reason, seconds_open=seconds_open, generation=generation)

    def evicted(self, for_server: str, for_key: str | None, state_lost: bool) -> None:
        """It is closed to make room."""
        self._emit(SessionEvicted, for_server=for_server, for_key=for_key, state_lost=state_lost)

    def renewed(self, resumed: bool) -> None:
        """A stream of it broke and was opened again."""
        self._emit(StreamRenewed, resumed=resumed)

    def reached_limit(self, error: ServerLimitError) -> None:
        """The server went beyond a limit."""
        self._emit(LimitReached, error=error)

    def listing_problem(self, method: str, problems: Sequence[str]) -> None:
        """Something was wrong with a listing."""
        self._emit(ListingProblem, method=method, problems=list(problems))

    def listing_failed(self, method: str, error: JackfieldError) -> None:
        """Its listing could not be fetched."""
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
