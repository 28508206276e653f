"""What a failed connection, or an HTTP status, means and what is said of it."""

from __future__ import annotations

import json
from email.utils import formatdate
from time import time
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from jackfield import (
    AuthenticationError,
    HttpConfig,
    JackfieldError,
    ServerUnavailableError,
    SessionConfig,
    SessionConflictError,
    SessionExpiredError,
    SessionInvalidError,
    SseConfig,
)
from jackfield.transport.http_failures import (
    LONGEST_RETRY_AFTER_SECONDS,
    answer_as_error,
    answers_request,
    connection_failure,
    is_followed,
    media_type,
    names_session,
    not_mcp,
    request_id,
    status_failure,
)

CONFIG = HttpConfig(server_name="rig", url="https://rig.example/mcp", timeout=7)
SSE = SseConfig(server_name="rig", url="https://rig.example/sse")


@pytest.mark.parametrize(
    ("error", "problem", "hint"),
    [
        (httpx2.ConnectTimeout("slow"), "no connection within 7 s", "raise the config's timeout"),
        (httpx2.ReadTimeout("slow"), "the connection fell silent", "Raise sse_read_timeout"),
        (httpx2.ConnectError("certificate verify failed"), "TLS failed", "the file of your certificate authority"),
        (httpx2.ConnectError("Name or service not known"), "its host name is unknown", "typo"),
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


SESSION = {"mcp-session-id": "s"}
CHALLENGE = {"www-authenticate": "Bearer"}
CALL = {"jsonrpc": "2.0", "id": 5, "method": "tools/call", "params": {}}


def request(session: bool = False, message: Any = CALL) -> httpx2.Request:
    return httpx2.Request("POST", CONFIG.url, headers=SESSION if session else {}, json=message)


def rpc(words: str, code: int = -32000, **more: Any) -> str:
    return json.dumps({"jsonrpc": "2.0", "error": {"code": code, "message": words}, **more})


def failure_of(
    status: int,
    body: str = "",
    *,
    session: bool = False,
    headers: dict[str, str] | None = None,
    config: HttpConfig | SseConfig = CONFIG,
) -> JackfieldError:
    return status_failure(config, request(session), httpx2.Response(status, headers=headers), body)


@pytest.mark.parametrize(
    ("status", "body", "session", "headers", "kind", "sent", "retryable", "lost"),
    [
        (401, "", False, CHALLENGE, AuthenticationError, False, False, False),
        (401, "", False, {}, AuthenticationError, None, False, False),
        (403, "", True, CHALLENGE, AuthenticationError, False, False, False),
        (403, "", True, {}, AuthenticationError, None, False, False),
        (404, "", True, {}, SessionExpiredError, False, True, True),
        (404, "", False, {}, ServerUnavailableError, None, False, False),
        (404, "Session not found", False, {}, ServerUnavailableError, None, False, False),
        (405, "", True, {}, ServerUnavailableError, None, False, False),
        (406, "", True, {}, ServerUnavailableError, None, False, False),
        (408, "", True, {}, ServerUnavailableError, None, False, False),
        (410, "", True, {}, ServerUnavailableError, None, False, False),
        (413, "", True, {}, ServerUnavailableError, False, False, False),
        (415, "", True, {}, ServerUnavailableError, False, False, False),
        (400, "No valid Session ID", True, {}, SessionInvalidError, False, True, True),
        (400, rpc("No valid Session ID", id=None), True, {}, SessionInvalidError, False, True, True),
        (400, "No valid Session ID", False, {}, ServerUnavailableError, None, False, False),
        (400, "<html>No valid session ID", True, {}, ServerUnavailableError, None, False, False),
        (400, "bad", True, {}, ServerUnavailableError, None, False, False),
        (409, "", True, {}, SessionConflictError, None, True, True),
        (409, "", False, {}, SessionConflictError, None, True, False),
        (409, '{"error": {"code": 409, "message": "Conflict"}}', True, {}, SessionConflictError, None, True, True),
        (409, rpc("Another client is connected", id=None), True, {}, SessionConflictError, None, True, True),
        (409, "That file is locked", True, {}, SessionConflictError, None, True, False),
        (409, "<html>session in use", True, {}, SessionConflictError, None, True, False),
        (429, "", False, {}, ServerUnavailableError, False, True, False),
        (500, "", False, {}, ServerUnavailableError, None, True, False),
        (502, "", False, {}, ServerUnavailableError, None, True, False),
        (503, "", False, {}, ServerUnavailableError, None, True, False),
        (503, "Session not found", True, {"retry-after": "1"}, ServerUnavailableError, None, True, False),
        (599, "", False, {}, ServerUnavailableError, None, True, False),
        (302, "", False, {"location": "/x"}, ServerUnavailableError, None, False, False),
        (999, "", False, {}, ServerUnavailableError, None, False, False),
    ],
)
def test_statuses(
    status: int,
    body: str,
    session: bool,
    headers: dict[str, str],
    kind: type[JackfieldError],
    sent: bool | None,
    retryable: bool,
    lost: bool,
) -> None:
    failure = failure_of(status, body, session=session, headers=headers)
    assert type(failure) is kind
    assert (failure.sent, failure.retryable, failure.state_lost) == (sent, retryable, lost)
    assert str(status) in failure.message


def test_who_knows_the_server_may_take_503_as_a_proof() -> None:
    knows = HttpConfig(server_name="rig", url=CONFIG.url, session=SessionConfig(retry_on_503=True))
    assert failure_of(503, config=knows).sent is False
    assert failure_of(502, config=knows).sent is None


def test_a_server_may_prove_itself_that_it_executed_nothing() -> None:
    says = '{"jsonrpc": "2.0", "id": null, "error": {"code": -32603, "message": "m", "data": {"executed": %s}}}'
    assert failure_of(503, says % "false").sent is False
    assert failure_of(503, says % "true").sent is None
    assert failure_of(503, says % "0").sent is None
    assert failure_of(502, says % "false").sent is None


def test_a_session_id_of_the_configuration_is_none_that_the_server_gave() -> None:
    given = HttpConfig(server_name="rig", url=CONFIG.url, headers={"Mcp-Session-Id": SecretStr("s")})
    assert failure_of(404, session=True, config=given).sent is None


def test_over_sse_the_address_of_messages_is_the_session() -> None:
    assert failure_of(404, config=SSE).state_lost
    assert failure_of(400, "Invalid session ID", config=SSE).state_lost
    stream = status_failure(SSE, httpx2.Request("GET", SSE.url), httpx2.Response(404), "")
    assert not stream.state_lost


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("Bad Request: Missing session ID", True),
        ("Bad Request: No valid session ID provided", True),
        ("Bad Request: Mcp-Session-Id header is required", True),
        ("Invalid or missing session ID", True),
        ("No transport found for sessionId", True),
        ("session_id is required", True),
        ("Session not found", True),
        ("Session 5f-a0 was not found", True),
        ("session expired, please reconnect", True),
        ("Not Found: Session has been terminated", True),
        ("Could not find session", True),
        ("No active session", True),
        ("no such session", True),
        ("Bad Request: Server not initialized", True),
        ("Server not yet initialized", True),
        ("Unexpected message, expect initialize request", True),
        ("Received request before initialization was complete", True),
        ("bad", False),
        ("No database is open", False),
        ("Database not initialized", False),
        ("the variable x is not initialized", False),
        ("sessions must be a list", False),
        ("invalid session type: must be one of a, b", False),
        ("The obsession was not found", False),
        ("session " * 500, False),
        ("session" + "!" * 4000, False),
        ("no " * 1300, False),
        (":" + " " * 4000, False),
    ],
)
def test_words_on_the_session(words: str, names: bool) -> None:
    assert names_session(words) is names


