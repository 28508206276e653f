"""Reads a stream from announcements, and from its log if something was missed."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import anyio
from starlette.types import Receive, Send

from .errors import StoreUnavailableError, UnknownEventError
from .records import StreamEvent
from .streams import StreamManager
from .wire import sse

MAX_WAITING = 64
_MAX_WAITING_CHARS = 1024 * 1024
"""So much waits in memory for a client that reads slowly; the rest waits in the log."""

_MAX_READ = 32
"""Number of events read from a log at once."""

_ASK_AGAIN_SECONDS = 0.3
"""How often the log is asked again while the store cannot be reached."""

WRITE_SECONDS = 60.0
"""A client that reads nothing for this long is disconnected; it can resume."""


class LogReader:
    """One reader of a stream, in order and without gaps.

    Args:
        streams: Has the log.
        session_id: The session.
        stream: The name of the stream.
        after: The event after which to begin.
    """

    def __init__(self, streams: StreamManager, session_id: str, stream: str, after: int) -> None:
        self.session_id: str = session_id
        self.stream: str = stream
        self._streams = streams
        self._newest = after
        """The newest event that waits or was handed out."""
        self._waiting: deque[StreamEvent] = deque()
        self._waiting_chars = 0
        self._is_behind = False
        """What follows is read from the log."""
        self._was_heard = False
        """Something was heard while it was behind."""
        self._wake = anyio.Event()
        self._taken = anyio.Event()
        self.is_ended: bool = False
        """No more is to be read than what waits, though the stream may go on."""

    def heard(self, events: Sequence[StreamEvent]) -> None:
        """Take events as they are added; none if some may have been missed."""
        if not events:
            self._is_behind = self._was_heard = True
        for event in events:
            if event.number and event.number <= self._newest:
                continue
            if event.number and (self._is_behind or event.number > self._newest + 1 or self._is_full):
                self._is_behind = self._was_heard = True
                continue
            # Without a number it is not in the log, since the store cannot be reached: this is its only copy.
            self._waiting.append(event)
            self._waiting_chars += len(event.message)
            self._newest = max(self._newest, event.number)
        self._wake.set()

    @property
    def _is_full(self) -> bool:
        return len(self._waiting) > MAX_WAITING or self._waiting_chars > _MAX_WAITING_CHARS

    async def taken(self) -> None:
        """Wait until the client's connection has accepted the waiting events or ended, so no reader falls behind."""
        while self._waiting and not self.is_ended:
            self._taken = anyio.Event()
            await self._taken.wait()

    def end(self) -> None:
        """Let `next` return nothing once all that waits is taken."""
        self.is_ended = True
        self._wake.set()
        self._taken.set()

    async def next(self) -> Sequence[StreamEvent]:
        """The next events, at least one; empty if the stream has ended here. Can be cancelled without loss.

        Raises:
            UnknownEventError: The log no longer has the next event.
        """
        while True:
            if self._waiting:
                events = list(self._waiting)
                self._waiting.clear()
                self._waiting_chars = 0
                self._taken.set()
                return events
            if self.is_ended:
                return ()
            if self._is_behind:
                if events := await self._read():
                    return events
                continue
            self._wake = anyio.Event()
            await self._wake.wait()

    async def _read(self) -> Sequence[StreamEvent]:
        """Read on in the log; it is behind until it has read all, and nothing was heard meanwhile."""
        self._was_heard = False
        try:
            events = await self._streams.read(self.session_id, self.stream, self._newest, max_events=_MAX_READ)
        except StoreUnavailableError:
            await anyio.sleep(_ASK_AGAIN_SECONDS)
            return ()
        self._is_behind = self._was_heard or len(events) >= _MAX_READ
        if events:
            self._newest = events[-1].number
        return events


@dataclass(frozen=True)
class StreamSettings:
    """How streams are written.

    Args:
        stream_after: Seconds after which a request without an answer is answered by a stream.
        retry_ms: How long a client is to wait before it comes back to a stream.
        ping_seconds: How often a comment is written while there is nothing else, so that no proxy takes the
            connection for dead.
    """

    stream_after: float
    retry_ms: int
    ping_seconds: float


async def write_events(
    reader: LogReader,
    receive: Receive,
    send: Send,
    settings: StreamSettings,
    *,
    headers: dict[str, str],
    first: bytes = b"",
) -> None:
    """Answer an HTTP request with a stream; returns when it ends or its client disconnects. Ends the reader.

    Args:
        reader: The events to write.
        receive: Of the HTTP request, whose body has been read.
        send: Of the HTTP request.
        settings: Settings for writing it.
        headers: Of the response.
        first: Data to write before the first event.
    """

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        tasks.cancel_scope.cancel()

    async def write(body: bytes, *, more: bool = True) -> None:
        with anyio.fail_after(WRITE_SECONDS):
            await send({"type": "http.response.body", "body": body, "more_body": more})

    async def write_all() -> None:
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        if first:
            await write(first)
        while True:
            events: Sequence[StreamEvent] | None = None
            with anyio.move_on_after(settings.ping_seconds):
                try:
                    events = await reader.next()
                except UnknownEventError:
                    # The client may resume, and is told then.
                    events = ()
            if events is None:
                await write(b": ping\n\n")
                continue
            if events:
                await write(b"".join(sse(reader.stream, event, settings.retry_ms) for event in events))
            if not events or events[-1].is_final:
                return await write(b"", more=False)

    try:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(watch)
            with contextlib.suppress(OSError, TimeoutError):
                await write_all()
            tasks.cancel_scope.cancel()
    finally:
        reader.end()
