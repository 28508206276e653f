"""`Taking`: the endpoint at which an instance takes requests from others, for what it owns."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import anyio
from mcp.server.auth.middleware.auth_context import auth_context_var
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data
from mcp.types import INTERNAL_ERROR
from starlette.authentication import AuthCredentials
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse

from ...serving.errors import ServingLimitError, StoredDataError
from ...serving.handed_over import Outlet, run_handed_over
from ...serving.host import SessionHost
from ...serving.inbound import SESSION_HEADER, within_bounds
from .forward import FORWARD_PATH, GONE, NOT_OWNED, REFUSED, Forwarded
from .keys import InstanceKeys

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

logger: logging.Logger = logging.getLogger("jackfield")

FORWARDED_SCOPE = "jackfield.forwarded"
"""Under this key the ASGI scope of a request has what another instance forwarded."""

_BODY_SECONDS = 10.0


class Taking:
    """An ASGI application in front of another, which gets all that clients send.

    Args:
        app: The other.
        host: Serves the sessions.
        keys: Other instances sign with them.
        is_owned: Whether this instance has what a request needs, for the same principal.
    """

    def __init__(
        self, app: ASGIApp, host: SessionHost, keys: InstanceKeys, is_owned: Callable[[Forwarded], bool]
    ) -> None:
        self._app = app
        self._host = host
        self._keys = keys
        self._is_owned = is_owned

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer an instance, or hand a client on."""
        if scope["type"] != "http" or scope["path"] != FORWARD_PATH:
            await self._app(scope, receive, send)
            return
        if scope["method"] != "POST":
            await PlainTextResponse("Method Not Allowed", 405)(scope, receive, send)
            return
        try:
            forwarded = await self._checked(Request(scope, within_bounds(scope, receive, self._host.limits)))
        except ClientDisconnect:
            return
        if isinstance(forwarded, PlainTextResponse):
            await forwarded(scope, receive, send)
            return
        await _Answering(self._host, forwarded, receive, send).run()

    async def _checked(self, request: Request) -> Forwarded | PlainTextResponse:
        try:
            with anyio.fail_after(_BODY_SECONDS):
                body = await request.body()
        except (TimeoutError, ServingLimitError):
            return PlainTextResponse(REFUSED, 400)
        if not self._keys.is_signed(FORWARD_PATH, body, request.headers):
            logger.warning("[MCP][gateway] A forwarded request was refused: it is not signed by another instance")
            return PlainTextResponse(REFUSED, 401)
        try:
            forwarded = Forwarded.from_json(body)
            # Read once, and kept with it.
            forwarded.session  # noqa: B018
        except (ValueError, StoredDataError):
            return PlainTextResponse(REFUSED, 400)
        if forwarded.instance != self._host.instance.name or self._host.is_draining:
            return PlainTextResponse(GONE, 409)
        return forwarded if self._is_owned(forwarded) else PlainTextResponse(NOT_OWNED, 409)


class _Answering:
    """One request of another instance."""

    def __init__(self, host: SessionHost, forwarded: Forwarded, receive: Receive, send: Send) -> None:
        self._host = host
        self._forwarded = forwarded
        self._receive = receive
        self._send = send
        self._has_started = False
        self._turn = anyio.Lock()

    async def run(self) -> None:
        outlet = Outlet(self._put)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._until_left, tasks.cancel_scope, outlet)
            answer = await self._outcome(outlet)
            await self._write(json.dumps(answer, separators=(",", ":")), is_last=True)
            tasks.cancel_scope.cancel()

    async def _until_left(self, scope: anyio.CancelScope, outlet: Outlet) -> None:
        """The other instance has closed the connection: nobody wants the answer."""
        while (await self._receive())["type"] != "http.disconnect":
            pass
        outlet.cancelled.set()
        scope.cancel()

    async def _outcome(self, outlet: Outlet) -> dict[str, Any]:
        forwarded, record = self._forwarded, self._forwarded.session
        scope = _scope_of(forwarded)
        auth_context_var.set(scope.get("user"))
        run = run_handed_over(
            self._host.instance,
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
            with self._host.instance.using(record.session_id):
                return {"result": await run}
        except Exception as failure:
            details = handler_exception_to_error_data(failure)
            if details is None:
                logger.exception("[MCP][gateway] A forwarded request failed")
                return {"error": {"code": INTERNAL_ERROR, "message": "Internal server error"}}
            return {"error": details.model_dump(exclude_none=True)}

    async def _put(self, message: str) -> None:
        await self._write(message, is_last=False)

    async def _write(self, text: str, *, is_last: bool) -> None:
        data = text.encode() + b"\n"
        async with self._turn:
            if not self._has_started:
                self._has_started = True
                length = [(b"content-length", str(len(data)).encode())] if is_last else []
                headers = [(b"content-type", b"application/x-ndjson"), *length]
                await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            await self._send({"type": "http.response.body", "body": data, "more_body": not is_last})


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