@pytest.mark.parametrize(
    ("status", "body", "session", "answers"),
    [
        (500, rpc("x", id=5), False, True),
        (400, rpc("x", id=5), True, True),
        (404, rpc("no such tool", code=-32601, id=5), True, True),
        (400, rpc("Invalid session ID", code=-32602, id=5), True, True),
        (500, rpc("x", id="5"), False, False),
        (500, rpc("x", id=5.0), False, False),
        (500, rpc("x", id=True), False, False),
        (500, rpc("x", id=6), False, False),
        (500, rpc("x", id=None), False, False),
        (500, rpc("x"), False, False),
        (500, '{"jsonrpc": "2.0", "id": 5, "error": "x"}', False, False),
        (500, '{"jsonrpc": "2.0", "id": 5, "result": {}}', False, False),
        (500, '{"id": 5, "error": {"code": 1, "message": "x"}}', False, False),
        (500, "[" * 4000, False, False),
        (500, "[]", False, False),
        (401, rpc("x", id=5), False, False),
        (403, rpc("x", id=5), False, False),
        (404, rpc("Session not found", id=5), True, False),
        (400, rpc("Session not found", id=5), True, False),
    ],
)
def test_a_body_is_an_answer_only_to_the_request_whose_id_it_has(
    status: int, body: str, session: bool, answers: bool
) -> None:
    assert answers_request(CONFIG, request(session), status, body) is answers


