"""The meaning of a failed connection or an HTTP answer for a session, and its error text. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urljoin, urlsplit

import httpx2
from mcp.types import INVALID_PARAMS, METHOD_NOT_FOUND, JSONRPCError
from pydantic import ValidationError

from ..auth.challenge import Challenge, united
from ..config.proxies import proxy_for
from ..config.servers import HttpConfig, SseConfig
from ..errors import (
    AuthenticationError,
    Details,
    JackfieldError,
    RequestError,
    ServerUnavailableError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
)
from ..masking import mask, masked
from ..plain import as_table, parsed_json
from .http_statuses import Circumstance, status_rule

SESSION_HEADER = "mcp-session-id"
_QUOTED_CHARS = 4096
_HOPS = "jackfield_redirects"
_MAX_HOPS = 5


def media_type(response: httpx2.Response) -> str:
    """The kind of an answer's body, without its parameters."""
    return response.headers.get("content-type", "").partition(";")[0].strip().lower()


def connection_failure(config: HttpConfig | SseConfig, error: Exception) -> JackfieldError:
    """The meaning of a failed connection, and what to check."""
    reason = str(error) or type(error).__name__
    if isinstance(error, httpx2.ConnectTimeout):
        problem, hint = (
            f"no connection within {config.timeout:g} s",
            "Check host and port, or raise the config's timeout.",
        )
    elif isinstance(error, httpx2.ReadTimeout):
        problem, hint = "the connection fell silent", "Raise sse_read_timeout if the server may be silent longer."
    elif re.search(r"certificate|ssl|tls", reason, re.IGNORECASE):
        problem, hint = (
            f"TLS failed ({reason})",
            "Check the URL's scheme; set `verify` to the file of your certificate authority.",
        )
    elif re.search(r"name or service|resolution|getaddrinfo|nodename", reason, re.IGNORECASE):
        problem, hint = "its host name is unknown", "Check the URL for a typo."
    elif isinstance(error, httpx2.ConnectError):
        problem, hint = f"connection failed ({reason})", "Check that the server runs, and its host and port."
    else:
        problem, hint = f"the connection broke ({reason})", "Try again; look at the server's log if it happens again."
    through = ""
    if proxy_for(config.url) is not None:
        # Its URL is not shown: it may hold a password.
        through = " through the proxy that the environment names"
        hint += " Check the proxy, too (HTTP_PROXY, HTTPS_PROXY, ALL_PROXY), or name the host in NO_PROXY."
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} cannot be reached{through}: {problem}.",
        server_name=config.server_name,
        is_reached=False,
        retryable=True,
        hint=hint,
    )


def not_mcp(config: HttpConfig | SseConfig, kind: str) -> JackfieldError:
    """The error for an answer of a kind that MCP does not have."""
    what = "a web page" if kind == "text/html" else f"{kind or 'something without a content type'}"
    return ServerUnavailableError(
        f"{config.address} answered with {what}, not with MCP.",
        server_name=config.server_name,
        hint="Check the path of the URL: it often ends in /mcp, or in /sse for SSE.",
    )


def _rpc_error(body: str) -> JSONRPCError | None:
    """The JSON-RPC error that a body is, whatever its id."""
    try:
        return JSONRPCError.model_validate(parsed_json(body))
    except ValidationError:
        return None


def request_id(request: httpx2.Request) -> str | int | None:
    """The id of the JSON-RPC request that a POST carries; `None` for a notification or an answer."""
    message = as_table(parsed_json(request.content))
    return message.get("id") if "method" in message else None


def is_answer(request: httpx2.Request) -> bool:
    """Whether a POST carries an answer to a request of the server."""
    message = as_table(parsed_json(request.content))
    return "method" not in message and message.get("id") is not None


def _is_opening(request: httpx2.Request) -> bool:
    return as_table(parsed_json(request.content)).get("method") in ("initialize", "server/discover")


