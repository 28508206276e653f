"""What a transport notes of its connection."""

from __future__ import annotations

from collections.abc import Callable

import anyio
import pytest
from mcp.types import JSONRPCError, JSONRPCRequest

from jackfield import AuthenticationError, ServerLimitError, ServerUnavailableError, SessionConfig, StdioConfig
from jackfield.transport.bad_answers import too_long
from jackfield.transport.report import CallRecord, ConnectionReport, EventIds, OutputTail
from jackfield.transport.scanning import MessageScanner


def report_of(on_limit: Callable[[ServerLimitError], None] = lambda _: None, **settings: int) -> ConnectionReport:
    config = StdioConfig(server_name="rig", command="run-rig", session=SessionConfig.model_validate(settings))
    return ConnectionReport(config, on_limit=on_limit)


def test_the_end_of_what_was_written_is_kept() -> None:
    tail = OutputTail(10)
    for number in range(100):
        tail.add(b"%02d," % number)
    assert (tail.text(), tail.total_bytes) == (",97,98,99,", 300)
    tail.add(b"x" * 1000)
    assert tail.text() == "x" * 10


def test_a_quote_says_of_how_much_it_is_the_end() -> None:
    report = report_of(max_stderr_bytes=1024)
    assert report.stderr_quote() is None
    report.stderr.add(b"gone")
    assert report.stderr_quote() == "gone"
    report.stderr.add(b"x" * 2000)
    assert report.stderr_quote() == f"{'x' * 1024} | (the last part of 2,004 bytes; max_stderr_bytes=1,024)"


def test_what_was_written_before_is_left_out() -> None:
    report = report_of(max_stderr_bytes=1024)
    report.stderr.add(b"at the start\n")
    before = report.stderr.total_bytes
    assert report.stderr_quote(before) is None
    report.stderr.add(b"at the end")
    assert report.stderr_quote(before) == "at the end"
    report.stderr.add(b"x" * 2000)
    assert report.stderr_quote(before) == f"{'x' * 1024} | (the last part of 2,010 bytes; max_stderr_bytes=1,024)"
    assert report.stderr_quote(report.stderr.total_bytes) is None


def test_the_last_event_ids_are_known() -> None:
    ids = EventIds()
    assert all(ids.is_new(str(number)) for number in range(1024))
    assert not ids.is_new("0")
    assert ids.is_new("1024"), "and the oldest is forgotten for it"
    assert not ids.is_new("1")
    assert ids.is_new("0")
    ids.forget()
    assert ids.is_new("0"), "the stream counts from where it did"


def asked(report: ConnectionReport, request_id: str | int = 7) -> CallRecord:
    record = report.requests.begin(JSONRPCRequest(jsonrpc="2.0", id=request_id, method="tools/call"))
    assert record is not None
    return record


def test_who_waits_for_a_message_that_is_too_long_gets_an_error() -> None:
    reached: list[ServerLimitError] = []
    report = report_of(reached.append)
    record, other = asked(report), asked(report, 8)
    answer = too_long(
        report, MessageScanner(b'{"jsonrpc": "2.0", "id": "7", "result": {"id": 8, "text": "l'), 40_000_000
    )
    assert answer is not None
    assert isinstance(answer.message, JSONRPCError)
    assert answer.message.id == 7
    assert "sent a message of 40,000,000 bytes: beyond the limit max_message_bytes=33,554,432" in reached[0].message
    assert answer.message.error.message == reached[0].message
    assert isinstance(record.failure, ServerLimitError)
    assert (record.is_over, record.is_answered, record.sent) == (True, False, True)
    assert (other.is_over, other.failure, other.unclaimed) == (False, None, None)


@pytest.mark.parametrize(
    ("message", "told"),
    [
        (b'{"jsonrpc": "2.0", "result": {"id": 7, "text": "l', "an answer of 4,000 bytes, without a request id"),
        (b'{"result": 1, "id": "x"}', "an answer of 4,000 bytes, for request 'x', which was never sent"),
        (b'{"method": "notifications/message", "params": {"data": "x', None),
        (b'{"jsonrpc": "2.0", "id": 7, "method": "ping"', None),
        (b"DEBUG " * 9, None),
    ],
)
def test_what_nobody_claims_is_told_to_who_waits_and_harms_nobody(message: bytes, told: str | None) -> None:
    report = report_of()
    record = asked(report)
    assert too_long(report, MessageScanner(message), 4000) is None
    assert report.limit_reached is not None
    assert not report.lost.is_set()
    assert (record.is_over, record.unclaimed) == (False, told)


def test_the_first_reason_of_a_loss_stays() -> None:
    report = report_of()
    report.mark_lost()
    first = ServerUnavailableError("first", retryable=True)
    report.mark_lost(first)
    report.mark_lost(ServerUnavailableError("second"))
    assert report.loss is first


def test_the_first_failure_that_says_why_is_kept() -> None:
    report = report_of()
    for failure in (
        None,
        ServerUnavailableError("wrong path"),
        AuthenticationError("401"),
        ServerUnavailableError("x"),
    ):
        report.note_failure(failure)
    assert report.failure is not None
    assert report.failure.message == "x"
    assert report.first_failure is not None
    assert report.first_failure.message == "401"


def test_a_limit_of_notifications_is_told_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    reached: list[ServerLimitError] = []
    report = report_of(reached.append, max_notifications=3)
    now = 100.0
    monkeypatch.setattr("jackfield.transport.report.time.monotonic", lambda: now)
    assert [report.admits_notification() for _ in range(5)] == [True, True, True, False, False]
    now = 101.0
    assert [report.admits_notification() for _ in range(4)] == [True, True, True, False]
    assert [error.limit for error in reached] == ["max_notifications"] * 2


async def test_last_words_are_not_waited_for_long() -> None:
    report = report_of()
    with anyio.fail_after(5):
        await report.last_words()  # over HTTP there are none
        report.process_id = 1
        await report.last_words()
        report.stderr_ended.set()
        await report.last_words()
    assert not report.lost.is_set()
