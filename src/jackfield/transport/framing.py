"""Cuts a stream of server-sent events into whole events.

Source: WHATWG HTML, "Server-sent events", section "Interpreting an event stream".
"""

from __future__ import annotations

import re

from .scanning import MessageScanner

# A line's end, and another at once; `\r\n` is one end.
_BLANK_LINE = re.compile(rb"\n(?:\n|\r\n?)|\r(?:\n(?:\n|\r\n?)|\r\n?)")
_DATA = b"data:"
_ID_FIELD = re.compile(rb"(?:^|[\r\n])id: ?([^\r\n\0]*)")

_MAX_ID_BYTES = 1024


class EventFramer:
    """Holds what belongs to an event that is not whole yet, up to a limit."""

    def __init__(self, limit_bytes: int) -> None:
        self._limit = limit_bytes
        self._buffer = bytearray()
        self._searched = 0
        self._beyond: MessageScanner | None = None
        """Reads the event that is being passed over."""
        self._is_told = False

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived; returns the events that are whole now, each with its blank line.

        Raises:
            OversizeEventError: An event is longer than the limit, and it is known whose it is, or it is over. Go on
                feeding: the rest of it is passed over.
        """
        self._buffer += data
        events: list[bytes] = []
        while found := _blank_line(self._buffer, self._searched):
            event = bytes(self._buffer[: found.end()])
            del self._buffer[: found.end()]
            self._searched = 0
            if self._beyond is not None:
                self._pass_over(event, events, is_whole=True)
            elif len(event) > self._limit:
                raise OversizeEventError(MessageScanner(_from_data(event)), events)
            else:
                events.append(event)
        self._searched = max(0, len(self._buffer) - 3)
        if self._beyond is not None or len(self._buffer) > self._limit:
            # The last bytes may belong to the blank line.
            passed = bytes(self._buffer[:-3])
            del self._buffer[:-3]
            self._searched = 0
            self._pass_over(passed, events, is_whole=False)
        return events

    def _pass_over(self, part: bytes, events: list[bytes], *, is_whole: bool) -> None:
        if self._beyond is None:
            self._beyond = MessageScanner(_from_data(part))
        elif not self._is_told:
            self._beyond.feed(part)
        message, was_told = self._beyond, self._is_told
        self._is_told = not is_whole and (was_told or message.is_decided)
        if is_whole:
            self._beyond = None
        if not was_told and (is_whole or message.is_decided):
            raise OversizeEventError(message, events)


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
    """An event beyond the limit: the read part of its message, and the complete events before it."""

    def __init__(self, message: MessageScanner, before: list[bytes]) -> None:
        super().__init__("event beyond the limit")
        self.message = message
        self.before = before


def _from_data(event: bytes) -> bytes:
    """The event from its first data on."""
    if event.startswith(_DATA):
        return event[len(_DATA) :].removeprefix(b" ")
    # Plain searches: in millions of bytes without an end of line, a pattern would hold up everything else for seconds.
    starts = [at for line_end in (b"\n", b"\r") if (at := event.find(line_end + _DATA)) >= 0]
    return event[min(starts) + 1 + len(_DATA) :].removeprefix(b" ") if starts else b""


def event_data(event: bytes, name: bytes = b"message") -> bytes:
    """The data of an event; empty if it has none or has another event name."""
    lines = event.splitlines()
    names = [line[6:].strip() for line in lines if line.startswith(b"event:")] or [b"message"]
    if names[-1] != name:
        return b""
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:"))


def event_id(event: bytes) -> str | None:
    """The event's `id` field; `None` also for one too long to be remembered."""
    found = _ID_FIELD.search(event) if b"id:" in event else None
    return found[1].decode("utf-8", "replace") if found and 0 < len(found[1]) <= _MAX_ID_BYTES else None
