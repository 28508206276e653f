"""Tells of a session's life: as events, in the log, and in the manager's figures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import JackfieldError, ServerLimitError
from ..events import (
    EventHub,
    LimitReached,
    ListingProblem,
    RecoveryFailed,
    SessionClosed,
    SessionFailed,
    SessionLost,
    SessionOpened,
    SessionOpening,
    SessionRecovered,
    StreamRenewed,
    ToolsChanged,
)
from .info import shortened
from .statistics import Totals

if TYPE_CHECKING:
    from ..transport.connection import Connection

logger: logging.Logger = logging.getLogger("jackfield")


class Teller:
    """Tells of one session.

    Args:
        server_name: Its server.
        key: Its key.
        events: Gets the events.
        totals: Where it is counted.
    """

    def __init__(self, server_name: str, key: str | None, events: EventHub, totals: Totals) -> None:
        self._name = server_name
        self._about: dict[str, Any] = {"server_name": server_name, "key": key}
        self._events = events
        self._totals = totals

    def opening(self) -> None:
        """It is being opened for the first time."""
        self._events.emit(SessionOpening(**self._about))

    def failed(self, error: JackfieldError, seconds: float) -> None:
        """It could not be opened at all."""
        self._totals.failed += 1
        self._events.emit(SessionFailed(**self._about, seconds=seconds, error=error))
        logger.warning("[MCP][%s] Session could not be opened: %s", self._name, error.message)

    def opened(self, connection: Connection, seconds: float) -> None:
        """It is open for the first time."""
        self._totals.opened += 1
        self._totals.open_times.add(seconds)
        self._events.emit(SessionOpened(**self._about, **_details(connection), seconds=seconds))
        logger.info("[MCP][%s] Session created: %s", self._name, _shown_id(connection))

    def lost(self, error: JackfieldError, generation: int) -> None:
        """It ended without being closed here."""
        self._totals.lost += 1
        logger.warning("[MCP][%s] Session lost: %s", self._name, error.message)
        self._events.emit(SessionLost(**self._about, error=error, generation=generation))

    def recovered(
        self, connection: Connection, *, generation: int, attempts: int, open_seconds: float, lost_seconds: float
    ) -> None:
        """It is open again."""
        self._totals.recoveries += 1
        self._totals.open_times.add(open_seconds)
        self._events.emit(
            SessionRecovered(
                **self._about, **_details(connection), generation=generation, attempts=attempts, seconds=lost_seconds
            )
        )
        logger.info("[MCP][%s] Session recovered: %s (generation %d)", self._name, _shown_id(connection), generation)

    def recovery_failed(self, error: JackfieldError, attempts: int) -> None:
        """It could not be opened again for now."""
        logger.warning("[MCP][%s] Session could not be recovered: %s", self._name, error.message)
        self._events.emit(RecoveryFailed(**self._about, error=error, attempts=attempts))

    def closed(self, reason: str, *, seconds_open: float, generation: int) -> None:
        """Nothing is left of it."""
        self._totals.closed += 1
        self._events.emit(SessionClosed(**self._about, reason=reason, seconds_open=seconds_open, generation=generation))
        logger.info("[MCP][%s] Session closed (%s)", self._name, reason)

    def renewed(self, resumed: bool) -> None:
        """A stream of it broke and was opened again."""
        logger.info("[MCP][%s] Stream renewed%s", self._name, " and resumed" if resumed else "")
        self._events.emit(StreamRenewed(**self._about, resumed=resumed))

    def reached_limit(self, error: ServerLimitError) -> None:
        """The server went beyond a limit."""
        logger.warning("[MCP][%s] %s", self._name, error.message)
        self._events.emit(LimitReached(**self._about, error=error))

    def listing_problem(self, method: str, problems: Sequence[str]) -> None:
        """Something was wrong with a listing."""
        text = "; ".join(problems)
        logger.warning("[MCP][%s] The answer to %s is not as the protocol has it: %s", self._name, method, text)
        self._events.emit(ListingProblem(**self._about, method=method, problems=list(problems)))

    def tools_changed(self) -> None:
        """The server says that it offers other tools now."""
        self._events.emit(ToolsChanged(**self._about))


def _details(connection: Connection) -> dict[str, Any]:
    return {
        "protocol_version": connection.client.protocol_version,
        "session_id": shortened(connection.report.http_session_id),
        "process_id": connection.report.process_id,
    }


def _shown_id(connection: Connection) -> str:
    session_id = shortened(connection.report.http_session_id)
    return f"{session_id}..." if session_id else "(no id)"