def answers_request(config: HttpConfig | SseConfig, request: httpx2.Request, status: int, body: str) -> bool:
    """Whether a failed request was answered in the protocol's own terms, which then say more than the status.

    An error with another id, or none, comes from another sender, perhaps from a gateway. Statuses that have a meaning
    of their own in MCP keep it: 401, 403, and those that end a session.

    Source: MCP 2026-07-28, basic/transports "Streamable HTTP": errors have an HTTP status as well.
    """
    error, asked, answered = _rpc_error(body), request_id(request), as_table(parsed_json(body)).get("id")
    if error is None or asked is None or type(answered) is not type(asked) or answered != asked or status in (401, 403):
        return False
    if status == 409 and _is_opening(request) and names_conflict(body):
        return False
    if error.error.code in (METHOD_NOT_FOUND, INVALID_PARAMS):
        return True  # About this request, though it has a status, or speaks of sessions, as if the session were gone.
    return not status_rule(status, _circumstances(config, request, httpx2.Headers(), body)).state_lost


def answer_as_error(config: HttpConfig | SseConfig, request: httpx2.Request, body: str) -> RequestError:
    """The text of a JSON-RPC error that cannot reach its request."""
    method, answer = as_table(parsed_json(request.content)).get("method"), _rpc_error(body)
    assert answer
    return RequestError(
        f"Server {config.server_name!r} answered {method} with error {answer.error.code}: {answer.error.message}",
        rpc_code=answer.error.code,
        rpc_message=answer.error.message,
        rpc_data=masked(answer.error.data),
        server_name=config.server_name,
        sent=True,
    )


# Whitespace and the rest take turns in these, so that no text takes long to be read.
_SESSION_ID = r"\bsession[\s_-]?id\b|\bmcp-session\b"
_SESSION_IS_GONE = r"""
    \bsession\S{0,80} (?:\s+\S+){0,4}? \s+ (?: not\s(?:found|recogni[sz]ed|known) | expired | terminated | closed | gone
        | lost | ended | unknown | no\slonger | (?:does\snot|doesn't)\sexist | timed\sout )\b
  | \bsession\s+(?:is\s+)? (?: invalid | not\svalid | missing | required )\b
  | \b(?: no | not\sa | invalid | unknown | expired | missing | unrecogni[sz]ed | not\sfind | without\sa )\b
        (?:\s\w+){0,3}? \ssession\b
        (?= \s*$ | \s*[^\w\s] | \s(?: header | provided | found | exists | available | for | with | in | was | is )\b )
"""
_NOT_INITIALIZED = r"""
    (?: ^ | : | \b(?: server | session | client | connection | transport | mcp )\b ) \s* (?:(?: is | has | was )\s+)?
        (?: not\s+(?:yet\s+)?(?:been\s+)?initiali[sz]ed | uninitiali[sz]ed )\b
  | \b(?: before\s+initiali[sz](?: e | ation | ing ) | expect(?:ed|s)?\s+(?:an?\s+)?initiali[sz]e
        | initiali[sz]e\s+first )\b
"""
_NAMES_SESSION = re.compile(f"{_SESSION_ID} | {_SESSION_IS_GONE} | {_NOT_INITIALIZED}", re.IGNORECASE | re.VERBOSE)


def names_session(words: str) -> bool:
    """Whether a server's words on HTTP 400 are of the session, or of its initialization, rather than of the request."""
    return _NAMES_SESSION.search(words) is not None


_OF_SESSIONS = re.compile(r"\b(?:session|connection|client)s?\b|\bconnected\b", re.IGNORECASE)
_BARE_CONFLICT = re.compile(
    r"(?:\W|_|\b(?:error|message|detail|title|status|code|statuscode|409|conflict)\b)*", re.IGNORECASE
)


def names_conflict(body: str) -> bool:
    """Whether the body of HTTP 409 is of sessions or connections that exclude each other, or says no more than the
    status. Other words, such as of a resource that is in use, are of the request."""
    words = _words(body)
    if words is None:
        return not body.strip()
    return _OF_SESSIONS.search(words) is not None or _BARE_CONFLICT.fullmatch(words) is not None


