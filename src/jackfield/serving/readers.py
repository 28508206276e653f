"""Reading a stream: from what is heard of it, and from its log where something was missed."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import anyio
from starlette.types import Receive, Send

from .errors import StoreUnavailableError, UnknownEventError
from .records import StreamEvent
from .streams import StreamManager
from .wire import sse

_MAX_WAITING = 64
"""So many events wait in memory for a client that reads slowly; the rest waits in the log."""

_ASK_AGAIN_SECONDS = 0.3
"""How often the log is asked again while the store cannot be reached."""

WRITE_SECONDS = 60.0
"""A client that takes nothing for so long is gone; it can resume."""


class LogReader:
    """One reading of a stream, in order and without gaps.

    Args:
        streams: Where the log is.
        session_id: The session.
        stream: Which of its streams.
        after: The event to begin after.
    """

    def __init__(self, streams: StreamManager, session_id: str, stream: str, after: int) -> None:
        self._streams = streams
        self._session_id = session_id
        self.stream: str = stream
        self._after = after
        self._waiting: deque[StreamEvent] = deque()
        self._is_behind = False
        self._wake = anyio.Event()
        self.is_ended: bool = False
        """No more is to be read, though the stream may go on."""

    def heard(self, events: Sequence[StreamEvent]) -> None:
        """Take events as they are added; none if some may have been missed."""
        if not events:
            self._is_behind = True
        for event in events:
            newest = self._waiting[-1].number if self._waiting else self._after
            if event.number == 0:
                # Not in the log, since the store cannot be reached: this is its only copy.
                self._waiting.append(StreamEvent(0, event.message, event.is_final))
            elif self._is_behind or event.number > newest + 1 or len(self._waiting) >= _MAX_WAITING:
                self._is_behind = True
            elif event.number == newest + 1:
                self._waiting.append(event)
        self._wake.set()

    def end(self) -> None:
        """Let `next` return nothing."""
        self.is_ended = True
        self._wake.set()

    async def next(self) -> Sequence[StreamEvent]:
        """The next events, at least one; none if there are no more to be read here.

        Raises:
            UnknownEventError: The log no longer has the next event.
        """
        while not self.is_ended:
            if self._waiting:
                events = list(self._waiting)
                self._waiting.clear()
                self._after = max(self._after, events[-1].number)
                return events
            if self._is_behind:
                self._is_behind = False
                try:
                    events = list(await self._streams.read(self._session_id, self.stream, self._after))
                except StoreUnavailableError:
                    self._is_behind = True
                    await anyio.sleep(_ASK_AGAIN_SECONDS)
                    continue
                if events:
                    # There may be more, and what was heard meanwhile may be among these.
                    self._is_behind = True
                    self._after = events[-1].number
                    self._waiting = deque(event for event in self._waiting if event.number == 0)
                    return events
                continue
            self._wake = anyio.Event()
            await self._wake.wait()
        return ()


async def write_events(
    reader: LogReader, receive: Receive, send: Send, *, headers: dict[str, str], first: bytes, ping_seconds: float
) -> bool:
    """Answer an HTTP request with a stream; returns when it is over or its client gone.

    Args:
        reader: What to write.
        receive: Of the HTTP request, whose body has been read.
        send: Of the HTTP request.
        headers: Of the response.
        first: What to write before the first event.
        ping_seconds: How often a comment is written while there is nothing else, so that no proxy takes the
            connection for dead.

    Returns:
        Whether the client was there to the end.
    """
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            tasks.cancel_scope.cancel()

        async def write(body: bytes, *, more: bool = True) -> None:
            with anyio.fail_after(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": body, "more_body": more})

        tasks.start_soon(watch)
        try:
            encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
            await send({"type": "http.response.start", "status": 200, "headers": encoded})
            await write(first)
            is_over = False
            while not is_over:
                events: Sequence[StreamEvent] | None = None
                with anyio.move_on_after(ping_seconds):
                    events = await reader.next()
                if events is None:
                    await write(b": ping\n\n")
                elif not events:
                    break
                else:
                    await write(b"".join(sse(reader.stream, event) for event in events))
                    is_over = events[-1].is_final
            await write(b"", more=False)
        except UnknownEventError:
            # The client may resume, and is told then.
            await write(b"", more=False)
        except (OSError, TimeoutError):
            return False
        finally:
            tasks.cancel_scope.cancel()
        return True
    return False
