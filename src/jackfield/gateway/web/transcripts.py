"""`Transcripts`: the newest messages between the gateway and a server, of the sessions for which this is switched on.

Secrets are masked, by their names and by what is known, and long values are cut, before anything is kept.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mcp.types import JSONRPCMessage

from ...pool.session_manager import SessionManager
from ..shown_arguments import shown_arguments

MOST_MESSAGES = 200
"""Of one session."""
MOST_SESSIONS = 20
"""That have a transcript at a time; the one switched on first is switched off for another."""

_VALUE_CHARS = 4000


@dataclass(frozen=True)
class Traced:
    """One message."""

    number: int
    at: float
    """Seconds since the epoch."""
    is_sent: bool
    """Whether it went to the server."""
    title: str
    message: Mapping[str, Any]

    def shown(self) -> dict[str, Any]:
        """For the page."""
        about = {"number": self.number, "at": self.at, "sent": self.is_sent, "title": self.title}
        return {**about, "message": self.message}


@dataclass
class _Transcript:
    server_name: str
    key: str
    messages: deque[Traced] = field(default_factory=lambda: deque(maxlen=MOST_MESSAGES))
    methods: dict[str, str] = field(default_factory=dict[str, str])
    """Of requests without an answer yet, by who asked and their id."""
    last: int = 0

    def note(self, is_sent: bool, message: JSONRPCMessage) -> None:
        """Keep a message."""
        plain = message.model_dump(mode="json", by_alias=True, exclude_none=True)
        self.last += 1
        self.messages.append(
            Traced(
                self.last,
                time.time(),
                is_sent,
                self._title(is_sent, plain),
                shown_arguments(plain, value_chars=_VALUE_CHARS),
            )
        )

    def _title(self, is_sent: bool, message: Mapping[str, Any]) -> str:
        method, request_id = message.get("method"), str(message.get("id"))
        if isinstance(method, str):
            if "id" in message:
                self.methods[f"{is_sent} {request_id}"] = method
                while len(self.methods) > MOST_MESSAGES:
                    del self.methods[next(iter(self.methods))]
            return method
        asked = self.methods.pop(f"{not is_sent} {request_id}", "a request")
        return f"{'error' if 'error' in message else 'result'} of {asked}"


class Transcripts:
    """Those of all sessions.

    Args:
        manager: Has the sessions.
    """

    def __init__(self, manager: SessionManager) -> None:
        self._manager = manager
        self._of_session: dict[str, _Transcript] = {}

    @property
    def sessions(self) -> set[str]:
        """The ids of the sessions that have one."""
        return set(self._of_session)

    def start(self, session_id: str) -> bool:
        """Keep messages of a session from now on; whether there is such a session."""
        info = next((one for one in self._manager.sessions() if one.session_id == session_id), None)
        owner = None if info is None or info.key is None else self._manager.inside.find(info.server_name, info.key)
        if owner is None or owner.key is None:
            return False
        if session_id not in self._of_session:
            while len(self._of_session) >= MOST_SESSIONS:
                self.stop(next(iter(self._of_session)))
            made = self._of_session[session_id] = _Transcript(owner.config.server_name, owner.key)
            owner.listen_to_messages(made.note)
        return True

    def stop(self, session_id: str) -> None:
        """Keep no more messages of a session, and forget those there are."""
        found = self._of_session.pop(session_id, None)
        if found is not None and (owner := self._manager.inside.find(found.server_name, found.key)) is not None:
            owner.listen_to_messages(None)

    def stop_all(self) -> None:
        """Switch all of them off."""
        for session_id in list(self._of_session):
            self.stop(session_id)

    def prune(self) -> None:
        """Forget those of sessions that are closed."""
        live = {info.session_id for info in self._manager.sessions()}
        for session_id in self._of_session.keys() - live:
            del self._of_session[session_id]

    def after(self, session_id: str, number: int) -> tuple[int, list[Traced]]:
        """The number of the last message of a session, and its messages after one."""
        found = self._of_session.get(session_id)
        if found is None:
            return 0, []
        return found.last, [message for message in found.messages if message.number > number]