def _has_session(config: HttpConfig | SseConfig, request: httpx2.Request) -> bool:
    """Whether a request names a session that the server gave: by a header that is not of the configuration, or over
    SSE by the address that messages go to."""
    if isinstance(config, SseConfig):
        return request.method == "POST"
    return SESSION_HEADER in request.headers and not any(name.lower() == SESSION_HEADER for name in config.headers)


def _words(body: str) -> str | None:
    """What the server says in a body; a web page is of a proxy as a rule, and says nothing in a line."""
    if re.search(r"<html|<!doctype", body, re.IGNORECASE):
        return None
    error = _rpc_error(body)
    return mask(body if error is None else error.error.message).strip()[:_QUOTED_CHARS] or None


def _says_not_executed(body: str) -> bool:
    error = _rpc_error(body)
    return error is not None and as_table(error.error.data).get("executed") is False


def _circumstances(
    config: HttpConfig | SseConfig, request: httpx2.Request, headers: httpx2.Headers, body: str
) -> set[Circumstance]:
    known: dict[Circumstance, bool] = {
        "session id": _has_session(config, request),
        "names the session": names_session(_words(body) or ""),
        "in conflict": request.method == "POST" and names_conflict(body),
        "challenge": "www-authenticate" in headers,
        "says not executed": _says_not_executed(body),
        "retry_on_503": config.session.retry_on_503,
    }
    return {circumstance for circumstance, holds in known.items() if holds}


def status_failure(
    config: HttpConfig | SseConfig, request: httpx2.Request, response: httpx2.Response, body: str
) -> JackfieldError:
    """What an HTTP status means for a session: `status_rule` in words."""
    status = response.status_code
    rule = status_rule(status, _circumstances(config, request, response.headers, body))
    wait = retry_after(response) if rule.retryable else None
    challenge = Challenge.of(response)
    say = f"Server {config.server_name!r} at {config.address} answered HTTP {status}"
    if rule.error is AuthenticationError:
        problem = f"{say}: " + (
            "it requires credentials, or rejects those that were sent."
            if status == 401
            else "these credentials do not permit the request."
        )
        hint = _credentials_hint(config, response, challenge)
    elif rule.error is SessionExpiredError:
        problem = f"Server {config.server_name!r} no longer knows this session (HTTP {status})."
        hint = "Open the session again."
    elif rule.error is SessionInvalidError:
        problem = f"Server {config.server_name!r} does not accept this session id (HTTP {status})."
        hint = "Open the session again."
    elif rule.error is SessionConflictError:
        problem = f"{say}: it conflicts with another session or connection."
        hint = "The session is reopened." if rule.state_lost else "Close the other one, or wait until it has ended."
    elif status in (404, 405, 406, 410):
        other = "an SseConfig (transport sse)" if isinstance(config, HttpConfig) else "an HttpConfig (transport http)"
        problem = f"{say}: no MCP server is at this path."
        hint = f"Check the path of the URL (often /mcp or /sse), or use {other}."
    elif status < 400:
        problem = f"{say}: a redirect{_redirect(request, response)}, which is not followed."
        hint = "If that address is the intended one, set it as the URL."
    elif rule.retryable:
        problem = f"{say}."
        hint = "Try again; look at the server's log." if wait is None else f"Try again in {wait:g} s."
    else:
        problem, hint = f"{say}.", None
    details: Details = {
        "server_name": config.server_name,
        "sent": rule.sent,
        "retryable": rule.retryable,
        "state_lost": rule.state_lost,
        "server_output": _words(body),
        "hint": hint,
        "retry_after": wait,
    }
    if rule.error is AuthenticationError:
        return AuthenticationError(problem, required_scopes=challenge.scopes, **details)
    return rule.error(problem, **details)


