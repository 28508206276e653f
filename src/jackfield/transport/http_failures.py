"""What a failed connection, or an HTTP answer, means for a session, and what to say of it. Pure."""

from __future__ import annotations

import json
import re
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from ..config.servers import HttpConfig, SseConfig
from ..errors import (
    AuthenticationError,
    JackfieldError,
    ServerUnavailableError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
)

SESSION_HEADER = "mcp-session-id"


def media_type(response: httpx2.Response) -> str:
    """The kind of an answer's body, without its parameters."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def _details(config: HttpConfig | SseConfig, **more: Any) -> dict[str, Any]:
    return {"server_name": config.server_name, **more}


def connection_failure(config: HttpConfig | SseConfig, error: httpx2.TransportError) -> JackfieldError:
    """What a failed connection means and what to look at."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout):
        problem, hint = (
            f"no connection within {config.timeout:g} s",
            "Check host and port, or raise the config's timeout.",
        )
    elif isinstance(error, httpx2.ReadTimeout):
        problem, hint = "the connection fell silent", "Raise sse_read_timeout if the server may be silent for so long."
    elif re.search(r"certificate|ssl|tls", reason, re.IGNORECASE):
        problem, hint = (
            f"TLS failed ({reason})",
            "Check the URL's scheme; give `verify` the file of your own authority.",
        )
    elif re.search(r"name or service|resolution|getaddrinfo|nodename", reason, re.IGNORECASE):
        problem, hint = "its host name is unknown", "Check the URL for a typing mistake."
    elif isinstance(error, httpx2.ConnectError):
        problem, hint = f"connection failed ({reason})", "Check that the server runs, and its host and port."
    else:
        problem, hint = f"the connection broke ({reason})", "Try again; look at the server's log if it happens again."
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} cannot be reached: {problem}.",
        **_details(config, retryable=True, hint=hint),
    )


def not_mcp(config: HttpConfig | SseConfig, kind: str) -> JackfieldError:
    """The error for an answer of a kind that MCP does not have."""
    what = "a web page" if kind == "text/html" else f"{kind or 'something without a content type'}"
    return ServerUnavailableError(
        f"{config.address} answered with {what}, not with MCP.",
        **_details(config, sent=True, hint="Check the path of the URL: it often ends in /mcp, or in /sse for SSE."),
    )


def is_rpc_error(body: str) -> bool:
    """Whether a failed request was answered in the protocol's own terms, which then say more than the status.

    Source: MCP 2026-07-28, basic/transports "Streamable HTTP": errors have an HTTP status as well.
    """
    try:
        parsed = json.loads(body)
    except ValueError:
        return False
    return isinstance(parsed, dict) and "jsonrpc" in parsed and "error" in parsed


def concerns_session(request: httpx2.Request, status: int, body: str) -> bool:
    """Whether the failure is of the session or of who may use it, rather than of this one request."""
    if status in (401, 403):
        return True
    return _names_session(request) and (status == 404 or (status == 400 and "session" in body.lower()))


def _names_session(request: httpx2.Request) -> bool:
    """Whether the request belongs to a session: by its header, or over SSE by the address it got from the server."""
    return SESSION_HEADER in request.headers or "session" in str(request.url.query)


def status_failure(
    config: HttpConfig | SseConfig, request: httpx2.Request, response: httpx2.Response, body: str
) -> JackfieldError:
    """What an HTTP status means for a session."""
    from ..auth.bearer import missing_scope
    from ..auth.store import sign_in_hint

    status = response.status_code
    has_session = _names_session(request)
    output = None if "<html" in body.lower() else body or None
    say = f"Server {config.server_name!r} at {config.address} answered HTTP {status}"
    if status == 401:
        hint = "Set headers={'Authorization': 'Bearer ...'} or auth= in its config."
        if config.oauth is not None:
            hint = sign_in_hint(config.server_name, "to sign in, or set headers={'Authorization': ...} in its config")
        return AuthenticationError(
            f"{say}: it wants credentials, or does not accept those it got.",
            **_details(config, sent=False, hint=hint),
        )
    if status == 403:
        hint = "Check the token's scopes, or the server's allowed hosts and origins."
        if config.oauth is not None and (scope := missing_scope(response)) is not None:
            again = sign_in_hint(config.server_name, "again")
            hint = f"It wants another scope ({scope}): add that to auth.scopes in its config. {again}"
        return AuthenticationError(
            f"{say}: these credentials may not do that.", **_details(config, sent=False, hint=hint)
        )
    if status == 404 and has_session:
        return SessionExpiredError(
            f"Server {config.server_name!r} no longer knows this session (HTTP 404).",
            **_details(config, sent=False, state_lost=True, retryable=True, hint="Open the session again."),
        )
    if status == 400 and has_session and "session" in body.lower():
        return SessionInvalidError(
            f"Server {config.server_name!r} does not accept this session id (HTTP 400).",
            **_details(
                config,
                sent=False,
                state_lost=True,
                retryable=True,
                server_output=output,
                hint="Open the session again.",
            ),
        )
    if status == 409:
        return SessionConflictError(
            f"{say}: another connection holds this session.",
            **_details(config, sent=False, retryable=True, hint="Close the other connection, or use another key."),
        )
    if status in (404, 405, 406, 410):
        other = "an SseConfig (transport sse)" if isinstance(config, HttpConfig) else "an HttpConfig (transport http)"
        return ServerUnavailableError(
            f"{say}: no MCP server is at this path.",
            **_details(config, sent=False, hint=f"Check the path of the URL (often /mcp or /sse), or use {other}."),
        )
    if status == 429 or status >= 500:
        wait = _retry_after(response)
        hint = f"Try again in {wait:g} s." if wait is not None else "Try again; look at the server's log."
        # A gateway's 5xx says nothing of how far the server behind it got.
        sent = False if status in (429, 503) else None
        return ServerUnavailableError(
            f"{say}.",
            **_details(config, sent=sent, retryable=True, server_output=output, hint=hint, retry_after=wait),
        )
    return ServerUnavailableError(f"{say}.", **_details(config, sent=None, server_output=output))


def _retry_after(response: httpx2.Response) -> float | None:
    """Seconds, which a server may also give as a date.

    Source: RFC 9110, section 10.2.3.
    """
    text = response.headers.get("retry-after", "").strip()
    if text.isdigit():
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (when - datetime.now(when.tzinfo)).total_seconds())
