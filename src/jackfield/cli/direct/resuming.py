"""Asks for the rest of an answer whose stream ended before it came.

Source: MCP 2025-11-25, basic/transports "Resumability and Redelivery".
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, cast

import httpx2

from ...config.servers import HttpConfig
from ...transport.http_bodies import cut_off
from ...transport.http_failures import connection_failure, status_failure
from ...transport.http_streams import EVENTS, RESUME_SECONDS, is_temporary, not_resumed, pause_before
from .connection import BrokenError, Connection, Head, Header, UnreachedError
from .failures import with_outcome

if TYPE_CHECKING:
    from ...transport.report import ConnectionReport


class Asking(Protocol):
    """Asks for the rest; see `HttpWire`."""

    def ask_again(self, last_id: str, until: float) -> tuple[Connection, Head]: ...
    def pause(self, seconds: float, until: float) -> None: ...
    def headers(self, method: str) -> Sequence[Header]: ...
    def report(self) -> ConnectionReport: ...


def resumed(
    wire: Asking, last_id: str, retry_seconds: float | None, fruitless: int, until: float, broken: BrokenError | None
) -> Connection:
    """The connection that brings the rest of the stream.

    Args:
        wire: Asks for it.
        last_id: Of the last event that came.
        retry_seconds: How long the server asks to wait before that.
        fruitless: How many connections in a row brought nothing.
        until: When it is too late for the answer.
        broken: How the connection ended.

    Raises:
        JackfieldError: It is not to be had; the call may have taken effect.
        OutOfTimeError: It is too late.
    """
    report = wire.report()
    config = cast("HttpConfig", report.config)
    gives_up = time.monotonic() + RESUME_SECONDS
    attempt, wait = 1, pause_before(retry_seconds, fruitless)
    while True:
        wire.pause(wait, until)
        try:
            connection, head = wire.ask_again(last_id, until)
        except (BrokenError, UnreachedError) as error:
            failure = connection_failure(config, httpx2.RemoteProtocolError(str(error) or "connection failed"))
        else:
            if head.status == 200 and head.media_type == EVENTS:
                return connection
            if head.status < 300:
                reason = None if broken is None else httpx2.RemoteProtocolError(str(broken))
                raise cut_off(report, reason)
            body = b""
            with contextlib.suppress(BrokenError):
                body = next(connection.body(until), b"")
            request = httpx2.Request("GET", config.url, headers=list(wire.headers("GET")))
            response = httpx2.Response(head.status, headers=list(head.headers), request=request)
            failure = status_failure(config, request, response, body.decode("utf-8", "replace"))
        attempt += 1
        wait = config.session.wait_before(attempt, failure.retry_after or 0.0)
        if failure.state_lost or not is_temporary(failure) or time.monotonic() + wait > gives_up:
            raise with_outcome(not_resumed(config, failure))
