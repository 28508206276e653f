"""`RecentActivity`: what sessions did in the last minute, and what went wrong in them last, by their events."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from typing import Any

from ..errors import JackfieldError, one_line
from ..events import CallFinished, Event, RecoveryFailed, SessionClosed, SessionFailed, SessionLost
from ..masking import mask

SECONDS = 60
"""How far back it reaches."""

_MOST_SESSIONS = 2_000
"""Those that did nothing for the longest time are forgotten first."""

_TEXT_CHARS = 300


class RecentActivity:
    """An event listener. It can be asked from any thread."""

    def __init__(self) -> None:
        self._sessions: OrderedDict[str, _Session] = OrderedDict()
        self.last_error: dict[str, Any] | None = None
        """The newest of all sessions, also of those that could not be opened: `server`, `text` and `at`."""

    def note(self, event: Event) -> None:
        """Take in an event."""
        match event:
            case CallFinished():
                session = self._session(event)
                session.count(int(event.at))
                if event.error is not None:
                    session.last_error = self._error(event, event.error)
            case SessionLost() | RecoveryFailed():
                self._session(event).last_error = self._error(event, event.error)
            case SessionFailed():
                self._error(event, event.error)
            case SessionClosed():
                self._sessions.pop(str(event.session_id), None)
            case _:
                pass

    def of(self, session_id: str) -> dict[str, Any]:
        """What a session did: `recent`, its calls in each of the last seconds, the newest last; and `last_error`."""
        session = self._sessions.get(session_id)
        if session is None:
            return {"recent": [], "last_error": None}
        return {"recent": session.recent(int(time.time())), "last_error": session.last_error}

    def _session(self, event: Event) -> _Session:
        session_id = str(event.session_id)
        session = self._sessions.get(session_id)
        if session is None:
            if len(self._sessions) >= _MOST_SESSIONS:
                self._sessions.popitem(last=False)
            session = self._sessions[session_id] = _Session()
        else:
            self._sessions.move_to_end(session_id)
        return session

    def _error(self, event: Event, error: JackfieldError) -> dict[str, Any]:
        text = one_line(mask(f"{error.code}: {error.message}"), _TEXT_CHARS)
        self.last_error = {"server": event.server_name, "text": text, "at": event.at}
        return self.last_error


class _Session:
    def __init__(self) -> None:
        self._counts: deque[tuple[int, int]] = deque(maxlen=SECONDS)
        """Seconds with calls, and how many."""
        self.last_error: dict[str, Any] | None = None

    def count(self, second: int) -> None:
        if self._counts and self._counts[-1][0] == second:
            self._counts[-1] = second, self._counts[-1][1] + 1
        else:
            self._counts.append((second, 1))

    def recent(self, now: int) -> list[int]:
        """Calls in each of the last whole seconds."""
        counts = dict(self._counts)
        return [counts.get(second, 0) for second in range(now - SECONDS, now)]
