"""What transports use of the SDK without its promise: each test here fails when that moves."""

from __future__ import annotations

import inspect
from contextvars import ContextVar, copy_context
from types import SimpleNamespace

import anyio
import httpx2
import pytest
from mcp.client import ClientRequestContext, ClientSession
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.message import SessionMessage
from mcp.types import JSONRPCRequest, JSONRPCResponse, ListRootsResult, jsonrpc_message_adapter

from jackfield.transport.exchange import SDKReader, SDKStream
from jackfield.transport.sdk import (
    SSE_EVENT_BYTES,
    MessageWriter,
    is_result_of,
    quiet_after_close,
    read_message,
)

trace: ContextVar[str] = ContextVar("trace", default="lost")


class OneRequest(SDKReader):
    """A server that asks for roots once, in a context of the transport's."""

    def __init__(self) -> None:
        context = copy_context()
        context.run(trace.set, "kept")
        self.inner = SimpleNamespace(last_context=context)
        self._to_come = [SessionMessage(JSONRPCRequest(jsonrpc="2.0", id=1, method="roots/list"))]
        self.answered = anyio.Event()

    async def receive(self) -> SessionMessage:
        if not self._to_come:
            await self.answered.wait()
            raise anyio.EndOfStream
        return self._to_come.pop()

    async def aclose(self) -> None: ...


class Answers(SDKStream, MessageWriter):
    def __init__(self, answered: anyio.Event) -> None:
        self._answered = answered

    async def send(self, item: SessionMessage, /) -> None:
        self._answered.set()

    async def aclose(self) -> None: ...


@pytest.mark.anyio
async def test_the_receive_loop_looks_for_the_context_of_the_last_message() -> None:
    seen: list[str] = []

    async def roots(context: ClientRequestContext) -> ListRootsResult:
        seen.append(trace.get())
        return ListRootsResult(roots=[])

    reader = OneRequest()
    with anyio.fail_after(10):
        async with ClientSession(reader, Answers(reader.answered), list_roots_callback=roots):
            await reader.answered.wait()
    assert seen == ["kept"]


def test_the_bound_of_events_over_sse_is_httpx2s_and_cannot_be_set() -> None:
    assert "max_sse_event_size" not in inspect.signature(sse_client).parameters
    default = inspect.signature(httpx2.EventSource).parameters["max_event_size"].default
    assert default == 1024 * 1024 > SSE_EVENT_BYTES


def test_the_bound_of_events_over_streamable_http_can_be_lifted() -> None:
    assert "max_sse_event_size" in inspect.signature(streamable_http_client).parameters


def test_what_arrives_after_the_close_is_not_reported(caplog: pytest.LogCaptureFixture) -> None:
    """The logger is the SDK's own; whatever else it reports is shown."""
    quiet_after_close()
    logger = inspect.getmodule(streamable_http_client).logger  # type: ignore[union-attr]
    for error in (anyio.ClosedResourceError(), anyio.BrokenResourceError(), ValueError("odd")):
        try:
            raise error
        except Exception:
            logger.exception("Error parsing SSE message")
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["odd"]


SURE: dict[int | str, tuple[str, ...]] = {
    7: (
        '{"jsonrpc": "2.0", "id": 7, "result": {"content": []}}',
        '{"jsonrpc": "2.0", "id": 7, "result": {"number": NaN}}',
    ),
    "7": ('{"id": "7", "result": {}, "jsonrpc": "2.0"}',),
}


@pytest.mark.parametrize("request_id", [7, "7"])
@pytest.mark.parametrize(
    "text",
    [
        *SURE[7],
        *SURE["7"],
        '{"jsonrpc": "2.0", "id": 7.0, "result": {}}',
        '{"jsonrpc": "2.0", "id": true, "result": {}}',
        '{"jsonrpc": "1.0", "id": 7, "result": {}}',
        '{"jsonrpc": "2.0", "id": 7, "result": []}',
        '{"jsonrpc": "2.0", "id": 7, "result": {}, "method": "ping"}',
        '{"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "no"}}',
        '{"jsonrpc": "2.0", "id": 7, "result": {"cut": "of',
        "[]",
        "",
    ],
)
def test_what_is_surely_a_result_is_read_as_one_by_the_sdk(text: str, request_id: int | str) -> None:
    is_result = is_result_of(request_id, text.encode())
    assert is_result == (text in SURE[request_id])
    if is_result:
        read = read_message(text.encode())
        assert read is not None
        assert read.is_as_written
        assert isinstance(message := jsonrpc_message_adapter.validate_json(text, by_name=False), JSONRPCResponse)
        assert message.id == request_id
