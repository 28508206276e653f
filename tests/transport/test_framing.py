"""Events are cut out of a stream the same way however its bytes arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from mcp.types import RequestId

from jackfield.transport.framing import EventFramer, OversizeEventError, event_data, event_id

fields = st.sampled_from([b"data: x", b"id: 7", b"event: message", b": comment", b"data: a:b", b"retry: 5", b"data:"])
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@st.composite
def event(draw: st.DrawFn) -> bytes:
    """Some lines and a blank one, all with the same ends, as servers write them."""
    end = draw(ends)
    return b"".join(line + end for line in draw(st.lists(fields, min_size=1, max_size=4))) + end


@given(st.lists(event(), max_size=5), st.data())
def test_any_chunking_gives_the_same_events(events: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(events)
    whole = EventFramer(1000).feed(stream)
    framer, pieces = EventFramer(1000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        pieces += framer.feed(stream[:size])
        stream = stream[size:]

    def lines(found: list[bytes]) -> list[bytes]:
        # Where a `\r\n` is cut in two, its `\n` may open the next event: an empty line more, which means nothing.
        return [line for one in found for line in one.splitlines() if line]

    assert lines(pieces) == lines(whole) == [line for one in events for line in one.splitlines() if line]


def test_what_is_not_whole_is_kept_back() -> None:
    framer = EventFramer(1000)
    assert framer.feed(b"data: 1\n\ndata: 2") == [b"data: 1\n\n"]
    assert framer.feed(b"3\n\n") == [b"data: 23\n\n"]


def fed(framer: EventFramer, data: bytes) -> tuple[list[bytes], list[RequestId | None]]:
    """The events, and the ids of the messages beyond the limit."""
    events: list[bytes] = []
    beyond: list[RequestId | None] = []
    while True:
        try:
            return events + framer.feed(data), beyond
        except OversizeEventError as error:
            events += error.before
            beyond.append(error.message.request_id)
            data = b""


def test_an_event_beyond_the_limit_is_passed_over_whole() -> None:
    framer = EventFramer(20)
    long = b'id: {7}\r\ndata: {"id": 5, "result": "' + b"x" * 30 + b'"}'
    assert fed(framer, b"data: 1\n\n" + long + b"\n\ndata: 2\n\n") == ([b"data: 1\n\n", b"data: 2\n\n"], [5])
    assert fed(framer, b'data: {"id": 6, "result": "' + b"y" * 30) == ([], [6]), "as soon as it is known whose it is"
    assert fed(framer, b'y", "id": 8') == ([], []), "told once"
    assert fed(framer, b"}\n\ndata: 3\n\n") == ([b"data: 3\n\n"], [])


@given(st.lists(st.integers(1, 20), max_size=20))
def test_the_id_of_an_event_beyond_the_limit_may_stand_at_its_end(sizes: list[int]) -> None:
    framer = EventFramer(30)
    rest = b'event: message\ndata: {"result": {"id": 1},\ndata:  "id"\ndata: : 7,\ndata: "jsonrpc": "2.0"}\n\n'
    found: list[RequestId | None] = []
    for size in [*sizes, len(rest)]:
        found += fed(framer, rest[:size])[1]
        rest = rest[size:]
    assert found == [7]


def test_the_message_of_an_event() -> None:
    assert event_data(b'id: 3\r\nevent: message\r\ndata: {"a":\r\ndata:1}\r\n\r\n') == b'{"a":\n1}'
    assert event_data(b"event: ping\ndata: now\n\n") == b""
    assert event_data(b"id: 3\ndata: \n\n") == event_data(b": nothing\n\n") == b""


def test_the_id_of_an_event() -> None:
    assert event_id(b"id: a/1\ndata: {}\n\n") == "a/1"
    assert event_id(b"data: id: 3\nid:5\n\n") == "5"
    assert event_id(b"data: x\r\nid: z\r\n\r\n") == "z"
    assert event_id(b'data: {"id: 3": 1}\n\n') is None
    assert event_id(b"id:\ndata: x\n\n") is None
