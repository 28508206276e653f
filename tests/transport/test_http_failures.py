"""What a failed connection, or an HTTP status, means and what is said of it."""

from __future__ import annotations

from email.utils import formatdate
from time import time

import httpx2
import pytest

from jackfield import (
    AuthenticationError,
    HttpConfig,
    JackfieldError,
    ServerUnavailableError,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
    SseConfig,
)
from jackfield.transport.http_failures import (
    concerns_session,
    connection_failure,
    is_rpc_error,
    media_type,
    not_mcp,
    status_failure,
)

CONFIG = HttpConfig(server_name="rig", url="https://rig.example/mcp", timeout=7)
SSE = SseConfig(server_name="rig", url="https://rig.example/sse")


@pytest.mark.parametrize(
    ("error", "problem", "hint"),
    [
        (httpx2.ConnectTimeout("slow"), "no connection within 7 s", "raise the config's timeout"),
        (httpx2.ReadTimeout("slow"), "the connection fell silent", "Raise sse_read_timeout"),
        (httpx2.ConnectError("certificate verify failed"), "TLS failed", "the file of your own authority"),
        (httpx2.ConnectError("Name or service not known"), "its host name is unknown", "typing mistake"),
        (httpx2.ConnectError("refused"), "connection failed (refused)", "Check that the server runs"),
        (httpx2.ReadError(""), "the connection broke (ReadError)", "look at the server's log"),
    ],
)
def test_connections_that_fail(error: httpx2.TransportError, problem: str, hint: str) -> None:
    failure = connection_failure(CONFIG, error)
    assert isinstance(failure, ServerUnavailableError)
    assert failure.retryable
    assert problem in failure.message
    assert failure.message.startswith("Server 'rig' at https://rig.example/mcp cannot")
    assert failure.hint is not None
    assert hint in failure.hint


def request(session: str | None = None, url: str = CONFIG.url) -> httpx2.Request:
    return httpx2.Request("POST", url, headers={} if session is None else {"mcp-session-id": session})


def failure_of(
    status: int, body: str = "", *, session: str | None = None, headers: dict[str, str] | None = None
) -> JackfieldError:
    return status_failure(CONFIG, request(session), httpx2.Response(status, headers=headers), body)


@pytest.mark.parametrize(
    ("status", "body", "session", "kind", "sent", "retryable", "lost"),
    [
        (401, "", None, AuthenticationError, False, False, False),
        (403, "", "s", AuthenticationError, False, False, False),
        (404, "", "s", SessionExpiredError, False, True, True),
        (404, "", None, ServerUnavailableError, False, False, False),
        (405, "", "s", ServerUnavailableError, False, False, False),
        (400, "No valid Session ID", "s", SessionInvalidError, False, True, True),
        (400, "No valid Session ID", None, ServerUnavailableError, None, False, False),
        (400, "bad", "s", ServerUnavailableError, None, False, False),
        (409, "", "s", SessionConflictError, False, True, False),
        (429, "", None, ServerUnavailableError, False, True, False),
        (500, "", None, ServerUnavailableError, None, True, False),
        (502, "", None, ServerUnavailableError, None, True, False),
        (503, "", None, ServerUnavailableError, False, True, False),
        (302, "", None, ServerUnavailableError, None, False, False),
    ],
)
def test_statuses(
    status: int,
    body: str,
    session: str | None,
    kind: type[JackfieldError],
    sent: bool | None,
    retryable: bool,
    lost: bool,
) -> None:
    failure = failure_of(status, body, session=session)
    assert type(failure) is kind
    assert (failure.sent, failure.retryable, failure.state_lost) == (sent, retryable, lost)
    assert str(status) in failure.message


def test_what_the_server_said_goes_along_unless_it_is_a_page() -> None:
    assert failure_of(500, "out of memory").server_output == "out of memory"
    assert failure_of(500, "<HTML><body>Bad Gateway</body>").server_output is None


@pytest.mark.parametrize("config", [CONFIG, SSE])
def test_a_wrong_path_names_the_other_transport(config: HttpConfig | SseConfig) -> None:
    hint = status_failure(config, request(), httpx2.Response(404), "").hint
    assert hint is not None
    assert ("SseConfig" if config is CONFIG else "HttpConfig") in hint


@pytest.mark.parametrize(("given", "seconds"), [("12", 12), ("in a minute", 60), ("a minute ago", 0), ("soon", None)])
def test_when_to_try_again(given: str, seconds: float | None) -> None:
    dates = {"in a minute": formatdate(time() + 60), "a minute ago": formatdate(time() - 60)}
    wait = failure_of(503, headers={"retry-after": dates.get(given, given)}).retry_after
    assert wait == (None if seconds is None else pytest.approx(seconds, abs=5))
    assert failure_of(503).retry_after is None


def test_a_scope_that_is_missing_is_named() -> None:
    asked = {"www-authenticate": 'Bearer error="insufficient_scope", scope="notes:write"'}
    hint = failure_of(403, headers=asked).hint
    assert hint is not None
    assert "(notes:write): add that to auth.scopes" in hint
    assert "allowed hosts" in (failure_of(403).hint or "")


@pytest.mark.parametrize(
    ("status", "body", "session", "concerns"),
    [
        (401, "", None, True),
        (403, "", None, True),
        (404, "", "s", True),
        (404, "", None, False),
        (400, "no such session", "s", True),
        (400, "no such tool", "s", False),
        (500, "no such session", "s", False),
    ],
)
def test_what_concerns_the_session(status: int, body: str, session: str | None, concerns: bool) -> None:
    assert concerns_session(request(session), status, body) is concerns


def test_over_sse_the_address_names_the_session() -> None:
    assert concerns_session(request(url="https://rig.example/messages?session_id=1"), 404, "")


def test_answers_that_are_not_of_the_protocol() -> None:
    assert "answered with a web page, not with MCP" in not_mcp(CONFIG, "text/html").message
    assert "answered with something without a content type" in not_mcp(CONFIG, "").message
    assert media_type(httpx2.Response(200, headers={"content-type": "Text/HTML; charset=utf-8"})) == "text/html"
    assert is_rpc_error('{"jsonrpc": "2.0", "id": 1, "error": {"code": 1, "message": "x"}}')
    assert not any(map(is_rpc_error, ['{"error": "x"}', "[]", "{", '"jsonrpc error"']))
