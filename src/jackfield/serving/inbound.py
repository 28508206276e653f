"""Incoming HTTP requests: validation, and the answers to refused ones."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import lru_cache
from typing import cast

from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.streamable_http import check_accept_headers
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_REQUEST,
    PARSE_ERROR,
    UNSUPPORTED_PROTOCOL_VERSION,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    RequestId,
    UnsupportedProtocolVersionErrorData,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, SUPPORTED_PROTOCOL_VERSIONS
from pydantic import ValidationError
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope

from ..errors import JackfieldError
from .errors import RequestRunsError, ServingLimitError, StoredDataError, StoreUnavailableError, UnknownEventError
from .limits import ServingLimits
from .records import Principal
from .wire import NOT_RUN
from .wire import refusal as http_refusal

logger: logging.Logger = logging.getLogger("jackfield")

SESSION_HEADER = "mcp-session-id"

BODY_SECONDS = 60.0
"""A client that has not sent its request by then does not get it answered."""

_MAX_ID_CHARS = 128
_HEADERS = "jackfield.headers"
_VERSION_HEADER = b"mcp-protocol-version"
_SESSION_VERSIONS = frozenset(version.encode() for version in HANDSHAKE_PROTOCOL_VERSIONS)
_VERSIONS = frozenset(version.encode() for version in SUPPORTED_PROTOCOL_VERSIONS)
_STATUS_OF_BOUND = {
    "sessions": 503,
    "streams": 503,
    "requests": 503,
    "calls": 503,
    "total_calls_per_minute": 503,
    "record_bytes": 413,
    "body_bytes": 413,
}


def headers_of(scope: Scope) -> Mapping[bytes, bytes]:
    """The headers of a request; of several with one name the first. Read once: each request asks for many."""
    if (headers := scope.get(_HEADERS)) is None:
        headers = scope[_HEADERS] = dict(reversed([*scope["headers"]]))
    return cast("Mapping[bytes, bytes]", headers)


def header_of(scope: Scope, name: bytes) -> str:
    """One header; empty if missing."""
    return headers_of(scope).get(name, b"").decode("latin-1")


def is_sessionless(scope: Scope) -> bool:
    """Whether a request names a protocol version without sessions, or an unknown one."""
    version = headers_of(scope).get(_VERSION_HEADER)
    return version is not None and version not in _SESSION_VERSIONS


class Refused(Exception):  # noqa: N818 - not an error of the server
    """A request that is answered by an HTTP error."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        headers: Mapping[str, str] | None = None,
        data: object = None,
        request_id: RequestId | None = None,
    ) -> None:
        super().__init__(message)
        self.response: Response = http_refusal(status, code, message, headers, data, request_id)


def not_found() -> Refused:
    """The refusal of a request in a session that there is not, or not for this client."""
    text = "Session not found: it expired, was ended, or is not yours. Initialize again."
    return Refused(404, INVALID_REQUEST, text)


def refusal(failure: JackfieldError) -> Refused:
    """The refusal of a request that was not run for a reason of the store, or because it would be too much."""
    match failure:
        case StoreUnavailableError():
            logger.warning("[MCP] %s", failure.message)
            text = "The session store cannot be reached; nothing was run. Try again."
            return Refused(503, INTERNAL_ERROR, text, {"retry-after": "1"}, NOT_RUN)
        case ServingLimitError():
            status = _STATUS_OF_BOUND.get(failure.bound, 429)
            headers = {} if status == 413 else {"retry-after": f"{failure.retry_after:.0f}"}
            return Refused(status, INVALID_REQUEST, failure.message, headers, {**NOT_RUN, "bound": failure.bound})
        case RequestRunsError():
            return Refused(400, INVALID_REQUEST, failure.message)
        case UnknownEventError():
            text = f"{failure.message} Begin a new stream without Last-Event-ID."
            return Refused(400, INVALID_REQUEST, text)
        case StoredDataError():
            logger.error("[MCP] %s", failure.message)
            return not_found()
        case _:
            raise failure


def checked_id(session_id: str) -> str:
    """The session that a request names.

    Raises:
        Refused: It names none, or an invalid id.
    """
    session_id = session_id.strip(" \t")
    if not session_id:
        text = "Bad Request: the Mcp-Session-Id header is missing. Send the one from the answer to `initialize`."
        raise Refused(400, INVALID_REQUEST, text)
    if len(session_id) > _MAX_ID_CHARS or not (session_id.isascii() and session_id.isalnum()):
        raise not_found()
    return session_id


def principal_of(scope: Scope) -> Principal | None:
    """The principal of the request's token; `None` if the server does not authenticate."""
    user = scope.get("user")
    return principal_of_user(user) if isinstance(user, AuthenticatedUser) else None


def principal_of_user(user: AuthenticatedUser) -> Principal:
    """The principal of an accepted token."""
    parts = authorization_context(user)
    return Principal(parts["issuer"], parts["subject"], parts["client_id"])


