"""`StreamManager`: the streams of sessions. A stream is a log that one reader at a time reads, on any instance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol

from .records import StreamEvent

STANDALONE = "get"
"""The stream for messages that belong to no request, which a client reads by GET."""

ANSWERED_SECONDS = 300.0
"""How long the log of a request is kept after its answer, for a client that comes back for it."""

Heard = Callable[[Sequence[StreamEvent]], None]
"""Is called with new events, in order; with none where some may have been missed, so that the log is to be read."""


class StreamManager(Protocol):
    """Stores the messages for clients, and their readers.

    A log is kept for `ttl` seconds after its last event, that of a request for at most `ANSWERED_SECONDS` after the
    answer, within the limits `log_events` and `log_bytes`: the excess is removed from the beginning, except for the
    newest event. Methods are atomic over all instances, and raise `StoreUnavailableError` as those of `SessionStore`.
    """

    def open(self, *, ttl: float, log_events: int, log_bytes: int) -> AbstractAsyncContextManager[None]:
        """Connect, check that the store fits, and close at the end; errors as in `SessionStore.open`."""
        ...

    async def append(
        self, session_id: str, stream: str, messages: Sequence[str], *, is_final: bool = False, at: int | None = None
    ) -> int | None:
        """Add events to a log, and announce them to its readers on every instance.

        After `StoreUnavailableError` they may have been added. A sole writer of a log passes the next
        number as `at`, so that it can retry: existing events are not added again. A store that
        lost the log continues with this number.

        Args:
            session_id: The session.
            stream: The name of the stream.
            messages: One or more, each as JSON text.
            is_final: The last of them answers the stream's request.
            at: The number of the first of them; the next one if omitted. Nothing is added where the log has it, but
                for the answer.

        Returns:
            The number of the first of them, or `None` where the log has its answer: then nothing was added. This is
            what lets only one instance answer a request.
        """
        ...

    async def read(self, session_id: str, stream: str, after: int, *, max_events: int = 256) -> Sequence[StreamEvent]:
        """The events after a given one, oldest first.

        Raises:
            UnknownEventError: Not all events after it are kept, or it never existed. Event 0 begins any log.
        """
        ...

    async def tip(self, session_id: str, stream: str) -> int:
        """The number of the newest event; 0 if there is none."""
        ...

    def listen(self, session_id: str, stream: str, heard: Heard) -> AbstractAsyncContextManager[None]:
        """Get announcements of events that are added from now on, including by other instances.

        Announcements may have gaps or repeat; the numbers show it.
        """
        ...

    async def attach(self, session_id: str, reader: str, *, over: str | None = None) -> str | None:
        """Become the reader of the session's standalone stream, for `ttl` seconds from now or the last `touch`.

        Args:
            session_id: The session.
            reader: The reader's name, which contains its instance.
            over: The reader to take over from; `"*"` for any.

        Returns:
            The current reader, if it is not `over`; nothing was changed then. `None` otherwise.
        """
        ...

    async def reader(self, session_id: str) -> str | None:
        """Who reads the session's standalone stream."""
        ...

    async def detach(self, session_id: str, reader: str) -> None:
        """Stop reading; does nothing if another reader has taken over."""
        ...

    async def touch(self, streams: Sequence[tuple[str, str]]) -> None:
        """Let logs, each named by session and stream, live on from now; for a standalone stream its reader as well."""
        ...

    async def delete(self, session_id: str, streams: Sequence[str]) -> None:
        """Remove the standalone stream of a session, its reader, and the logs of these streams."""
        ...
