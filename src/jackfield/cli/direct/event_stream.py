"""Server-sent events, without the HTTP client that the library reads them with.

Source: WHATWG HTML, "Server-sent events", section "Interpreting an event stream".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_LINE_END = re.compile(rb"\r\n|\n|\r")
_MAX_ID_BYTES = 1024
_MAX_RETRY_DIGITS = 9


class Event(NamedTuple):
    """An event, or part of one."""

    data: bytes
    """Empty if it has none, or is not a message."""
    event_id: str | None
    """To resume the stream after it."""
    retry_seconds: float | None
    """How long the server asks to wait before that."""


class TooLongError(Exception):
    """An event is longer than the limit."""


def events(pieces: Iterable[bytes], limit_bytes: int) -> Iterator[Event]:
    """The events of a stream.

    Args:
        pieces: The stream, in pieces of any size.
        limit_bytes: For one event.

    Raises:
        TooLongError: An event is longer.
    """
    buffer, length, fields = bytearray(), 0, list[tuple[bytes, bytes]]()
    is_first, ended_by_return = True, False
    for piece in pieces:
        if not piece:
            continue
        # The line feed of a line that has been read.
        buffer += piece.removeprefix(b"\n") if ended_by_return else piece
        ended_by_return = piece.endswith(b"\r")
        if is_first and len(buffer) >= 3:
            buffer, is_first = bytearray(buffer.removeprefix(b"\xef\xbb\xbf")), False
        start = 0
        while found := _LINE_END.search(buffer, start):
            line, start = bytes(buffer[start : found.start()]), found.end()
            length += len(line)
            if not line:
                if fields:
                    yield _event(fields)
                length, fields = 0, []
            elif not line.startswith(b":"):
                name, _, value = line.partition(b":")
                fields.append((name, value.removeprefix(b" ")))
        del buffer[:start]
        if length + len(buffer) > limit_bytes:
            raise TooLongError


def _event(fields: list[tuple[bytes, bytes]]) -> Event:
    last = dict(fields)
    is_message = last.get(b"event", b"message").strip() == b"message"
    data = b"\n".join(value for name, value in fields if name == b"data") if is_message else b""
    name = last.get(b"id", b"").decode("utf-8", "replace")
    is_sendable = 0 < len(name) <= _MAX_ID_BYTES and name.isascii() and name.isprintable() and name == name.strip()
    retry = last.get(b"retry", b"")
    is_time = retry.isdigit() and len(retry) <= _MAX_RETRY_DIGITS
    return Event(data, name if is_sendable else None, int(retry) / 1000 if is_time else None)