def check_encoding(scope: Scope) -> None:
    """Refuse a body that is compressed: how large it is would be known too late.

    Source: RFC 9110, section 8.4.
    """
    if headers_of(scope).get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        text = "Unsupported Media Type: the body must not be compressed. Send it without Content-Encoding."
        raise Refused(415, INVALID_REQUEST, text, {"accept-encoding": "identity"})


def check_accepts_stream(request: Request) -> None:
    """Refuse a GET of a client that takes no stream."""
    if not _accepted(headers_of(request.scope).get(b"accept", b""))[1]:
        raise Refused(406, INVALID_REQUEST, "Not Acceptable: the client must accept text/event-stream.")


@lru_cache(128)
def _accepted(accept: bytes) -> tuple[bool, bool]:
    """Whether a client takes JSON, and streams. Clients send the same few headers again and again."""
    return check_accept_headers(Request({"type": "http", "headers": [(b"accept", accept)]}))


@lru_cache(128)
def _is_json(content_type: bytes) -> bool:
    return content_type.partition(b";")[0].strip().lower() == b"application/json"


async def read_message(request: Request) -> JSONRPCMessage:
    """The message that a client posts.

    Raises:
        Refused: It is not a message, or the headers are not those of MCP.
        ServingLimitError: It is too large.
        ClientDisconnect: The client disconnected.
    """
    headers = headers_of(request.scope)
    if not all(_accepted(headers.get(b"accept", b""))):
        text = "Not Acceptable: the client must accept both application/json and text/event-stream."
        raise Refused(406, INVALID_REQUEST, text)
    if not _is_json(headers.get(b"content-type", b"")):
        raise Refused(415, INVALID_REQUEST, "Unsupported Media Type: Content-Type must be application/json.")
    try:
        async with asyncio.timeout(BODY_SECONDS):
            body = await request.body()
    except TimeoutError:
        raise Refused(408, INVALID_REQUEST, f"The request was not sent within {BODY_SECONDS:.0f} s.") from None
    try:
        # The parser bounds how deep it may be nested.
        decoded = from_json(body, allow_inf_nan=False)
    except ValueError:
        text = "Parse error: the body is not JSON in UTF-8, or is nested too deeply."
        raise Refused(400, PARSE_ERROR, text) from None
    try:
        return _message(decoded)
    except ValidationError:
        raise Refused(400, INVALID_REQUEST, "The body is not one JSON-RPC message; there are no batches.") from None


def names_unknown_version(scope: Scope) -> bool:
    """Whether a request in a session names a protocol version that does not exist.

    Source: MCP 2025-11-25, basic/transports "Protocol Version Header".
    """
    headers = headers_of(scope)
    return SESSION_HEADER.encode() in headers and headers.get(_VERSION_HEADER, b"") not in _VERSIONS


async def version_refused(request: Request, *, sessions_only: bool) -> Refused:
    """The refusal of a request in a protocol version that does not exist, or that has no sessions, from which clients
    fall back to the handshake.

    Source: MCP 2026-07-28, basic/versioning, `UnsupportedProtocolVersionError`.
    """
    message = await read_message(request) if request.method == "POST" else None
    supported = HANDSHAKE_PROTOCOL_VERSIONS if sessions_only else SUPPORTED_PROTOCOL_VERSIONS
    requested = request.headers.get("mcp-protocol-version", "")
    details = UnsupportedProtocolVersionErrorData(supported=list(supported), requested=requested)
    is_known = requested.encode() in _VERSIONS
    return Refused(
        400,
        UNSUPPORTED_PROTOCOL_VERSION,
        "This server keeps sessions, which that protocol version does not support."
        if is_known
        else f"Unsupported protocol version in the MCP-Protocol-Version header. Supported: {', '.join(supported)}.",
        data=details.model_dump(mode="json"),
        request_id=message.id if isinstance(message, JSONRPCRequest) else None,
    )


def _message(decoded: object) -> JSONRPCMessage:
    """Its members decide which kind it is, so that the rules of that kind apply."""
    if isinstance(decoded, dict) and "method" in decoded:
        kind = JSONRPCRequest if "id" in decoded else JSONRPCNotification
    else:
        kind = JSONRPCError if isinstance(decoded, dict) and "error" in decoded else JSONRPCResponse
    return kind.model_validate(decoded, by_name=False)


def within_bounds(scope: Scope, receive: Receive, limits: ServingLimits) -> Receive:
    """A `receive` that raises `ServingLimitError` once the body is too large."""
    declared = headers_of(scope).get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > limits.body_bytes:
        raise _too_large(limits)
    taken = 0

    async def receive_within() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > limits.body_bytes:
            raise _too_large(limits)
        return message

    return receive_within


def _too_large(limits: ServingLimits) -> ServingLimitError:
    return ServingLimitError("Nothing was run: the request is too large", bound="body_bytes", maximum=limits.body_bytes)
