"""JSON-RPC messages as text, and how they are written to an HTTP response."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, cast

from mcp_types import ErrorData, RequestId
from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response
from starlette.types import Send

from .records import StreamEvent

LOST_INSTANCE = "The instance that ran this request was lost. The request may have taken effect; its result is lost."
SHUT_DOWN = "The server was stopped while this request was running. It may have taken effect; its result is lost."
INNER_CANCELLED = (
    "Something that the server's handler awaited was cancelled. The request may have taken effect; it has no result."
)
SESSION_ENDED = "The session was closed while this request was running. It may have taken effect; its result is lost."
STORE_LOST = (
    "The session store could not be reached while this request was running. It may have taken effect; its result is "
    "lost."
)

_EVENT_ID = re.compile(r"(get|[0-9a-f]{32})/([0-9]{1,15})")

NOT_RUN = {"executed": False}
"""The `data` of errors that prove, against what their HTTP status leaves open, that nothing was run."""

_LINE_ENDS = re.compile("[\x85\u2028\u2029]")

EVENT_STREAM_HEADERS = {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
}


def compact(value: object) -> str:
    """As JSON text on one line. Numbers that JSON does not have become null."""
    try:
        return to_json(value, inf_nan_mode="null").decode()
    except (PydanticSerializationError, UnicodeError):
        # It holds half of a surrogate pair, which UTF-8 does not have but JSON can escape.
        return json.dumps(_finite(value), separators=(",", ":"), allow_nan=False)


def _finite(value: object) -> object:
    match value:
        case float():
            return value if math.isfinite(value) else None
        case dict():
            return {name: _finite(one) for name, one in cast("dict[object, object]", value).items()}
        case list() | tuple():
            return [_finite(one) for one in cast("list[object]", value)]
        case _:
            return value


def request(request_id: str, method: str, params: Mapping[str, Any] | None) -> str:
    """A request."""
    return compact(
        {"jsonrpc": "2.0", "id": request_id, "method": method} | ({} if params is None else {"params": params})
    )


def notification(method: str, params: Mapping[str, Any] | None) -> str:
    """A notification."""
    return compact({"jsonrpc": "2.0", "method": method} | ({} if params is None else {"params": dict(params)}))


def result(request_id: str | int, value: Mapping[str, Any]) -> str:
    """The answer to a request."""
    return compact({"jsonrpc": "2.0", "id": request_id, "result": value})


def error(request_id: str | int | None, code: int, message: str, data: object = None) -> str:
    """The answer to a request that failed."""
    details = {"code": code, "message": message} | ({} if data is None else {"data": data})
    return compact({"jsonrpc": "2.0", "id": request_id, "error": details})


def error_of(request_id: str | int | None, details: ErrorData) -> str:
    """The same, from the SDK's form."""
    return error(request_id, details.code, details.message, details.data)


async def send_answer(send: Send, text: str, session_id: str) -> None:
    """Answer an HTTP request with JSON."""
    body = text.encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"mcp-session-id", session_id.encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def refusal(
    status: int,
    code: int,
    message: str,
    headers: Mapping[str, str] | None = None,
    data: object = None,
    request_id: RequestId | None = None,
) -> Response:
    """The HTTP answer to a request that is not run."""
    return Response(error(request_id, code, message, data), status, dict(headers or {}), "application/json")


def beginning(stream: str, number: int, retry_ms: int) -> bytes:
    """The event with which a stream begins: nothing but an id to resume after, and when to come back.

    Source: MCP 2025-11-25, basic/transports "Sending Messages to the Server", item 6.
    """
    return f"id: {stream}/{number}\nretry: {retry_ms}\ndata: \n\n".encode()


def sse(stream: str, event: StreamEvent, retry_ms: int) -> bytes:
    """An event of a stream as server-sent event. Its id names the stream: each is resumed for itself."""
    if not event.message:
        return beginning(stream, event.number, retry_ms)
    number = f"id: {stream}/{event.number}\n" if event.number else ""
    return f"{number}event: message\ndata: {_on_one_line(event.message)}\n\n".encode()


def _on_one_line(message: str) -> str:
    """Without non-ASCII line separators, which some clients treat as the end of a line."""
    return message if message.isascii() else _LINE_ENDS.sub(lambda found: f"\\u{ord(found[0]):04x}", message)


def position(last_event_id: str) -> tuple[str, int] | None:
    """The stream and number in an event id; `None` if it is not one of ours."""
    found = _EVENT_ID.fullmatch(last_event_id.strip(" \t"))
    return None if found is None else (found[1], int(found[2]))
