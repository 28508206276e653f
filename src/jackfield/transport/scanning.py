"""Finds the id and the kind of a JSON-RPC message, or of a part of it, without storing it.

For messages that are too long to store, or that no parser accepts. Only the members of the outermost object
count: an `id` inside a result, an argument or a string says nothing.

Source: JSON-RPC 2.0, sections 4 and 5; RFC 8259.
"""

from __future__ import annotations

import json
import re
from typing import cast

from mcp.types import RequestId
from pydantic_core import from_json

_LONGEST_VALUE = 512
_STRING_PART = re.compile(rb'[^"\\]*')
_STRUCTURE = re.compile(rb'["{}\[\]]')
_OUTERMOST = re.compile(rb'["{}\[\],:]')
_MEMBERS = frozenset(("jsonrpc", "method", "result", "error"))
_BEFORE = b" \t\r\n\xef\xbb\xbf"


class MessageScanner:
    """Takes the bytes of one message, in pieces of any size.

    Args:
        data: The first of them.
    """

    def __init__(self, data: bytes | bytearray = b"") -> None:
        self.request_id: RequestId | None = None
        """The message's `id`, as far as it has come."""
        self.members: set[str] = set()
        """Which of `jsonrpc`, `method`, `result` and `error` the message has, as far as it has come."""
        self.is_object: bool = False
        """Whether it begins as a message does."""
        self._depth = 0
        self._is_over = False
        self._in_string = False
        self._is_escaped = False
        self._at: str = "key"
        self._key: str | None = None
        self._text = bytearray()
        """The string, number or word that is being read in the outermost object."""
        self.feed(data)

    @classmethod
    def of(cls, data: bytes) -> MessageScanner:
        """The same of a whole message that a parser most likely takes, which is quicker."""
        try:
            value: object = from_json(data)
        except ValueError:
            return cls(data)
        scanner = cls()
        scanner._is_over = True
        if isinstance(value, dict):
            message = cast("dict[str, object]", value)
            request_id = message.get("id")
            scanner.is_object = True
            scanner.members = set(_MEMBERS & message.keys())
            if isinstance(request_id, str) or type(request_id) is int:
                scanner.request_id = request_id
        return scanner

    @property
    def is_decided(self) -> bool:
        """Whether the rest of the message can change nothing."""
        kind_known = not self.members.isdisjoint(("result", "error"))
        return self._is_over or "method" in self.members or (kind_known and self.request_id is not None)

    def feed(self, data: bytes | bytearray) -> None:
        """Take the next bytes."""
        position, end = 0, len(data)
        while position < end and not self._is_over:
            if self._in_string:
                position = self._in_text(data, position)
            elif self._depth == 0:
                position = self._open(data, position)
            elif self._depth == 1:
                position = self._in_message(data, position)
            else:
                position = self._in_value(data, position)

    def _open(self, data: bytes | bytearray, position: int) -> int:
        if (byte := data[position]) == 0x7B:
            self._depth, self.is_object = 1, True
        elif byte not in _BEFORE:
            self._is_over = True  # It is not an object.
        return position + 1

    def _in_message(self, data: bytes | bytearray, position: int) -> int:
        found = _OUTERMOST.search(data, position)
        self._keep(data[position : found.start() if found else len(data)])
        if found is None:
            return len(data)
        match found[0]:
            case b'"':
                self._in_string = True
                self._text.clear()
                self._text += b'"'
            case b":" if self._at == "colon":
                self._at = "value"
                self._text.clear()
            case b",":
                self._end_member()
            case b"{" | b"[":
                self._depth += 1
            case b"}" | b"]":
                self._end_member()
                self._depth, self._is_over = 0, True
            case _:
                pass
        return found.end()

    def _in_value(self, data: bytes | bytearray, position: int) -> int:
        found = _STRUCTURE.search(data, position)
        if found is None:
            return len(data)
        if found[0] == b'"':
            self._in_string = True
        else:
            self._depth += 1 if found[0] in b"{[" else -1
        return found.end()

    def _in_text(self, data: bytes | bytearray, position: int) -> int:
        if self._is_escaped:
            self._is_escaped = False
            self._keep(data[position : position + 1])
            return position + 1
        part = _STRING_PART.match(data, position)
        assert part
        end = part.end()
        self._keep(data[position : min(end + 1, position + _LONGEST_VALUE)])
        if end == len(data):
            return end
        if data[end] == 0x5C:
            self._is_escaped = True
        else:
            self._in_string = False
            if self._depth == 1 and self._at == "key":
                self._end_key()
        return end + 1

    def _keep(self, data: bytes | bytearray) -> None:
        if self._depth == 1 and self._at != "colon" and len(self._text) <= _LONGEST_VALUE:
            self._text += data

    def _end_key(self) -> None:
        key = _value(self._text)
        self._key = key if isinstance(key, str) else None
        self._at = "colon"
        if self._key in _MEMBERS:
            self.members.add(self._key)

    def _end_member(self) -> None:
        if self._at == "value" and self._key == "id":
            value = _value(self._text)
            if isinstance(value, float) and value.is_integer():
                value = int(value)
            if isinstance(value, int | str) and not isinstance(value, bool):
                self.request_id = value
        self._at, self._key = "key", None
        self._text.clear()


def _value(text: bytearray) -> object:
    """A string, a number or a word; `None` if it is none of these or too long."""
    # Between the lines of an event there is `data:`, which is not part of the message.
    inner = bytes(text).strip()
    if len(text) > _LONGEST_VALUE:
        return None
    try:
        return json.loads(inner.rsplit(maxsplit=1)[-1] if inner[:1] != b'"' and inner else inner)
    except (ValueError, RecursionError):
        return None
