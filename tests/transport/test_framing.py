"""Events are cut out of a stream the same way however its bytes arrive."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jackfield.transport.framing import EventFramer, OversizeEventError, event_id

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


def fed(framer: EventFramer, data: bytes) -> tuple[list[bytes], list[bytes]]:
    """The events, and the beginnings of those beyond the limit."""
    events, beyond = [], []
    while True:
        try:
            return events + framer.feed(data), beyond
        except OversizeEventError as error:
            events += error.before
            beyond.append(error.start)
            data = b""


def test_an_event_beyond_the_limit_is_passed_over_whole() -> None:
    framer = EventFramer(20)
    assert fed(framer, b"data: 1\n\ndata: " + b"x" * 30 + b"\n\ndata: 2\n\n") == (
        [b"data: 1\n\n", b"data: 2\n\n"],
        [b"data: " + b"x" * 30 + b"\n\n"],
    )
    events, beyond = fed(framer, b"data: " + b"y" * 30)
    assert (events, len(beyond)) == ([], 1)
    assert fed(framer, b"y" * 100) == ([], []), "told once"
    assert fed(framer, b"y\n\ndata: 3\n\n") == ([b"data: 3\n\n"], [])


def test_the_id_of_an_event() -> None:
    assert event_id(b"id: a/1\ndata: {}\n\n") == "a/1"
    assert event_id(b"data: id: 3\nid:5\n\n") == "5"
    assert event_id(b"data: x\r\nid: z\r\n\r\n") == "z"
    assert event_id(b'data: {"id: 3": 1}\n\n') is None
    assert event_id(b"id:\ndata: x\n\n") is None
