"""Sessions that may conflict with a refused one (HTTP 409), and how they are closed."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from ..config.servers import BaseServerConfig, HttpConfig
from ..logs import SessionLog

if TYPE_CHECKING:
    from ..transport.report import ConnectionReport

_REMEMBERED = 100


class Refused(Protocol):
    """A session that its server refuses because of another one."""

    @property
    def config(self) -> BaseServerConfig: ...
    @property
    def log(self) -> SessionLog: ...


class ConflictingSessions:
    """The sessions of one manager that can be closed in favour of another one with the same server.

    These are unused sessions, and those that are closed here while their server still has them.
    Sessions in use are not closed.

    Args:
        close_idle: Closes unused sessions with the same server address as the given one;
            returns their number.
    """

    def __init__(self, close_idle: Callable[[Refused], Awaitable[int]]) -> None:
        self._close_idle = close_idle
        self._left: deque[tuple[str, str, str]] = deque(maxlen=_REMEMBERED)

    def note_end(self, config: BaseServerConfig, report: ConnectionReport, version: str) -> None:
        """Remember a closed connection whose server still has the session.

        Args:
            config: The server.
            report: Of the connection.
            version: The protocol's.
        """
        session_id = report.http_session_id
        if session_id is None or report.is_ended_at_server or report.loss is not None:
            return
        if isinstance(config, HttpConfig) and config.terminate_on_close and session_id.isascii():
            self._left.append((config.catalog_key, session_id, version))

    async def end(self, refused: Refused) -> bool:
        """End what may be in the way of a session; whether anything was ended."""
        closed = await self._close_idle(refused)
        if not isinstance(refused.config, HttpConfig):
            return closed > 0
        from ..transport.http import end_session

        mine = [entry for entry in self._left if entry[0] == refused.config.catalog_key]
        for entry in mine:
            self._left.remove(entry)
            closed += await end_session(refused.config, refused.log, entry[1], entry[2]) == "ended"
        return closed > 0
