"""`Requests`: what clients post. Each request is run from its session's record, and answered by JSON or a stream."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any, cast
from uuid import uuid4

import anyio
from mcp.server.connection import Connection
from mcp.shared.dispatcher import as_request_id
from mcp.shared.exceptions import MCPError
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import INTERNAL_ERROR, INVALID_PARAMS, JSONRPCError, JSONRPCNotification, JSONRPCRequest, JSONRPCResponse
from mcp_types.version import is_version_at_least
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Send

from .admission import Admission, is_call
from .asking import instance_of
from .backplane_messages import Answered, Cancelled, Progressed
from .context import PUT_SCOPE, RequestContext, SessionOutbound
from .errors import RequestRunsError, ServingLimitError, StoreUnavailableError
from .exchange import Exchange
from .inbound import SESSION_HEADER, not_found
from .instance import Instance
from .log_reading import StreamSettings, write_events
from .outages import held
from .records import RECORD_SCOPE, Principal, RunningCall, SessionRecord
from .sdk_seams import close_runner
from .state import STATE_SCOPE, StoredState
from .stores import resource_topic
from .wire import EVENT_STREAM_HEADERS, compact, error, error_of, result, send_answer

logger: logging.Logger = logging.getLogger("jackfield")

_RESUMABLE_FROM = "2025-11-25"
"""Older clients fail on an event without data, which a resumable stream must begin with."""

_MAX_URI_CHARS = 4096

_PAUSES = (0.01, 0.03, 0.1)
"""Seconds after which a request is tried again whose id is in use, or in whose session too many run."""


class Requests:
    """Answers POST requests.

    Args:
        instance: Runs them.
        settings: Settings for writing streams.
    """

    def __init__(self, instance: Instance, settings: StreamSettings) -> None:
        self._instance = instance
        self._settings = settings

    # The handshake

    async def initialize(self, request: Request, message: JSONRPCRequest, principal: Principal | None) -> Response:
        """Open a session."""
        limits = self._instance.limits
        params = dict(message.params or {})
        if len(compact(params).encode()) > limits.record_bytes:
            text = "No session was opened: the `initialize` request is too large"
            raise ServingLimitError(text, bound="record_bytes", maximum=limits.record_bytes)
        session_id = uuid4().hex
        record = SessionRecord(session_id, params, "", principal)
        runner, connection = self._instance.opening_runner(record)
        context = RequestContext(record, _transport(request, False), _metadata(request), request_id=message.id)
        try:
            agreed = await runner.on_request(context, message.method, message.params)
        except Exception as failure:
            details = handler_exception_to_error_data(failure)
            if details is None:
                logger.error("[MCP] `initialize` failed", exc_info=failure)
                return _json(error(message.id, INTERNAL_ERROR, "Internal server error"))
            return _json(error_of(message.id, details))
        finally:
            await close_runner(runner, connection)
        record = SessionRecord(session_id, params, connection.protocol_version, principal)
        await self._instance.sessions.create(record, limits)
        with self._instance.using(session_id):
            return _json(result(message.id, agreed), session_id)

    # Requests

    async def run(
        self, request: Request, send: Send, session_id: str, message: JSONRPCRequest, principal: Principal | None
    ) -> Response | None:
        """Run a request; returns the response if it is not sent yet."""
        here = self._instance
        if len(here.exchanges) >= here.limits.requests:
            text = "The request was not started: too many are running on this instance"
            raise ServingLimitError(text, bound="requests", maximum=here.limits.requests)
        admitted = _Admitted(here.admission, principal)
        if is_call(message.method):
            await admitted.enter()
        call = RunningCall(compact(message.id), here.name, here.new_stream())
        exchange = Exchange(here.streams, here.background, session_id, call, message.id)
        # Before it is claimed, since from then on it may be cancelled, and housekeeping would release it.
        here.exchanges[session_id, call.stream] = exchange
        record = None
        try:
            record = await self._claimed(session_id, principal, call)
        finally:
            if record is None:
                del here.exchanges[session_id, call.stream]
                admitted.leave()
        if record is None:
            raise not_found()
        here.background.start(self._work, request, record, exchange, message, admitted)
        try:
            with here.using(session_id):
                return await self._answer(request, send, record, exchange)
        finally:
            exchange.leave()

    async def _claimed(self, session_id: str, principal: Principal | None, call: RunningCall) -> SessionRecord | None:
        """Claim a call. A client gets an answer a moment before the store knows that its request has ended, and may use
        the same id, or send as many requests as may run, immediately."""
        sessions, limits = self._instance.sessions, self._instance.limits
        for pause in _PAUSES:
            try:
                return await sessions.claim(session_id, principal, call, limits)
            except (RequestRunsError, ServingLimitError):
                await anyio.sleep(pause)
        return await sessions.claim(session_id, principal, call, limits)

    async def _work(
        self,
        request: Request,
        record: SessionRecord,
        exchange: Exchange,
        message: JSONRPCRequest,
        admitted: _Admitted,
    ) -> None:
        """Run a request to its end, also when its client has left."""
        here = self._instance

        async def handled() -> Mapping[str, Any]:
            # No longer than the handler: the client may send the next call once it has the answer to this one.
            try:
                return await self._result(request, record, exchange, message)
            finally:
                admitted.leave()

        try:
            await exchange.run(handled)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._release(record.session_id, exchange)
            raise
        else:
            await self._release(record.session_id, exchange)
        finally:
            admitted.leave()
            del here.exchanges[record.session_id, exchange.call.stream]

    async def _release(self, session_id: str, exchange: Exchange) -> None:
        """If the store is unavailable, housekeeping does it later, and answers a client that returns."""
        if exchange.is_kept:
            try:
                await self._instance.sessions.release(session_id, exchange.call)
            except StoreUnavailableError as failure:
                logger.warning("[MCP] %s", failure.message)

    async def _result(
        self, request: Request, record: SessionRecord, exchange: Exchange, message: JSONRPCRequest
    ) -> Mapping[str, Any]:
        here = self._instance

        async def end_standalone() -> None:
            if (reader := await here.streams.reader(record.session_id)) is not None:
                await here.detach(record.session_id, reader)

        async def end_this() -> None:
            exchange.reconnect()

        is_resumable = _is_resumable(record)
        metadata = _metadata(request)
        if is_resumable:
            metadata.close_sse_stream, metadata.close_standalone_sse_stream = end_this, end_standalone
        request.scope[STATE_SCOPE] = StoredState(here.sessions, record.session_id, here.limits)
        request.scope[RECORD_SCOPE] = record
        request.scope[PUT_SCOPE] = exchange.put
        context = RequestContext(
            record,
            _transport(request, True),
            metadata,
            requests=here.asked,
            exchange=exchange,
            request_id=message.id,
            progress_token=progress_token_from_params(message.params),
        )
        runner, connection = here.runner(record)
        try:
            answer = await runner.on_request(context, message.method, message.params)
        finally:
            context.is_closed = True
            await close_runner(runner, connection)
        await self._note(record.session_id, message, connection)
        return answer

    async def _note(self, session_id: str, message: JSONRPCRequest, connection: Connection) -> None:
        """Store the changes of a successful request to the session, for every instance."""
        sessions, params = self._instance.sessions, message.params or {}
        match message.method:
            case "logging/setLevel":
                level = str(params.get("level"))
                await sessions.set_log_level(session_id, level)
                if isinstance(connection.outbound, SessionOutbound):
                    connection.outbound.set_log_level(level)
            case "resources/subscribe" if self._keeps_subscriptions:
                await sessions.subscribe(session_id, [_topic(params)], self._instance.limits)
            case "resources/unsubscribe" if self._keeps_subscriptions:
                await sessions.unsubscribe(session_id, [_topic(params)])
            case _:
                pass

    @property
    def _keeps_subscriptions(self) -> bool:
        """Whether updates of resources are sent to those whose sessions have subscribed. Where only the server's
        middleware knows the request, it sees to that itself, and URIs need not be stored."""
        return self._instance.server.get_request_handler("resources/subscribe") is not None

    async def _answer(self, request: Request, send: Send, record: SessionRecord, exchange: Exchange) -> Response | None:
        await exchange.begun(self._settings.stream_after)
        if (answer := exchange.quick_answer) is not None:
            await send_answer(send, answer, record.session_id)
            return None
        reader = exchange.open_stream(is_resumable=_is_resumable(record))
        if self._instance.is_draining and self._instance.has_others:
            exchange.move()
        headers = EVENT_STREAM_HEADERS | {SESSION_HEADER: record.session_id}
        await write_events(reader, request.receive, send, self._settings, headers=headers)
        return None

    # What has no answer

    async def take(
        self,
        request: Request,
        session_id: str,
        message: JSONRPCNotification | JSONRPCResponse | JSONRPCError,
        principal: Principal | None,
    ) -> Response:
        """Take a notification, or the answer to a request of the server."""
        here = self._instance
        find = partial(here.sessions.find, session_id, principal)
        # A running request waits for an answer, and not every client sends it again.
        record = await (find() if isinstance(message, JSONRPCNotification) else held(find))
        if record is None:
            raise not_found()
        with here.using(session_id):
            return await self._taken(request, record, message)

    async def _taken(
        self, request: Request, record: SessionRecord, message: JSONRPCNotification | JSONRPCResponse | JSONRPCError
    ) -> Response:
        here, session_id = self._instance, record.session_id
        if not isinstance(message, JSONRPCNotification):
            if (instance := instance_of(message.id)) is not None:
                answer = message.model_dump(by_alias=True, exclude_unset=True, mode="json")
                await held(partial(here.tell, instance, Answered(session_id, str(message.id), answer)))
            return Response(status_code=202)
        params = message.params or {}
        if message.method == "notifications/cancelled":
            request_id = as_request_id(params.get("requestId"))
            call = None if request_id is None else await here.sessions.running(session_id, compact(request_id))
            if call is not None:
                await here.tell(call.instance, Cancelled(session_id, call.stream))
        elif message.method == "notifications/progress" and (told := _progress(session_id, params)) is not None:
            await here.tell(*told)
        if here.server.get_notification_handler(message.method) is None:
            # Only the server's middleware sees it.
            await self._notify(request, record, message)
            return Response(status_code=202)
        if sum(handler.session_id == session_id for handler in here.notified) >= here.limits.requests_per_session:
            text = "The notification was not accepted: too many are being handled in this session"
            raise ServingLimitError(text, bound="requests_per_session", maximum=here.limits.requests_per_session)
        here.background.start(self._notify_here, request, record, message)
        return Response(status_code=202)

    async def _notify_here(self, request: Request, record: SessionRecord, message: JSONRPCNotification) -> None:
        with self._instance.notification_handler(record.session_id):
            await self._notify(request, record, message)

    async def _notify(self, request: Request, record: SessionRecord, message: JSONRPCNotification) -> None:
        here = self._instance
        request.scope[STATE_SCOPE] = StoredState(here.sessions, record.session_id, here.limits)
        request.scope[RECORD_SCOPE] = record
        context = RequestContext(record, _transport(request, False), _metadata(request))
        runner, connection = here.runner(record)
        try:
            await runner.on_notify(context, message.method, message.params)
        finally:
            await close_runner(runner, connection)


class _Admitted:
    """A call whose number is limited; it ends once."""

    def __init__(self, admission: Admission, principal: Principal | None) -> None:
        self._admission = admission
        self._principal = principal
        self._is_running = False

    async def enter(self) -> None:
        await self._admission.enter(self._principal)
        self._is_running = True

    def leave(self) -> None:
        if self._is_running:
            self._is_running = False
            self._admission.leave(self._principal)


def _metadata(request: Request) -> ServerMessageMetadata:
    return ServerMessageMetadata(request_context=request)


def _transport(request: Request, can_send_request: bool) -> TransportContext:
    return TransportContext(kind="streamable-http", can_send_request=can_send_request, headers=request.headers)


def _json(text: str, session_id: str | None = None) -> Response:
    headers = {} if session_id is None else {SESSION_HEADER: session_id}
    return Response(text, 200, headers, "application/json")


def _is_resumable(record: SessionRecord) -> bool:
    return is_version_at_least(record.protocol_version, _RESUMABLE_FROM)


def _topic(params: Mapping[str, Any]) -> str:
    uri = str(params.get("uri"))
    if len(uri) > _MAX_URI_CHARS:
        raise MCPError(INVALID_PARAMS, f"The URI is longer than {_MAX_URI_CHARS} characters.")
    return resource_topic(uri)


def _progress(session_id: str, params: Mapping[str, Any]) -> tuple[str, Progressed] | None:
    """Receivers of progress of a server's request."""
    token, progress, total, text = (params.get(name) for name in ("progressToken", "progress", "total", "message"))
    instance = instance_of(token)
    if instance is None or not isinstance(progress, int | float) or not isinstance(total, int | float | None):
        return None
    message = text if isinstance(text, str) else None
    return instance, Progressed(session_id, cast("str", token), progress, total, message)
