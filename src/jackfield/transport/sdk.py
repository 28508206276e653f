"""The interface to the SDK: what transports read and write its messages with, and everything that relies on unpromised
behaviour.

Each such reliance says why; `tests/transport/test_sdk.py` fails if the SDK changes.
"""

from __future__ import annotations

import json
import logging
from typing import Any, NamedTuple, cast

import anyio
from mcp.shared.message import SessionMessage
from mcp.types import (
    INTERNAL_ERROR,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCResponse,
    RequestId,
    jsonrpc_message_adapter,
)
from pydantic_core import from_json

from ..errors import RequestError
from ..plain import as_list, parsed_json, readable_json

logger: logging.Logger = logging.getLogger("jackfield")

_BEFORE = b" \t\r\n\xef\xbb\xbf"

SSE_EVENT_BYTES = 1024 * 1024 - 4096
"""The longest event over the older HTTP transport. `sse_client` fails at one beyond httpx2's default of 1 MiB, which
it offers no way to set; 4 KiB of that are left for what an event is replaced by."""


class MessageWriter:
    """What a transport sends messages with."""

    async def send(self, item: SessionMessage, /) -> None:
        """Send a message.

        Raises:
            anyio.ClosedResourceError: Closed here.
            anyio.BrokenResourceError: There is no longer a reader.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """End it."""
        raise NotImplementedError


class MessageReader:
    """What a transport receives messages with."""

    inner: Any = None
    """The stream that it reads from, if that is one of the SDK's."""

    @property
    def last_context(self) -> Any:
        """The context of the task that put the last message in.

        The SDK's receive loop looks for it with `getattr`, and without it a server's request loses its trace.
        """
        return getattr(self.inner, "last_context", None)

    async def receive(self) -> SessionMessage | Exception:
        """The next message.

        Raises:
            anyio.EndOfStream: There are no more messages.
        """
        raise NotImplementedError

    async def aclose(self) -> None:
        """End it."""
        raise NotImplementedError


class ReadMessage(NamedTuple):
    """A message that came."""

    message: JSONRPCMessage
    is_as_written: bool
    """Whether strict readers take the very text of it."""


def read_message(text: bytes | bytearray) -> ReadMessage | None:
    """The message in a text; `None` if it is not one."""
    try:
        value: object = from_json(text)
        if isinstance(value, dict) and len(cast("dict[str, Any]", value)) == 3 and "result" in value:
            # An answer. Which of four messages it is costs the adapter more than all else about it.
            return ReadMessage(JSONRPCResponse.model_validate(value, by_name=False), is_as_written=True)
    except ValueError:
        pass
    try:
        return ReadMessage(jsonrpc_message_adapter.validate_json(text, by_name=False), is_as_written=True)
    except ValueError:
        pass
    try:
        message = jsonrpc_message_adapter.validate_json(readable_json(bytes(text)), by_name=False)
        return ReadMessage(message, is_as_written=False)
    except ValueError:
        return None


def batched(text: bytes | bytearray) -> list[bytes]:
    """The messages of a batch, each as JSON on one line; empty if the text is none.

    Source: JSON-RPC 2.0, section 6; MCP 2025-03-26, which alone has batches: they must be received.
    """
    if not text.lstrip(_BEFORE).startswith(b"["):
        return []
    messages = as_list(parsed_json(readable_json(bytes(text))))
    return [json.dumps(one).encode() for one in messages] if all(isinstance(one, dict) for one in messages) else []


def is_result_of(request_id: RequestId, text: bytes) -> bool:
    """Whether a text is surely the result of that request, as strict readers take it."""
    try:
        value: object = from_json(text)
    except ValueError:
        return False
    if not isinstance(value, dict):
        return False
    message = cast("dict[str, Any]", value)
    its_id = message.get("id")
    return (
        len(message) == 3
        and message.get("jsonrpc") == "2.0"
        and type(its_id) is type(request_id)
        and its_id == request_id
        and isinstance(message.get("result"), dict)
    )


def sendable(item: SessionMessage) -> SessionMessage:
    """The message, if it is JSON; in the place of an answer that is none, an error that the server can have.

    The SDK finds that out in the task that writes all messages, which would end with it.

    Raises:
        RequestError: A request or a notification is none; it is not sent.
    """
    message = item.message
    try:
        json.dumps(
            message.model_dump(by_alias=True, mode="json", exclude_unset=True), ensure_ascii=False, allow_nan=False
        ).encode()
    except (ValueError, TypeError, RecursionError) as error:
        if isinstance(message, JSONRPCResponse | JSONRPCError):
            logger.warning("[MCP] An answer to a server is not JSON: %.300s", error)
            failure = ErrorData(code=INTERNAL_ERROR, message="The client's answer cannot be sent: it is not JSON.")
            return SessionMessage(JSONRPCError(jsonrpc="2.0", id=message.id, error=failure), item.metadata)
        raise RequestError(
            f"{message.method} cannot be sent as JSON: {str(error)[:200]}.",
            sent=False,
            hint="Give dictionaries with text keys, lists, texts, finite numbers, booleans and None only.",
        ) from None
    return item


class _AfterClose(logging.Filter):
    """Drops the SDK's report, with a traceback, of a message that arrived after its reader was closed.

    Closing a session during an answer, such as on Ctrl-C, is not a failure; the SDK logs it as "Error parsing SSE
    message".
    """

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, (anyio.ClosedResourceError, anyio.BrokenResourceError))


_after_close = _AfterClose()


def quiet_after_close() -> None:
    """Keep the SDK from reporting messages that arrive after a connection was closed. Costs little if repeated."""
    logging.getLogger("mcp.client.streamable_http").addFilter(_after_close)  # the same filter is added once only


def is_cancellation(item: SessionMessage) -> bool:
    """Whether a message cancels a request. A caller that is out of time must not wait for a hanging server to accept
    it."""
    return getattr(item.message, "method", None) == "notifications/cancelled"


def cancelled_id(message: object) -> object:
    """The id of the request that a message cancels; `None` if it cancels none."""
    if isinstance(message, JSONRPCNotification) and message.method == "notifications/cancelled":
        return (message.params or {}).get("requestId")
    return None