@pytest.mark.parametrize("message", [{"jsonrpc": "2.0", "method": "x"}, [], {"id": 5, "result": {}}])
def test_what_asks_nothing_has_no_answer(message: Any) -> None:
    assert request_id(request(message=message)) is None
    assert not answers_request(CONFIG, request(message=message), 500, rpc("x", id=5))


def test_an_answer_that_cannot_be_delivered_keeps_its_words() -> None:
    error = answer_as_error(SSE, request(), rpc("out of memory", id=5))
    assert error.message == "Server 'rig' answered tools/call with error -32000: out of memory"
    assert (error.rpc_code, error.sent) == (-32000, True)


def test_what_the_server_said_goes_along_unless_it_is_a_page() -> None:
    assert failure_of(500, "out of memory").server_output == "out of memory"
    assert failure_of(500, rpc("out of memory", id=None)).server_output == "out of memory"
    assert failure_of(500, "<HTML><body>Bad Gateway</body>").server_output is None
    assert failure_of(500, "<!doctype html><title>Bad Gateway</title>").server_output is None


@pytest.mark.parametrize(
    ("status", "location", "followed"),
    [
        (307, "/other", True),
        (308, "https://rig.example/other", True),
        (307, "https://other.example/mcp", False),
        (307, "http://a:b/", False),
        (302, "/other", False),
    ],
)
def test_a_redirect_that_keeps_the_request_and_the_server_is_followed(
    status: int, location: str, followed: bool
) -> None:
    assert is_followed(request(), httpx2.Response(status, headers={"location": location})) is followed


def test_a_redirect_is_named_without_what_may_be_secret() -> None:
    where = "https://u:p@other.example/mcp?token=t#f"
    assert "a redirect to https://other.example/mcp, which" in failure_of(302, headers={"location": where}).message
    assert "a redirect, which" in failure_of(300).message
    assert "a redirect, which" in failure_of(302, headers={"location": "http://a:b/"}).message


@pytest.mark.parametrize("config", [CONFIG, SSE])
def test_a_wrong_path_names_the_other_transport(config: HttpConfig | SseConfig) -> None:
    hint = status_failure(config, httpx2.Request("GET", config.url), httpx2.Response(404), "").hint
    assert hint is not None
    assert ("SseConfig" if config is CONFIG else "HttpConfig") in hint


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("12", 12),
        ("0.5", 0.5),
        ("in a minute", 60),
        ("in a minute, of no zone", 60),
        ("a minute ago", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_RETRY_AFTER_SECONDS),
        ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_RETRY_AFTER_SECONDS),
        ("9" * 400, LONGEST_RETRY_AFTER_SECONDS),
        ("9" * 5000, LONGEST_RETRY_AFTER_SECONDS),
        *(
            (text, None)
            for text in ("", "soon", "-1", "nan", "inf", "1e3", "\u00b2", "\u0663", "1 2", "+5", "0x10", ",")
        ),
        *((f"Fri, {day} Dec {year} 23:59:59 GMT", None) for day, year in (("99", "1999"), ("1", "9" * 30))),
    ],
)
def test_when_to_try_again(given: str, seconds: float | None) -> None:
    dates = {
        "in a minute": formatdate(time() + 60, usegmt=True),
        "in a minute, of no zone": formatdate(time() + 60),
        "a minute ago": formatdate(time() - 60),
    }
    text = dates.get(given, given).encode()
    wait = status_failure(CONFIG, request(), httpx2.Response(503, headers=[(b"retry-after", text)]), "").retry_after
    assert wait == (None if seconds is None else pytest.approx(seconds, abs=5))


def test_a_scope_that_is_missing_is_named() -> None:
    asked = {"www-authenticate": 'Bearer error="insufficient_scope", scope="notes:write"'}
    failure = failure_of(403, headers=asked)
    assert isinstance(failure, AuthenticationError)
    assert failure.required_scopes == ["notes:write"]
    assert "another scope (notes:write). Run `jackfield auth" in (failure.hint or "")
    assert "allowed hosts" in (failure_of(403).hint or "")


def test_answers_that_are_not_of_the_protocol() -> None:
    assert "answered with a web page, not with MCP" in not_mcp(CONFIG, "text/html").message
    assert "answered with something without a content type" in not_mcp(CONFIG, "").message
    assert media_type(httpx2.Response(200, headers={"content-type": "Text/HTML; charset=utf-8"})) == "text/html"
