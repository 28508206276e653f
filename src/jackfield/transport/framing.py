"""Cuts a stream of server-sent events into whole events.

Source: WHATWG HTML, "Server-sent events", section "Interpreting an event stream".
"""

from __future__ import annotations

import re

# A line's end, and another at once; `\r\n` is one end.
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n?)|\r(?:\n(?:\n|\r\n?)|\r\n?)")
_ID_FIELD = re.compile(rb"(?:^|[\r\n])id: ?([^\r\n\0]*)")


class EventFramer:
    """Holds what belongs to an event that is not whole yet, up to a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; returns the events that are whole now, each with its blank line.

        Raises:
            OversizeEventError: An event is longer than the limit. Go on feeding: the rest of it is passed over.
        """
        self._buffer += data
        events: list[bytes] = []
        while found := _blank_line(self._buffer, self._searched):
            event = bytes(self._buffer[: found.end()])
            del self._buffer[: found.end()]
            self._searched = 0
            if self._skipping:
                self._skipping = False
            elif len(event) > self._limit:
                raise OversizeEventError(event, events)
            else:
                events.append(event)
        self._searched = max(0, len(self._buffer) - 3)
        if len(self._buffer) > self._limit:
            start = b"" if self._skipping else bytes(self._buffer)
            del self._buffer[:-3]
            self._searched = 0
            if not self._skipping:
                self._skipping = True
                raise OversizeEventError(start, events)
        return events


def _blank_line(buffer: bytearray, start: int) -> re.Match[bytes] | None:
    # From one end of a line to the next: in a long line, the pattern alone takes hundreds of times as long.
    while True:
        line_feed = buffer.find(b"\n", start)
        carriage_return = buffer.find(b"\r", start, line_feed if line_feed >= 0 else len(buffer))
        end = carriage_return if carriage_return >= 0 else line_feed
        if end < 0:
            return None
        if found := _BLANK_LINE.match(buffer, end):
            return found
        start = end + 1


class OversizeEventError(Exception):
    """An event beyond the limit: its beginning (or all of it), and the whole events before it."""

    def __init__(self, start: bytes, before: list[bytes]) -> None:
        super().__init__("event beyond the limit")
        self.start = start
        self.before = before


def event_id(event: bytes) -> str | None:
    """The event's `id` field."""
    found = _ID_FIELD.search(event) if b"id:" in event else None
    return found[1].decode("utf-8", "replace") if found and found[1] else None
