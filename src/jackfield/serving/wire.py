"""JSON-RPC messages as text, and how they are written to an HTTP response."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mcp_types import ErrorData
from pydantic_core import PydanticSerializationError, to_json
from starlette.responses import Response

from .records import StreamEvent

LOST_INSTANCE = "The instance that ran this request was lost. The request may have taken effect; its result is gone."
SHUT_DOWN = "The server was stopped while this request ran. It may have taken effect; its result is gone."

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
        return json.dumps(value, separators=(",", ":"))


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


def refusal(status: int, code: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """The HTTP answer to a request that is not run."""
    return Response(error(None, code, message), status, dict(headers or {}), "application/json")


def sse(stream: str, event: StreamEvent, retry_ms: int | None = None) -> bytes:
    """An event of a stream as server-sent event. Its id names the stream: each is resumed for itself."""
    name = "" if not event.message else "event: message\n"
    number = "" if not event.number else f"id: {stream}/{event.number}\n"
    retry = "" if retry_ms is None else f"retry: {retry_ms}\n"
    return f"{number}{retry}{name}data: {event.message}\n\n".encode()


def position(last_event_id: str) -> tuple[str, int] | None:
    """The stream and number that an event id names; `None` where it is none of ours."""
    stream, slash, number = last_event_id.strip().rpartition("/")
    if not slash or not stream or not (number.isascii() and number.isdigit()) or len(number) > 15:
        return None
    return stream, int(number)
