"""`Taking`: an instance takes requests from others, for what it owns.

They come by connections of their own, and are read and answered here rather than by uvicorn and ASGI: that costs more
than the rest of a forwarded call.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.types import INTERNAL_ERROR
from starlette.authentication import AuthCredentials
from starlette.requests import Request

from ...serving.errors import StoredDataError
from ...serving.forwarded_requests import Outlet, run_handed_over
from ...serving.host import SessionHost
from ...serving.inbound import SESSION_HEADER
from .forward import ANOTHER, FORWARD_PATH, GONE, NOT_OWNED, REFUSED, Forwarded
from .keys import InstanceKeys

if TYPE_CHECKING:
    from ..http_protocol import HttpConnection

logger: logging.Logger = logging.getLogger("jackfield")

FORWARDED_SCOPE = "jackfield.forwarded"
"""Under this key the ASGI scope of a request has what another instance forwarded."""

_REQUEST_SECONDS = 10.0
"""An instance that has not sent its request by then is not waited for."""

_MAX_HEAD_BYTES = 16 * 1024
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 409: "Conflict", 413: "Content Too Large"}


class RefusedError(Exception):
    """A request is not taken.

    Args:
        status: Of HTTP.
        why: For the instance that sent it.
        closes: Whether nothing more is read from the connection.
    """

    def __init__(self, status: int, why: str, *, closes: bool = False) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        self.closes = closes


@dataclass
class _Head:
    """What a request begins with."""

    headers: Mapping[str, str]
    length: int
    """Of the body, or of what is still to come of one that is not taken."""
    refusal: RefusedError | None
    """Why it is not taken, if nobody signed it."""


class Taking:
    """Takes the requests of other instances.

    Args:
        host: Serves the sessions.
        keys: Other instances sign with them.
        is_owned: Whether this instance has what a request needs, for the same principal.
    """

    beginning: bytes = f"POST {FORWARD_PATH} ".encode()
    """What their requests begin with."""

    def __init__(self, host: SessionHost, keys: InstanceKeys, is_owned: Callable[[Forwarded], bool]) -> None:
        self.host: SessionHost = host
        self._keys = keys
        self._is_owned = is_owned
        # A request that its client was allowed, rewritten, and the record of its session with it.
        self.most_bytes: int = 2 * host.limits.body_bytes + 4 * host.limits.record_bytes
        """The longest body that is taken."""

    def connected(self, http: HttpConnection) -> TakingConnection:
        """An instance sends requests by this connection."""
        return TakingConnection(self, http)

    def refusal(self, headers: Mapping[str, str]) -> RefusedError | None:
        """Why a request with these headers is not taken; `None` if an instance sends it."""
        return None if self._keys.is_signed(FORWARD_PATH, headers) else _unsigned()

    def checked(self, headers: Mapping[str, str], body: bytes) -> Forwarded:
        """What an instance forwarded.

        Raises:
            RefusedError: It is not taken.
        """
        if not self._keys.is_body(body, headers):
            raise _unsigned()
        try:
            forwarded = Forwarded.from_json(body)
            # Read once, and kept with it.
            forwarded.session  # noqa: B018
        except (ValueError, StoredDataError):
            raise RefusedError(400, REFUSED) from None
        if forwarded.instance != self.host.instance.name:
            raise RefusedError(409, ANOTHER)
        if self.host.is_draining:
            raise RefusedError(409, GONE)
        if not self._is_owned(forwarded):
            raise RefusedError(409, NOT_OWNED)
        return forwarded


class TakingConnection:
    """A connection by which an instance sends one request after the other.

    Args:
        taking: Checks them.
        http: The connection.
    """

    def __init__(self, taking: Taking, http: HttpConnection) -> None:
        self._taking = taking
        self._http = http
        self._received = bytearray()
        self._head: _Head | None = None
        """Of the request whose body is still to come."""
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._left: Callable[[], None] = lambda: None
        self._has_started = False

    @property
    def is_idle(self) -> bool:
        """Whether all requests that came in have been answered."""
        return self._task is None and self._head is None and not self._received

    def feed(self, data: bytes) -> None:
        """Take what came in."""
        self._received += data
        if self._task is not None:
            return
        try:
            request = self._request()
            if request is None:
                if self._timer is None:
                    self._timer = self._http.loop.call_later(_REQUEST_SECONDS, self._http.transport.close)
                return
            self._stop_timer()
            forwarded = self._taking.checked(*request)
        except RefusedError as refused:
            self._stop_timer()
            self._answer(refused.status, refused.why.encode() + b"\n", closes=refused.closes)
            if not refused.closes:
                self._http.answered()
            return
        # Until it is answered, as uvicorn's own requests.
        self._task = task = self._http.loop.create_task(self._run(forwarded))
        self._http.tasks.add(task)
        task.add_done_callback(self._http.tasks.discard)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _request(self) -> tuple[Mapping[str, str], bytes] | None:
        """The headers and the body of a request, once all of it is there.

        Raises:
            RefusedError: It is not taken.
        """
        head = self._head = self._head or self._begun()
        if head is None:
            return None
        length = min(head.length, len(self._received))
        if head.refusal is not None:
            # Read to its end, so that the answer is heard; nothing of it is kept.
            del self._received[:length]
            head.length -= length
            if head.length:
                return None
            self._head = None
            raise head.refusal
        if length < head.length:
            return None
        body = bytes(self._received[:length])
        del self._received[:length]
        self._head = None
        return head.headers, body

    def _begun(self) -> _Head | None:
        """The head of a request, once that is there."""
        end = self._received.find(b"\r\n\r\n", 0, _MAX_HEAD_BYTES)
        if end < 0:
            if len(self._received) > _MAX_HEAD_BYTES:
                raise RefusedError(400, REFUSED, closes=True)
            return None
        lines = self._received[:end].decode("latin-1").split("\r\n")[1:]
        pairs = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        headers = dict(pairs)
        length = headers.get("content-length", "")
        has_one_length = [name for name, _ in pairs].count("content-length") == 1
        if not (has_one_length and length.isascii() and length.isdigit() and len(length) <= 20):
            raise RefusedError(400, REFUSED, closes=True)
        if "transfer-encoding" in headers:
            raise RefusedError(400, REFUSED, closes=True)
        if int(length) > self._taking.most_bytes:
            raise RefusedError(413, REFUSED, closes=True)
        del self._received[: end + len(b"\r\n\r\n")]
        return _Head(headers, int(length), self._taking.refusal(headers))

    def lost(self) -> None:
        """The other instance has closed the connection: nobody wants the answer."""
        self._received.clear()
        self._stop_timer()
        self._left()

    async def _run(self, forwarded: Forwarded) -> None:
        outlet, self._has_started = Outlet(self._put), False
        with anyio.CancelScope() as scope:

            def left() -> None:
                outlet.cancelled.set()
                scope.cancel()

            self._left = left
            if self._http.transport.is_closing():
                return
            answer = await self._outcome(forwarded, outlet)
            data = json.dumps(answer, separators=(",", ":")).encode() + b"\n"
            if self._has_started:
                self._http.transport.write(_chunk(data) + b"0\r\n\r\n")
            else:
                self._answer(200, data)
            await self._http.drain()
        self._task, self._left = None, lambda: None
        if not self._http.transport.is_closing():
            self._http.answered()
            if self._received:
                self.feed(b"")

    async def _outcome(self, forwarded: Forwarded, outlet: Outlet) -> dict[str, Any]:
        host, record = self._taking.host, forwarded.session
        scope = _scope_of(forwarded)
        auth_context_var.set(scope.get("user"))
        run = run_handed_over(
            host.instance,
            Request(scope),
            record,
            forwarded.method,
            forwarded.params,
            "" if forwarded.request_id is None else forwarded.request_id,
            outlet,
        )
        try:
            if not record.session_id:
                return {"result": await run}
            with host.instance.using(record.session_id):
                return {"result": await run}
        except Exception as failure:
            details = handler_exception_to_error_data(failure)
            if details is None:
                logger.exception("[MCP][gateway] A forwarded request failed")
                return {"error": {"code": INTERNAL_ERROR, "message": "Internal server error"}}
            return {"error": details.model_dump(exclude_none=True)}

    async def _put(self, message: str) -> None:
        chunk = _chunk(message.encode() + b"\n")
        if not self._has_started:
            self._has_started = True
            chunk = _head(200, "transfer-encoding: chunked") + chunk
        self._http.transport.write(chunk)
        await self._http.drain()

    def _answer(self, status: int, data: bytes, *, closes: bool = False) -> None:
        self._http.transport.write(_head(status, f"content-length: {len(data)}", closes=closes) + data)
        if closes:
            self._received.clear()
            self._http.transport.close()


def _unsigned() -> RefusedError:
    logger.warning("[MCP][gateway] A forwarded request was refused: it is not signed by another instance")
    return RefusedError(401, REFUSED)


def _head(status: int, length: str, *, closes: bool = False) -> bytes:
    lines = [f"HTTP/1.1 {status} {_REASONS[status]}", "content-type: application/x-ndjson", length]
    return "\r\n".join([*lines, *(["connection: close"] if closes else []), "", ""]).encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _scope_of(forwarded: Forwarded) -> dict[str, Any]:
    """The scope of the request as if its client had posted it here."""
    record = forwarded.session
    headers = [(SESSION_HEADER.encode(), record.session_id.encode())] if record.session_id else []
    scope: dict[str, Any] = {
        "type": "http",
        "method": "POST",
        "path": FORWARD_PATH,
        "query_string": b"",
        "headers": headers,
        FORWARDED_SCOPE: forwarded,
    }
    principal = record.principal
    if principal is not None:
        scopes = forwarded.scopes
        claims = None if principal.issuer is None else {"iss": principal.issuer}
        token = AccessToken(
            token="", client_id=principal.client or "", scopes=scopes, subject=principal.subject, claims=claims
        )
        scope |= {"user": AuthenticatedUser(token), "auth": AuthCredentials(scopes)}
    return scope
