"""A record belongs to one request, and changes no more once that is over."""

from __future__ import annotations

from collections.abc import Iterator

import anyio
import pytest
from mcp.types import ErrorData, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse

from jackfield import ServerUnavailableError
from jackfield.transport.report import CallRecord, OutputTail, Requests, current_call


def request(request_id: str | int, method: str = "tools/call") -> JSONRPCRequest:
    return JSONRPCRequest(jsonrpc="2.0", id=request_id, method=method)


def result(request_id: str | int) -> JSONRPCResponse:
    return JSONRPCResponse(jsonrpc="2.0", id=request_id, result={})


def refusal(request_id: str | int | None) -> JSONRPCError:
    return JSONRPCError(jsonrpc="2.0", id=request_id, error=ErrorData(code=-32000, message="no"))


@pytest.fixture
def call() -> Iterator[CallRecord]:
    """What a task that calls a tool has set."""
    record = CallRecord("tools/call", headers={"x": "1"})
    token = current_call.set(record)
    yield record
    current_call.reset(token)


def test_only_the_request_it_stands_for_is_noted_in_it(call: CallRecord) -> None:
    requests = Requests(OutputTail(0))
    listing = requests.begin(request(1, "tools/list"))
    assert listing is not None
    assert (listing is call, listing.headers) == (False, {})
    assert requests.begin(request(2)) is call
    assert requests.begin(request(3)) is not call, "another of the same method, before this one has its answer"
    assert requests.begin(JSONRPCNotification(jsonrpc="2.0", method="notifications/progress")) is None
    assert requests.begin(result(2)) is None
    requests.arrived(result(1))
    assert (call.request_id, call.is_over) == (2, False)
    requests.arrived(result("2"))
    assert (call.is_over, call.is_answered, call.sent) == (True, True, True)


def test_nothing_changes_once_it_is_answered(call: CallRecord) -> None:
    requests = Requests(OutputTail(0))
    requests.begin(request(1))
    requests.arrived(refusal(1))
    call.became(False, ServerUnavailableError("gone"))
    requests.arrived(result(1))
    assert (call.is_answered, call.sent, call.failure, call.unclaimed) == (True, True, None, None)


def test_nothing_changes_once_it_is_cancelled(call: CallRecord) -> None:
    requests = Requests(OutputTail(0))
    requests.begin(request(1))
    call.became(None)
    cancelled = JSONRPCNotification(jsonrpc="2.0", method="notifications/cancelled", params={"requestId": 1})
    assert requests.begin(cancelled) is None
    call.became(False)
    requests.arrived(result(1))
    assert (call.is_over, call.is_answered, call.sent) == (True, False, None)


def test_an_error_that_stands_for_a_failure_is_no_answer(call: CallRecord) -> None:
    requests = Requests(OutputTail(0))
    requests.begin(request(1))
    call.became(None, ServerUnavailableError("cut off"))
    requests.arrived(refusal(1))
    assert (call.is_over, call.is_answered, call.sent) == (True, False, None)


def test_a_call_that_was_answered_by_a_question_goes_on_as_perhaps_sent(call: CallRecord) -> None:
    requests = Requests(OutputTail(0))
    requests.begin(request(1))
    requests.arrived(result(1))
    second = requests.begin(request(2))
    assert second is call.latest is not call
    assert second.headers == call.headers
    failure = ServerUnavailableError("refused", sent=False)
    second.became(False, failure)
    assert second.failure is not None
    assert (second.sent, second.failure.sent, call.sent) == (None, None, True)
    assert failure.sent is False, "others may hold it"


async def test_what_was_written_to_stderr_counts_from_the_first_call_without_an_answer(call: CallRecord) -> None:
    stderr = OutputTail(1024)
    stderr.add(bytes(10))
    requests = Requests(stderr)
    requests.begin(request(1, "subscriptions/listen"))
    stderr.add(bytes(10))
    requests.arrived(result(7))
    assert requests.stderr_bytes == 20
    call.scope = anyio.CancelScope()
    requests.begin(request(2))
    stderr.add(bytes(10))
    assert (call.stderr_bytes, requests.stderr_bytes) == (20, 20)
    requests.arrived(result(2))
    assert requests.stderr_bytes == 30
    stderr.add(bytes(10))
    requests.begin(request(3))
    assert (call.latest.stderr_bytes, requests.stderr_bytes) == (20, 20), "a question does not end the call"


def test_a_ping_is_made_by_either_request() -> None:
    record = CallRecord("ping")
    token = current_call.set(record)
    assert Requests(OutputTail(0)).begin(request(1, "server/discover")) is record
    current_call.reset(token)


def test_what_came_too_late_is_no_news() -> None:
    requests = Requests(OutputTail(0))
    waiting = requests.begin(request("a"))
    assert waiting is not None
    requests.begin(request(1))
    requests.arrived(result(1))
    requests.arrived(result(1))
    assert waiting.unclaimed is None
    requests.arrived(refusal(None))
    assert waiting.unclaimed == "error -32000 (no), without a request id"