def _credentials_hint(config: HttpConfig | SseConfig, response: httpx2.Response, challenge: Challenge) -> str:
    from ..auth.bearer import GRANTED_SCOPE
    from ..auth.store import sign_in_hint

    if config.oauth is not None and config.oauth.is_automatic:
        if challenge.lacks_scope:
            return (
                f"Its authorization server does not give this client the scope ({challenge}): ask its operator for it."
            )
        if response.status_code == 401:
            return "Its authorization server gave this token for the client's credentials: tell the server's operator."
    if challenge.lacks_scope:
        if config.oauth is None:
            return f"The token lacks a scope ({challenge}): set one that has it in the server's config."
        if challenge.scopes and set(challenge.scopes) <= set(united(response.extensions.get(GRANTED_SCOPE))):
            return f"The token already has the required scope ({challenge}): tell the server's operator."
        again = sign_in_hint(config.server_name, "to request it together with the scopes granted before")
        return f"The server requires another scope ({challenge}). {again}" + (
            "" if challenge.scopes else " If that does not help, name the scope: --scope NAME."
        )
    if response.status_code == 401:
        if config.oauth is not None:
            return sign_in_hint(config.server_name, "to sign in, or set headers={'Authorization': ...} in its config")
        return "Set headers={'Authorization': 'Bearer ...'} or auth= in its config."
    return "Check the token's scopes, or the server's allowed hosts and origins."


def _location(request: httpx2.Request, response: httpx2.Response) -> httpx2.URL | None:
    try:
        return request.url.join(response.headers["location"])
    except (KeyError, ValueError, httpx2.InvalidURL):
        return None


def sent_on_to(request: httpx2.Request, response: httpx2.Response) -> bytes | None:
    """The address that a redirect sends a request on to; `None` if it is not followed, also for it would not end."""
    location = _location(request, response)
    request.extensions[_HOPS] = hops = int(request.extensions.get(_HOPS, 0)) + 1
    if location is None or hops > _MAX_HOPS or (request.method == "POST" and not is_followed(request, response)):
        return None
    return str(location).encode("ascii", "replace")


def is_followed(request: httpx2.Request, response: httpx2.Response) -> bool:
    """Whether a request is sent on: by a redirect that keeps the method, to the same server. So does the SDK."""
    location, origin = _location(request, response), request.url
    if (response.status_code not in (307, 308) and request.method == "POST") or location is None:
        return False
    to_https = (origin.scheme, origin.port, location.scheme, location.port) == ("http", None, "https", None)
    same = (location.scheme, location.port) == (origin.scheme, origin.port)
    return location.host == origin.host and (same or to_https)


def _redirect(request: httpx2.Request, response: httpx2.Response) -> str:
    """Where to, without what may be secret."""
    location = _location(request, response)
    return "" if location is None else f" to {location.copy_with(userinfo=b'', query=None, fragment=None)}"


def foreign_endpoint(config: HttpConfig | SseConfig, endpoint: str) -> JackfieldError | None:
    """The error for an `endpoint` event over SSE that names another origin than the stream's.

    Source: MCP 2024-11-05, basic/transports "HTTP with SSE".
    """
    try:
        ours, theirs = urlsplit(config.url), urlsplit(urljoin(config.url, endpoint))
        if (ours.scheme, ours.netloc) == (theirs.scheme, theirs.netloc):
            return None
        said = f"of another origin ({theirs.scheme}://{theirs.hostname}{f':{theirs.port}' if theirs.port else ''})"
    except ValueError:
        said = "that is not valid"
    return ServerUnavailableError(
        f"Server {config.server_name!r} at {config.address} names a POST address {said}; it is not used.",
        server_name=config.server_name,
        sent=False,
        hint="Behind a proxy, configure the server's public address, or connect to it directly.",
    )


LONGEST_RETRY_AFTER_SECONDS = 86_400.0
"""A server that asks for more is asked again after a day."""


def retry_after(response: httpx2.Response) -> float | None:
    """Seconds, which a server may also give as a date; `None` if missing or invalid.

    Source: RFC 9110, section 10.2.3.
    """
    text = response.headers.get("retry-after", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    try:
        when = parsedate_to_datetime(text)
        seconds = (when.replace(tzinfo=when.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(0.0, seconds), LONGEST_RETRY_AFTER_SECONDS)
