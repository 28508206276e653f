"""Streams of one process: the same behaviour as over a store, and nothing to install."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from .errors import UnknownEventError
from .memory import PRUNE_SECONDS, discard
from .records import StreamEvent
from .streams import ANSWERED_SECONDS, STANDALONE, Heard


def not_in_log(after: int) -> UnknownEventError:
    """The error for an event that a log does not have."""
    return UnknownEventError(f"Event {after} is not in the log: it never existed or is no longer kept.", sent=False)


@dataclass
class _Log:
    events: deque[StreamEvent] = field(default_factory=deque[StreamEvent])
    last: int = 0
    size: int = 0
    changed_at: float = 0.0

    @property
    def is_answered(self) -> bool:
        return bool(self.events) and self.events[-1].is_final


class InMemoryStreamManager:
    """A `StreamManager` in this process."""

    def __init__(self) -> None:
        self._logs: dict[tuple[str, str], _Log] = {}
        self._heard: dict[tuple[str, str], dict[object, Heard]] = {}
        self._readers: dict[str, tuple[str, float]] = {}
        """Who reads, and since when without a touch."""
        self._ttl = self._prune_at = 0.0
        self._log_events = self._log_bytes = 0

    @asynccontextmanager
    async def open(self, *, ttl: float, log_events: int, log_bytes: int) -> AsyncGenerator[None]:
        """Nothing to connect; see `StreamManager.open`."""
        self._ttl, self._log_events, self._log_bytes = ttl, log_events, log_bytes
        yield

    def _prune(self) -> None:
        """Now and then, forget the logs whose time is over."""
        if (now := time.monotonic()) < self._prune_at:
            return
        self._prune_at = now + min(self._ttl / 4, PRUNE_SECONDS)
        for key, log in list(self._logs.items()):
            if now - log.changed_at > (min(self._ttl, ANSWERED_SECONDS) if log.is_answered else self._ttl):
                del self._logs[key]
        for session_id in list(self._readers):
            self._holder(session_id)

    def _holder(self, session_id: str) -> str | None:
        holder, touched_at = self._readers.get(session_id, (None, 0.0))
        if holder is not None and time.monotonic() - touched_at > self._ttl:
            del self._readers[session_id]
            return None
        return holder

    async def append(
        self, session_id: str, stream: str, messages: Sequence[str], *, is_final: bool = False, at: int | None = None
    ) -> int | None:
        """See `StreamManager.append`."""
        self._prune()
        log = self._logs.setdefault((session_id, stream), _Log())
        if log.is_answered:
            return None
        first = log.last + 1 if at is None else at
        if first <= log.last:
            if not is_final:
                return first
            first = log.last + 1
        if first > log.last + 1:
            log.events.clear()
            log.last, log.size = first - 1, 0
        added = [
            StreamEvent(number, message, is_final and number == log.last + len(messages))
            for number, message in enumerate(messages, first)
        ]
        log.events.extend(added)
        log.last += len(added)
        log.size += sum(map(_bytes, messages))
        log.changed_at = time.monotonic()
        while len(log.events) > 1 and (len(log.events) > self._log_events or log.size > self._log_bytes):
            log.size -= _bytes(log.events.popleft().message)
        for heard in list(self._heard.get((session_id, stream), {}).values()):
            heard(added)
        return first

    async def read(self, session_id: str, stream: str, after: int, *, max_events: int = 256) -> Sequence[StreamEvent]:
        """See `StreamManager.read`."""
        self._prune()
        log = self._logs.get((session_id, stream))
        first, last = (1, 0) if log is None else (log.last + 1 - len(log.events), log.last)
        if not first - 1 <= after <= last:
            raise not_in_log(after)
        if log is None:
            return ()
        skipped = after + 1 - first
        return [log.events[position] for position in range(skipped, min(skipped + max_events, len(log.events)))]

    async def tip(self, session_id: str, stream: str) -> int:
        """See `StreamManager.tip`."""
        self._prune()
        log = self._logs.get((session_id, stream))
        return 0 if log is None else log.last

    @asynccontextmanager
    async def listen(self, session_id: str, stream: str, heard: Heard) -> AsyncGenerator[None]:
        """See `StreamManager.listen`."""
        token = object()
        self._heard.setdefault((session_id, stream), {})[token] = heard
        try:
            yield
        finally:
            discard(self._heard, (session_id, stream), token)

    async def attach(self, session_id: str, reader: str, *, over: str | None = None) -> str | None:
        """See `StreamManager.attach`."""
        holder = self._holder(session_id)
        if holder is not None and over not in (holder, "*"):
            return holder
        self._readers[session_id] = (reader, time.monotonic())
        return None

    async def reader(self, session_id: str) -> str | None:
        """See `StreamManager.reader`."""
        return self._holder(session_id)

    async def detach(self, session_id: str, reader: str) -> None:
        """See `StreamManager.detach`."""
        if self._holder(session_id) == reader:
            del self._readers[session_id]

    async def touch(self, streams: Sequence[tuple[str, str]]) -> None:
        """See `StreamManager.touch`."""
        for key in streams:
            if (log := self._logs.get(key)) is not None:
                log.changed_at = time.monotonic()
            if key[1] == STANDALONE and (holder := self._holder(key[0])) is not None:
                self._readers[key[0]] = (holder, time.monotonic())

    async def delete(self, session_id: str, streams: Sequence[str]) -> None:
        """See `StreamManager.delete`."""
        self._readers.pop(session_id, None)
        for stream in (STANDALONE, *streams):
            self._logs.pop((session_id, stream), None)


def _bytes(message: str) -> int:
    return len(message) if message.isascii() else len(message.encode("utf-8", "surrogatepass"))
