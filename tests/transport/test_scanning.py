"""Whose a message is, is read from its outermost object, however it is cut."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.transport.scanning import MessageScanner

texts = st.text(st.sampled_from('ab"\\\\{}[]:, \\u00e9\\n'), max_size=8) | st.sampled_from(["id", "method", "result"])
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)
messages = st.dictionaries(
    st.sampled_from(["id", "jsonrpc", "method", "result", "error", "params", "x"]), values, max_size=6
).flatmap(lambda message: st.permutations(list(message.items())).map(dict))


@given(messages, st.sampled_from([None, 2]), st.data())
def test_it_finds_what_a_parser_finds(message: dict[str, Any], indent: int | None, data: st.DataObject) -> None:
    text = json.dumps(message, indent=indent, ensure_ascii=data.draw(st.booleans())).encode()
    scanner, at_once = MessageScanner(), MessageScanner.of(text)
    while text:
        size = data.draw(st.integers(1, len(text)))
        scanner.feed(text[:size])
        text = text[size:]
    given_id = message.get("id")
    is_id = isinstance(given_id, int | str) and not isinstance(given_id, bool)
    assert scanner.request_id == (given_id if is_id else None)
    assert scanner.members == {"jsonrpc", "method", "result", "error"} & set(message)
    assert (at_once.request_id, at_once.members, at_once.is_object) == (scanner.request_id, scanner.members, True)
    assert scanner.is_object


@pytest.mark.parametrize(
    ("text", "request_id"),
    [
        (b'{"id": 7, "result": {"a": ' + b'{"a":' * 5000, 7),
        (b'{"result": ' + b"[" * 4000 + b"]" * 4000 + b', "id": 7}', 7),
        (b'{"result": {"text": "' + b"x" * 5000 + b'\\"}, \\"id\\": 3"}, "id": "a-7"', None),
        (b'{"result": {"text": "' + b"x" * 5000 + b'\\"}, \\"id\\": 3"}, "id": "a-7"}', "a-7"),
        (b'\xef\xbb\xbf {"id": 7.0, "result": \xff}', 7),
        (b'{"id": 7, "result": 1} {"id": 8}', 7),
        (b'{"\\u0069d": 7, "result": 1}', 7),
        (b'{"id": ' + b"7" * 600 + b"}", None),
        (b'{"id": true}', None),
        (b'INFO {"id": 7, "result": 1}', None),
        (b'[{"id": 7, "result": 1}]', None),
        (b"", None),
    ],
)
def test_it_reads_what_no_parser_reads(text: bytes, request_id: str | int | None) -> None:
    assert MessageScanner(text).request_id == request_id


def test_it_knows_when_the_rest_changes_nothing() -> None:
    assert MessageScanner(b'{"jsonrpc": "2.0", "id": 7, "result": {').is_decided
    assert MessageScanner(b'{"method": ').is_decided
    assert not MessageScanner(b'{"jsonrpc": "2.0", "result": {}').is_decided
    assert not MessageScanner(b'{"jsonrpc": "2.0", "id": 7').is_decided
