"""What goes wrong over HTTP in the words of the library, which is imported for that."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import httpx2

from ...config.servers import HttpConfig
from ...plain import as_table, parsed_json
from ...transport.bad_answers import bad_answer
from ...transport.http_failures import answers_request, connection_failure, is_followed, not_mcp, status_failure
from .wire import Message, NotDirectError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ...config.servers import ServerConfig
    from ...errors import JackfieldError
    from .connection import BrokenError, Head, Header


def judged(config: ServerConfig, message: Message, headers: Sequence[Header], head: Head, body: bytes) -> Message:
    """The answer in a response with another status or of another kind than expected.

    Args:
        config: The server.
        message: The request.
        headers: It was sent with.
        head: Of the response.
        body: Of the response, as far as it matters.

    Raises:
        NotDirectError: The request has not been executed.
        JackfieldError: What else the response means.
    """
    assert isinstance(config, HttpConfig)
    method = str(message["method"])
    if head.status == 200:
        raise with_outcome(not_mcp(config, head.media_type))
    if head.status < 300:
        raise with_outcome(bad_answer(config, method, f"HTTP {head.status} without a message"))
    request = httpx2.Request("POST", config.url, headers=list(headers), json=dict(message))
    response = httpx2.Response(head.status, headers=list(head.headers), request=request)
    if response.has_redirect_location and is_followed(request, response):
        raise NotDirectError
    text = body.decode("utf-8", "replace")
    if answers_request(config, request, head.status, text):
        return as_table(parsed_json(body))
    failure = status_failure(config, request, response, text)
    raise NotDirectError if failure.sent is False else with_outcome(failure)


def connection_broke(config: ServerConfig, broken: BrokenError) -> JackfieldError:
    """The error of a request whose connection broke before there was any answer."""
    return with_outcome(connection_failure(cast("HttpConfig", config), httpx2.RemoteProtocolError(str(broken))))


def with_outcome(error: JackfieldError) -> JackfieldError:
    """The error of a call, with what became of the call."""
    message, outcome = error.message.rstrip("."), "the call may have taken effect"
    return error if message.endswith(outcome) else error.told(message=f"{message}; {outcome}.")
