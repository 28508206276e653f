"""Messages over Streamable HTTP: each is posted, and its answer comes as JSON or as a stream of events.

Source: MCP 2025-11-25 and 2026-07-28, basic/transports "Streamable HTTP".
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

from ..._version import __version__
from ...plain import as_table, readable_json
from ..targets import MODERN_VERSIONS
from .connection import BrokenError, Connection, Head, Header, UnreachedError
from .event_stream import TooLongError, events
from .interrupts import OutOfTimeError
from .wire import (
    CLOSE_SECONDS,
    MAX_MESSAGE_BYTES,
    Message,
    NotDirectError,
    bad_message,
    cancellation,
    read_messages,
    too_long,
)

if TYPE_CHECKING:
    from ...config.endpoint import Endpoint
    from ...transport.report import ConnectionReport
    from ..targets import Target
    from .interrupts import Interrupts

JSON, EVENTS = "application/json", "text/event-stream"
_NAMED_BY = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
"""What of a request is in a header as well. Source: MCP 2026-07-28, basic/transports."""
_HEADER_SAFE = re.compile(r"[!-~](?:[ -~]*[!-~])?")
_ENCODED = re.compile(r"=\?base64\?.*\?=")
_SESSION_ID = re.compile(r"[!-~]*")
_QUOTED_BYTES = 1000
_FAILURE_BYTES = 64 * 1024
_FAILURE_SECONDS = 2.0
_CANCEL_SECONDS = 2.0
_SEND_SECONDS = 10.0
# The end of a stream comes right after the answer, as a rule; the connection can be used again then.
_END_SECONDS = 0.05
_NOISE_BYTES = 64 * 1024


class HttpWire:
    """Carries messages to a server over HTTP and back.

    Args:
        target: The server.
        endpoint: Where it is.
        interrupts: End the waiting.
    """

    is_restarted = False

    def __init__(self, target: Target, endpoint: Endpoint, interrupts: Interrupts) -> None:
        self.version: str = ""
        self.may_leave: bool = True
        self._target = target
        self._endpoint = endpoint
        self._parts = parts = endpoint.parts
        self._path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self._interrupts = interrupts
        self._told: list[ConnectionReport] = []
        self._session_id = ""
        self._is_open = False
        self._connections: list[Connection] = []

    # Requests

    def exchange(self, message: Message, until: float) -> Generator[Message]:
        """As `Wire.exchange`."""
        connection, head = self._post(message, until)
        if head.status == 200 and head.media_type == EVENTS:
            yield from self._from_stream(message, connection, until)
            return
        if head.status == 200 and head.media_type == JSON:
            body = self._body(connection, until)
            found = read_messages(body)
        else:
            body = b""
            found = [self._judged(message, connection, head)]
        for one in found:
            yield {**one, "id": message["id"]} if _is_answer(one) else one
        raise self._unusual(message, "the answer is not a valid message", body)

    def send(self, message: Message, until: float) -> None:
        """As `Wire.send`."""
        try:
            connection, head = self._ask("POST", _json(message), {}, min(until, time.monotonic() + _SEND_SECONDS))
        except (BrokenError, UnreachedError, OutOfTimeError):
            # A server that does not get an answer knows what to do; its own may still come.
            if self.may_leave:
                raise NotDirectError from None
            return
        if head.status >= 300 and self.may_leave:
            raise NotDirectError
        self._end(connection)

    def _post(self, message: Message, until: float) -> tuple[Connection, Head]:
        method, headers = str(message["method"]), dict[str, str]()
        if self.version in MODERN_VERSIONS:
            headers["mcp-method"] = method
            if (key := _NAMED_BY.get(method)) is not None:
                headers["mcp-name"] = _header_value(str(as_table(message["params"])[key]))
        try:
            connection, head = self._ask("POST", _json(message), headers, until)
        except UnreachedError:
            raise NotDirectError from None
        except BrokenError as broken:
            raise self._broken(broken) from None
        if given := head.value(b"mcp-session-id"):
            if not _SESSION_ID.fullmatch(given):
                raise NotDirectError
            self._session_id = given
        self._is_open = True
        # What a load balancer asks to be told again, and what is compressed unasked, is for the library.
        if self.may_leave and (head.value(b"set-cookie") or head.value(b"content-encoding") not in ("", "identity")):
            raise NotDirectError
        return connection, head

    def _ask(self, method: str, body: bytes, more: dict[str, str], until: float) -> tuple[Connection, Head]:
        """Send a request, on a connection that is free or on another one.

        Raises:
            UnreachedError: There is no connection; nothing was sent.
            BrokenError: There is no answer.
            OutOfTimeError: It did not come in time.
        """
        free = next((one for one in self._connections if one.is_free), None)
        if free is None:
            free = Connection(self._parts, self._interrupts, until)
            self._connections.append(free)
        return free, free.ask(method, self._path, [*self.headers(method, body), *more.items()], body, until)

    def headers(self, method: str, body: bytes = b"") -> list[Header]:
        """The headers of a request.

        Args:
            method: Of HTTP.
            body: Its body.
        """
        headers = {
            "host": self._parts.netloc,
            "user-agent": f"jackfield/{__version__}",
            "accept": EVENTS if method == "GET" else f"{JSON}, {EVENTS}",
            "accept-encoding": "identity",
            **self._endpoint.headers,
        }
        if self._session_id:
            headers["mcp-session-id"] = self._session_id
        if self.version:
            headers["mcp-protocol-version"] = self.version
        if method == "POST":
            headers |= {"content-type": JSON, "content-length": str(len(body))}
        return list(headers.items())

    # Answers

    def _body(self, connection: Connection, until: float) -> bytes:
        body = bytearray()
        try:
            for piece in connection.body(until):
                body += piece
                if len(body) > MAX_MESSAGE_BYTES:
                    raise NotDirectError if self.may_leave else too_long(self._target)
        except BrokenError as broken:
            raise self._cut_off(broken) from None
        return readable_json(bytes(body))

    def _from_stream(self, message: Message, connection: Connection, until: float) -> Generator[Message]:
        """The messages of a stream, from as many connections as it takes."""
        last_id: str | None = None
        pause: float | None = None
        fruitless = 0
        while True:
            broken: BrokenError | None = None
            fruitless += 1
            try:
                for event in events(connection.body(until), MAX_MESSAGE_BYTES):
                    last_id = event.event_id or last_id
                    pause = pause if event.retry_seconds is None else event.retry_seconds
                    if not event.data:
                        continue
                    fruitless = 0
                    found = read_messages(data := readable_json(event.data))
                    if not all("method" in one or _is_answer(one) for one in found) or not found:
                        raise self._unusual(message, "the answer is not a valid message", data)
                    if any(map(_is_answer, found)):
                        self._end(connection)
                    for one in found:
                        yield {**one, "id": message["id"]} if _is_answer(one) else one
            except TooLongError:
                raise (NotDirectError() if self.may_leave else too_long(self._target)) from None
            except BrokenError as error:
                broken = error
            if last_id is None or self.may_leave:
                raise self._cut_off(broken)
            from .resuming import resumed

            connection = resumed(self, last_id, pause, fruitless, until, broken)

    def _end(self, connection: Connection) -> None:
        """Read what follows an answer, which is nothing but its end, if that comes soon."""
        ended, length = time.monotonic() + _END_SECONDS, 0
        with contextlib.suppress(BrokenError, OutOfTimeError):
            for piece in connection.body(ended):
                length += len(piece)
                if length > _NOISE_BYTES:
                    break

    def ask_again(self, last_id: str, until: float) -> tuple[Connection, Head]:
        """Ask for the rest of a stream.

        Args:
            last_id: Of the last event that came.
            until: When it is too late.

        Raises:
            BrokenError, UnreachedError: There is no answer.
            OutOfTimeError: It did not come in time.
        """
        return self._ask("GET", b"", {"last-event-id": last_id}, until)

    def pause(self, seconds: float, until: float) -> None:
        """Do nothing for a while.

        Raises:
            OutOfTimeError: It is too late.
            KeyboardInterrupt: By Ctrl-C.
        """
        ends = time.monotonic() + seconds
        with contextlib.suppress(OutOfTimeError):
            self._interrupts.wait([], [], min(ends, until))
        if time.monotonic() >= until:
            raise OutOfTimeError

    # Errors, in the words of the library

    def report(self) -> ConnectionReport:
        """As `Wire.report`."""
        from ...transport.report import ConnectionReport

        report = ConnectionReport(self._target.load_config())
        self._told.append(report)
        return report

    def _judged(self, message: Message, connection: Connection, head: Head) -> Message:
        """The answer in an unusual response.

        Raises:
            NotDirectError: It says that the request has not been executed.
            JackfieldError: What else it means.
        """
        if self.may_leave:
            raise NotDirectError
        from .failures import judged

        return judged(self._target.load_config(), message, self.headers("POST"), head, self._words(connection))

    def _words(self, connection: Connection) -> bytes:
        """What is worth quoting of the body of a failure."""
        body, until = bytearray(), time.monotonic() + _FAILURE_SECONDS
        with contextlib.suppress(BrokenError, OutOfTimeError):
            for piece in connection.body(until):
                body += piece
                if len(body) >= _FAILURE_BYTES:
                    break
        return readable_json(bytes(body[:_FAILURE_BYTES]))

    def _broken(self, broken: BrokenError) -> Exception:
        if self.may_leave:
            return NotDirectError()
        from .failures import connection_broke

        return connection_broke(self._target.load_config(), broken)

    def _cut_off(self, broken: BrokenError | None) -> Exception:
        if self.may_leave:
            return NotDirectError()
        import httpx2

        from ...transport.http_bodies import cut_off

        return cut_off(self.report(), None if broken is None else httpx2.RemoteProtocolError(str(broken)))

    def _unusual(self, message: Message, problem: str, body: bytes) -> Exception:
        if self.may_leave:
            return NotDirectError()
        from ...masking import mask
        from .failures import with_outcome

        self.report()
        quoted = mask(body[:_QUOTED_BYTES].decode("utf-8", "replace"), is_cut=True) or None
        return with_outcome(bad_message(self._target, str(message["method"]), problem, server_output=quoted))

    # Ending

    def close(self, asked: int | None) -> None:
        """Cancel what is under way, and end the session at the server.

        Source: MCP 2025-11-25, basic/transports "Session Management"; 2026-07-28, where closing a connection cancels.
        """
        try:
            with contextlib.suppress(BrokenError, OutOfTimeError, UnreachedError):
                if asked is not None and self._is_open and self.version and self.version not in MODERN_VERSIONS:
                    self._ask("POST", _json(cancellation(asked)), {}, time.monotonic() + _CANCEL_SECONDS)
            with contextlib.suppress(BrokenError, OutOfTimeError, UnreachedError):
                if self._session_id:
                    self._ask("DELETE", b"", {}, time.monotonic() + CLOSE_SECONDS)
        finally:
            for connection in self._connections:
                connection.close()


def _is_answer(message: Message) -> bool:
    # Whatever id it gives: there is only one request that it can answer.
    return "method" not in message and ("result" in message or "error" in message)


def _json(message: Message) -> bytes:
    """A message as it is posted."""
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode()


def _header_value(text: str) -> str:
    """A text as the value of a header. Source: MCP 2026-07-28, basic/transports."""
    if _HEADER_SAFE.fullmatch(text) and not _ENCODED.fullmatch(text):
        return text
    return f"=?base64?{base64.b64encode(text.encode()).decode()}?="
