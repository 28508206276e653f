"""`Disconnects`: notices that a client has gone without ending its session, and says which sessions have ended.

A client may end its session itself (DELETE); many never do. The standalone stream that a client reads is open as long
as it lives, so one that broke and did not come back tells of its end much sooner than the session's time to live. What
counts are the client's connections: a request whose client has left runs on, but does not keep its session.

Source: MCP 2025-11-25, basic/transports "Session Management", "Listening for Messages from the Server".
"""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import anyio

from .errors import StoreUnavailableError
from .stores import SessionStore

logger: logging.Logger = logging.getLogger("jackfield")

_LATE_SECONDS = 0.05
"""A session is looked for in the store this much after its time, so that it has expired there."""

_RETRY_SECONDS = 1.0
"""Pause while the store cannot be reached."""


@dataclass
class _Used:
    """A session that was used on this instance."""

    connections: int = 0
    """Its client's connections here."""
    had_stream: bool = False


class Disconnects:
    """The sessions that were used on this instance, and since when their clients have no connection.

    Args:
        sessions: The store, in which sessions expire.
        session_ttl: Seconds that a session lives without being used.
        reconnect_timeout: The same for a session whose standalone stream broke; as long as others if omitted.
        on_end: Called with each session that has ended, if anybody wants to know.
    """

    def __init__(
        self,
        sessions: SessionStore,
        session_ttl: float,
        reconnect_timeout: float | None,
        on_end: Callable[[str], None] | None,
    ) -> None:
        self._sessions = sessions
        self._session_ttl = session_ttl
        self._reconnect_timeout = math.inf if reconnect_timeout is None else min(reconnect_timeout, session_ttl)
        self._on_end = on_end
        self._used: dict[str, _Used] = {}
        # The longest unused first. Two, for each has its own time.
        self._unused: OrderedDict[str, float] = OrderedDict()
        self._streamless: OrderedDict[str, float] = OrderedDict()
        self._changed = anyio.Event()
        self._looks_at = math.inf

    def began(self, session_id: str, *, is_stream: bool = False) -> None:
        """A session's client is connected.

        Args:
            session_id: The session.
            is_stream: It reads the standalone stream.
        """
        used = self._used.setdefault(session_id, _Used())
        used.connections += 1
        used.had_stream = used.had_stream or is_stream
        self._unused.pop(session_id, None)
        self._streamless.pop(session_id, None)

    def ended(self, session_id: str) -> None:
        """That connection is over."""
        if (used := self._used.get(session_id)) is None:
            return
        used.connections -= 1
        if not used.connections:
            is_left = used.had_stream and self._reconnect_timeout < math.inf
            waiting = self._streamless if is_left else self._unused
            waiting[session_id] = now = time.monotonic()
            # As a rule it looks early enough: most requests must not wake it.
            if now + (self._reconnect_timeout if is_left else self._session_ttl) < self._looks_at:
                self._changed.set()

    def over(self, session_id: str) -> None:
        """A session has ended, for any reason."""
        if self._used.pop(session_id, None) is not None:
            self._unused.pop(session_id, None)
            self._streamless.pop(session_id, None)
            try:
                if self._on_end is not None:
                    self._on_end(session_id)
            except Exception:
                logger.exception("[MCP] `on_session_end` failed")

    async def watch(
        self, end_session: Callable[[str], Awaitable[object]], is_read: Callable[[str], Awaitable[bool]]
    ) -> None:
        """Find those whose time has come, until cancelled.

        Args:
            end_session: Ends a session as its client would have done it.
            is_read: Whether a session's standalone stream is read on any instance.
        """
        while True:
            self._changed = anyio.Event()
            seconds = self._seconds_left()
            self._looks_at = time.monotonic() + seconds
            with anyio.move_on_after(seconds):
                await self._changed.wait()
            left = self._due(self._streamless, self._reconnect_timeout)
            expired = self._due(self._unused, self._session_ttl + _LATE_SECONDS)
            try:
                while left:
                    if self._is_unused(left[0]) and not await self._is_used_elsewhere(left[0], is_read):
                        await end_session(left[0])
                        logger.info("[MCP] Client of session %s is gone: it did not reconnect its stream", left[0][:8])
                    del left[0]
                if expired:
                    await self._forget_expired(expired)
            except StoreUnavailableError:
                self._wait_again(self._streamless, left)
                self._wait_again(self._unused, expired)
                await anyio.sleep(_RETRY_SECONDS)

    async def _is_used_elsewhere(self, session_id: str, is_read: Callable[[str], Awaitable[bool]]) -> bool:
        """Whether the client came back to another instance, which looks after its stream then."""
        unused_seconds = await self._sessions.unused_for(session_id)
        if await is_read(session_id):
            if (used := self._used.get(session_id)) is not None:
                used.had_stream = False
            self._wait_again(self._unused, [session_id])
            return True
        if unused_seconds is not None and unused_seconds < self._reconnect_timeout:
            self._wait_again(self._streamless, [session_id])
            return True
        return False

    async def _forget_expired(self, session_ids: Sequence[str]) -> None:
        live = set(await self._sessions.live())
        # Those that are live are used on another instance.
        self._wait_again(self._unused, [session_id for session_id in session_ids if session_id in live])
        for session_id in session_ids:
            if session_id not in live and self._is_unused(session_id):
                logger.info("[MCP] Client of session %s is gone: it has not sent anything", session_id[:8])
                self.over(session_id)

    def _is_unused(self, session_id: str) -> bool:
        used = self._used.get(session_id)
        return used is not None and not used.connections

    def _wait_again(self, waiting: OrderedDict[str, float], session_ids: Sequence[str]) -> None:
        for session_id in filter(self._is_unused, session_ids):
            waiting[session_id] = time.monotonic()

    def _seconds_left(self) -> float:
        since = [
            next(iter(waiting.values())) + seconds
            for waiting, seconds in (
                (self._streamless, self._reconnect_timeout),
                (self._unused, self._session_ttl + _LATE_SECONDS),
            )
            if waiting
        ]
        return max(0.0, min(since, default=math.inf) - time.monotonic())

    def _due(self, waiting: OrderedDict[str, float], seconds: float) -> list[str]:
        due: list[str] = []
        while waiting:
            session_id, since = next(iter(waiting.items()))
            if since + seconds > time.monotonic():
                break
            del waiting[session_id]
            due.append(session_id)
        return due
