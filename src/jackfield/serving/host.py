"""`SessionHost`: serves the sessions of a server that speaks MCP 2025-11-25 or older, from any instance.

There is no live session object. Each request is run by the SDK's `ServerRunner` with a connection that is made from the
session's record, and what it sends goes to logs. Requests of 2026-07-28, which knows no sessions, go to the SDK as they
are.
"""

from __future__ import annotations

import contextlib
import copy
import json
import logging
import math
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Generator, Mapping
from functools import partial
from typing import Any, cast
from uuid import uuid4

import anyio
from anyio.abc import TaskGroup
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser, authorization_context
from mcp.server.connection import Connection
from mcp.server.lowlevel.server import Server
from mcp.server.runner import ServerRunner, aclose_shielded
from mcp.server.streamable_http import check_accept_headers
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.shared.inbound import MCP_METHOD_HEADER
from mcp.shared.jsonrpc_dispatcher import handler_exception_to_error_data, progress_token_from_params
from mcp.shared.message import ServerMessageMetadata
from mcp.shared.transport_context import TransportContext
from mcp_types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    PARSE_ERROR,
    InitializeRequestParams,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    JSONRPCRequest,
    JSONRPCResponse,
    jsonrpc_message_adapter,
)
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, is_version_at_least
from pydantic import ValidationError
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from .asking import ServerRequests, instance_of
from .backplane import BEAT_SECONDS
from .context import RequestContext, SessionOutbound
from .errors import (
    RequestRunsError,
    ServingLimitError,
    StoredDataError,
    StoreUnavailableError,
    UnknownEventError,
)
from .exchange import HOLD_SECONDS, Exchange
from .limits import ServingLimits
from .readers import LogReader, write_events
from .records import Principal, RunningCall, SessionRecord
from .request_checks import BodyCheck
from .state import STATE_SCOPE, StoredState
from .stores import PROMPTS_CHANGED, RESOURCES_CHANGED, TOOLS_CHANGED, SessionStore, resource_topic
from .streams import STANDALONE, StreamManager
from .told import Answered, Cancelled, Detached, Message, Progressed, Published, decoded, encoded
from .wire import EVENT_STREAM_HEADERS, LOST_INSTANCE, compact, error, notification, position, refusal, result, sse

logger: logging.Logger = logging.getLogger("jackfield")

SESSION_HEADER = "mcp-session-id"
_RESUMABLE_FROM = "2025-11-25"
"""Older clients fail on an event without data, with which a stream must begin so that it can be resumed at once."""

_MAX_ID_CHARS = 128
_KEPT_HANDSHAKES = 2048
_LISTS = {
    "notifications/tools/list_changed": TOOLS_CHANGED,
    "notifications/prompts/list_changed": PROMPTS_CHANGED,
    "notifications/resources/list_changed": RESOURCES_CHANGED,
}
_REFUSED_STATUS = {"sessions": 503, "streams": 503, "record_bytes": 413}


class _Refused(Exception):  # noqa: N818 - not an error of the server
    def __init__(self, response: Response) -> None:
        self.response = response


def _refuse(status: int, code: int, message: str, **headers: str) -> _Refused:
    return _Refused(refusal(status, code, message, headers))


def _not_found() -> _Refused:
    return _refuse(404, INVALID_REQUEST, "Session not found: it expired, was ended, or is not yours. Initialize again.")


class SessionHost:
    """An ASGI application for one endpoint.

    Args:
        server: What runs the requests.
        sessions: The metadata of sessions.
        streams: Their streams.
        session_ttl: Seconds that a session lives without being used.
        limits: Bounds on what clients can make it hold.
        stream_after: Seconds after which a request without an answer is answered by a stream, so that its client can
            resume. A quicker one that sends nothing on the way is answered by plain JSON.
        retry_seconds: How long a client is to wait before it comes back to a stream.
        ping_seconds: How often a quiet stream gets a comment.
    """

    def __init__(
        self,
        server: Server[Any],
        sessions: SessionStore,
        streams: StreamManager,
        *,
        session_ttl: float = 3600.0,
        limits: ServingLimits | None = None,
        stream_after: float = 0.1,
        retry_seconds: float = 1.0,
        ping_seconds: float = 15.0,
    ) -> None:
        if not (math.isfinite(session_ttl) and session_ttl > 0):
            raise ValueError(f"`session_ttl` must be a positive, finite number of seconds, not {session_ttl!r}.")
        self.instance: str = uuid4().hex[:16]
        self.sessions: SessionStore = sessions
        self.streams: StreamManager = streams
        self.limits: ServingLimits = limits or ServingLimits()
        self.session_ttl: float = session_ttl
        self._server = server
        self._stream_after = stream_after
        self._retry_ms = round(retry_seconds * 1000)
        self._ping_seconds = ping_seconds
        self._running: dict[tuple[str, str], Exchange] = {}
        self._readers: dict[str, tuple[str, LogReader]] = {}
        self._open_streams = 0
        self._listens: Counter[Principal] = Counter()
        self._handshakes: dict[str, tuple[Mapping[str, Any], InitializeRequestParams]] = {}
        self._is_lost = anyio.Event()
        self._is_idle = anyio.Event()
        self._is_draining = False
        self._app = BodyCheck(self._routed, self.limits.body_bytes)
        self._tasks: TaskGroup | None = None
        self._listeners: list[Callable[[Published], None]] = []

    # Its life

    @contextlib.asynccontextmanager
    async def run(self) -> AsyncGenerator[None]:
        """Serve for a while: enters the server's lifespan, connects to the store, and ends all that runs at the end.

        Raises:
            StoreUnavailableError: The store cannot be reached.
            ConfigError: The store is set up in a way that would lose sessions, or lacks its tables.
        """
        async with contextlib.AsyncExitStack() as stack:
            await stack.enter_async_context(self.sessions.open(ttl=self.session_ttl))
            bounds = {"log_events": self.limits.log_events, "log_bytes": self.limits.log_bytes}
            await stack.enter_async_context(self.streams.open(ttl=self.session_ttl, **bounds))
            self._state = await stack.enter_async_context(self._server.lifespan(self._server))
            # The SDK's manager would enter the lifespan a second time.
            modern = copy.copy(self._server)
            modern.lifespan = lambda _: contextlib.nullcontext(self._state)  # type: ignore[assignment]
            self._modern = StreamableHTTPSessionManager(modern, max_request_body_size=self.limits.body_bytes)
            await stack.enter_async_context(self._modern.run())
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                self._requests = ServerRequests(self.instance, tasks)
                try:
                    async with self.sessions.backplane.join(self.instance, self._told, self._reconnected):
                        tasks.start_soon(self._sweep)
                        tasks.start_soon(self._keep_alive)
                        yield
                        self.drain()
                        tasks.cancel_scope.cancel()
                        await self._settle()
                finally:
                    self._tasks = None

    async def _settle(self) -> None:
        """Wait until what is told to clients of cancelled requests is logged, while the store is still open."""
        with anyio.move_on_after(HOLD_SECONDS, shield=True):
            if self._running:
                self._is_idle = anyio.Event()
                await self._is_idle.wait()

    def drain(self) -> None:
        """Begin to stop: end the streams, so that clients come back to another instance; running requests go on."""
        self._is_draining = True
        for _, reader in list(self._readers.values()):
            reader.end()
        for exchange in list(self._running.values()):
            exchange.reconnect()

    def _reconnected(self) -> None:
        self._is_lost.set()

    async def _keep_alive(self) -> None:
        """Let the sessions live on whose streams are open or whose requests run here; end the streams of lost ones."""
        while True:
            self._is_lost = anyio.Event()
            with anyio.move_on_after(self.session_ttl / 3):
                await self._is_lost.wait()
            streams = [(session_id, STANDALONE) for session_id, _ in self._readers.values()]
            streams += self._running
            try:
                gone = set(await self.sessions.touch(list({session_id for session_id, _ in streams})))
                await self.streams.touch(streams)
            except StoreUnavailableError:
                await anyio.sleep(BEAT_SECONDS)
                self._is_lost.set()
                continue
            for session_id, reader in list(self._readers.values()):
                if session_id in gone:
                    reader.end()

    async def _sweep(self) -> None:
        """Answer for instances that died. Each does it; the log lets one answer a request."""
        backplane = self.sessions.backplane
        while True:
            await anyio.sleep(BEAT_SECONDS)
            with contextlib.suppress(StoreUnavailableError):
                for instance in await backplane.dead():
                    for session_id, call in await self.sessions.running_on(instance):
                        lost = error(json.loads(call.request_id), INTERNAL_ERROR, LOST_INSTANCE)
                        await self.streams.append(session_id, call.stream, [lost], is_final=True)
                        await self.sessions.release(session_id, call)
                    await backplane.bury(instance)

    # Between instances

    def on_published(self, listener: Callable[[Published], None]) -> None:
        """Let a function hear what servers publish on any instance."""
        self._listeners.append(listener)

    async def publish(self, message: Published) -> None:
        """Tell all instances of a change.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.sessions.backplane.tell_all(encoded(message))

    async def tell(self, instance: str, message: Message) -> bool:
        """Tell an instance, or this one; whether it heard."""
        if instance == self.instance:
            self._take(message)
            return True
        return await self.sessions.backplane.tell(instance, encoded(message))

    def _told(self, text: str) -> None:
        if (message := decoded(text)) is not None:
            self._take(message)

    def _take(self, message: Message) -> None:
        match message:
            case Answered():
                self._requests.answered(message)
            case Progressed():
                self._requests.progressed(message)
            case Cancelled():
                if (exchange := self._running.get((message.session_id, message.stream))) is not None:
                    exchange.cancel(is_deleted=message.is_deleted)
            case Detached():
                if (held := self._readers.get(message.reader)) is not None:
                    held[1].end()
            case Published():
                for listener in self._listeners:
                    listener(message)

    async def notify(self, session_id: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to a session, whichever instance it reads from.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        await self.streams.append(session_id, STANDALONE, [notification(method, params)])

    async def notify_subscribers(self, topic: str, method: str, params: Mapping[str, Any] | None = None) -> None:
        """Send a notification to all sessions that hear of a topic.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        for session_id in await self.sessions.subscribers(topic):
            await self.notify(session_id, method, params)

    async def end_session(self, session_id: str) -> bool:
        """End a session: its requests are cancelled, its streams closed and removed; whether there was one.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        calls = await self.sessions.delete(session_id)
        for call in calls or ():
            await self.tell(call.instance, Cancelled(session_id, call.stream, is_deleted=True))
        await self._take_reader(session_id, f"{self.instance}:ended")
        await self.streams.delete(session_id, [call.stream for call in calls or ()])
        return calls is not None

    async def _take_reader(self, session_id: str, reader: str) -> None:
        """Become the reader of the standalone stream, and end the one before."""
        holder = await self.streams.reader(session_id)
        while (other := await self.streams.attach(session_id, reader, over=holder)) is not None:
            holder = other
        if holder is not None and holder != reader:
            await self.tell(holder.partition(":")[0], Detached(session_id, holder))

    # Requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one HTTP request."""
        if self._tasks is None:
            raise RuntimeError(
                "These sessions are not running. Starlette and FastAPI do not start a mounted application: give them "
                "`lifespan=served.lifespan`."
            )
        await self._app(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        version = Request(scope).headers.get("mcp-protocol-version")
        if version is not None and version not in HANDSHAKE_PROTOCOL_VERSIONS:
            await self._handle_modern(scope, receive, send)
        else:
            await self._handle(scope, receive, send)

    async def _handle_modern(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the SDK answer a request of 2026-07-28."""
        request = Request(scope)
        # The SDK refuses a request whose header and body differ.
        if request.headers.get(MCP_METHOD_HEADER) != "subscriptions/listen":
            await self._modern.handle_request(scope, receive, send)
            return
        try:
            with self._one_more_listen(_principal(request)):
                await self._modern.handle_request(scope, receive, send)
        except ServingLimitError as reached:
            await _limited(reached)(scope, receive, send)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            response = await self._answered(request, send)
        except _Refused as refused:
            response = refused.response
        except StoreUnavailableError as failure:
            logger.warning("[MCP] %s", failure.message)
            text = "The session store cannot be reached; nothing was run. Try again."
            response = refusal(503, INTERNAL_ERROR, text, {"retry-after": "1"})
        except ServingLimitError as reached:
            response = _limited(reached)
        except RequestRunsError as failure:
            response = refusal(400, INVALID_REQUEST, failure.message)
        except UnknownEventError as failure:
            response = refusal(400, INVALID_REQUEST, f"{failure.message} Begin a new stream without Last-Event-ID.")
        except StoredDataError as failure:
            logger.error("[MCP] %s", failure.message)
            response = _not_found().response
        except ClientDisconnect:
            return
        if response is not None:
            await response(scope, receive, send)

    async def _answered(self, request: Request, send: Send) -> Response | None:
        """Answer a request; the response, where it is not sent yet."""
        principal = _principal(request)
        given = request.headers.get(SESSION_HEADER)
        session_id = None if given is None else given.strip()
        match request.method:
            case "POST":
                message = await _parsed(request)
                if isinstance(message, JSONRPCRequest) and message.method == "initialize":
                    return await self._initialize(request, message, principal)
                session_id = _checked_id(session_id)
                if isinstance(message, JSONRPCRequest):
                    return await self._run(request, send, session_id, message, principal)
                return await self._take_posted(request, session_id, message, principal)
            case "GET":
                if not check_accept_headers(request)[1]:
                    raise _refuse(406, INVALID_REQUEST, "Not Acceptable: the client must accept text/event-stream.")
                session_id = _checked_id(session_id)
                await self._session(session_id, principal)
                await self._stream(request, send, session_id)
                return None
            case "DELETE":
                session_id = _checked_id(session_id)
                await self._session(session_id, principal)
                await self.end_session(session_id)
                return Response(status_code=200)
            case _:
                raise _refuse(405, INVALID_REQUEST, "Method Not Allowed", allow="GET, POST, DELETE")

    async def _session(self, session_id: str, principal: Principal | None) -> SessionRecord:
        record = await self.sessions.find(session_id, principal)
        if record is None:
            raise _not_found()
        return record

    async def _initialize(self, request: Request, message: JSONRPCRequest, principal: Principal | None) -> Response:
        session_id = uuid4().hex
        params = dict(message.params or {})
        if len(compact(params).encode()) > self.limits.record_bytes:
            raise ServingLimitError(
                "No session was opened: the `initialize` request is too large",
                bound="record_bytes",
                maximum=self.limits.record_bytes,
            )
        record = SessionRecord(session_id, params, "", principal)
        connection = Connection.for_loop(self._outbound(record), session_id=session_id)
        context = RequestContext(
            record, _transport(request, False), ServerMessageMetadata(request_context=request), request_id=message.id
        )
        try:
            runner = ServerRunner(self._server, connection, self._state)
            agreed = await runner.on_request(context, message.method, message.params)
        except Exception as failure:
            details = handler_exception_to_error_data(failure)
            if details is None:
                logger.error("[MCP] `initialize` failed", exc_info=failure)
                return _json(error(message.id, INTERNAL_ERROR, "Internal server error"))
            return _json(error(message.id, details.code, details.message, details.data))
        finally:
            await aclose_shielded(connection)
        record = SessionRecord(session_id, params, connection.protocol_version, principal)
        await self.sessions.create(record, self.limits)
        return _json(result(message.id, agreed), session_id)

    async def _take_posted(
        self,
        request: Request,
        session_id: str,
        message: JSONRPCNotification | JSONRPCResponse | JSONRPCError,
        principal: Principal | None,
    ) -> Response:
        """Take a message that has no answer."""
        record = await self._session(session_id, principal)
        if not isinstance(message, JSONRPCNotification):
            instance = instance_of(message.id)
            if instance is not None:
                answer = message.model_dump(by_alias=True, exclude_unset=True, mode="json")
                await self.tell(instance, Answered(session_id, str(message.id), answer))
            return Response(status_code=202)
        params = message.params or {}
        if message.method == "notifications/cancelled":
            call = await self.sessions.running(session_id, compact(params.get("requestId")))
            if call is not None:
                await self.tell(call.instance, Cancelled(session_id, call.stream))
        elif message.method == "notifications/progress" and (told := _progress(session_id, params)) is not None:
            await self.tell(told[0], told[1])
        assert self._tasks is not None
        self._tasks.start_soon(self._run_notification, request, record, message)
        return Response(status_code=202)

    async def _run_notification(self, request: Request, record: SessionRecord, message: JSONRPCNotification) -> None:
        connection = self._connection(record)
        context = RequestContext(record, _transport(request, False), ServerMessageMetadata(request_context=request))
        try:
            runner = ServerRunner(self._server, connection, self._state)
            await runner.on_notify(context, message.method, message.params)
        except Exception:
            logger.exception("[MCP] A notification handler failed")
        finally:
            await aclose_shielded(connection)

    async def _run(
        self, request: Request, send: Send, session_id: str, message: JSONRPCRequest, principal: Principal | None
    ) -> Response | None:
        call = RunningCall(compact(message.id), self.instance, uuid4().hex)
        record = await self.sessions.claim(session_id, principal, call, self.limits)
        if record is None:
            raise _not_found()
        tasks = self._tasks
        assert tasks is not None
        request.scope[STATE_SCOPE] = StoredState(self.sessions, session_id, self.limits)
        exchange = Exchange(self.streams, session_id, call, message.id, tasks)
        self._running[session_id, call.stream] = exchange
        tasks.start_soon(self._work, request, record, exchange, message)
        try:
            return await self._answer(request, send, record, exchange)
        finally:
            exchange.leave()

    async def _work(self, request: Request, record: SessionRecord, exchange: Exchange, message: JSONRPCRequest) -> None:
        """Run a request to its end, also when its client has left."""
        try:
            await exchange.run(partial(self._result, request, record, exchange, message))
            await exchange.is_settled.wait()
        finally:
            del self._running[record.session_id, exchange.call.stream]
            if not self._running:
                self._is_idle.set()
            with anyio.CancelScope(shield=True):
                await self._release(record.session_id, exchange.call)

    async def _result(
        self, request: Request, record: SessionRecord, exchange: Exchange, message: JSONRPCRequest
    ) -> Mapping[str, Any]:
        async def end_standalone() -> None:
            holder = await self.streams.reader(record.session_id)
            if holder is not None:
                await self.tell(holder.partition(":")[0], Detached(record.session_id, holder))

        async def end_this() -> None:
            exchange.reconnect()

        is_resumable = is_version_at_least(record.protocol_version, _RESUMABLE_FROM)
        metadata = ServerMessageMetadata(
            request_context=request,
            close_sse_stream=end_this if is_resumable else None,
            close_standalone_sse_stream=end_standalone if is_resumable else None,
        )
        context = RequestContext(
            record,
            _transport(request, True),
            metadata,
            requests=self._requests,
            put=exchange.put,
            request_id=message.id,
            progress_token=progress_token_from_params(message.params),
        )
        context.cancel_requested = exchange.is_cancelled
        connection = self._connection(record)
        try:
            answer = await ServerRunner(self._server, connection, self._state).on_request(
                context, message.method, message.params
            )
        finally:
            context.is_closed = True
            await aclose_shielded(connection)
        await self._note(record.session_id, message)
        return answer

    async def _note(self, session_id: str, message: JSONRPCRequest) -> None:
        """Keep what a request that succeeded changes of the session, for every instance."""
        params = message.params or {}
        match message.method:
            case "logging/setLevel":
                await self.sessions.set_log_level(session_id, str(params.get("level")))
            case "resources/subscribe":
                await self.sessions.subscribe(session_id, [resource_topic(str(params.get("uri")))], self.limits)
            case "resources/unsubscribe":
                await self.sessions.unsubscribe(session_id, [resource_topic(str(params.get("uri")))])
            case _:
                pass

    async def _release(self, session_id: str, call: RunningCall) -> None:
        deadline = anyio.current_time() + (HOLD_SECONDS if not self._is_draining else BEAT_SECONDS)
        while True:
            try:
                await self.sessions.release(session_id, call)
                return
            except StoreUnavailableError:
                if anyio.current_time() > deadline:
                    return
                await anyio.sleep(BEAT_SECONDS)

    async def _answer(self, request: Request, send: Send, record: SessionRecord, exchange: Exchange) -> Response | None:
        receive = request.receive
        left = await _until_begun(exchange, receive, self._stream_after)
        if left:
            return None
        if (answer := exchange.take_quick_answer()) is not None:
            return _json(answer, record.session_id)
        with self._one_more_stream():
            is_resumable = is_version_at_least(record.protocol_version, _RESUMABLE_FROM)
            reader, first = await exchange.open_stream(is_resumable=is_resumable)
            if exchange.wants_reconnect:
                reader.end()
            headers = EVENT_STREAM_HEADERS | {SESSION_HEADER: record.session_id}
            begin = b"" if first is None else sse(reader.stream, first, self._retry_ms)
            await write_events(reader, receive, send, headers=headers, first=begin, ping_seconds=self._ping_seconds)
        return None

    async def _stream(self, request: Request, send: Send, session_id: str) -> None:
        """Let the client read a stream: the standalone one, or one that it comes back to."""
        last_event_id = request.headers.get("last-event-id")
        stream, after = STANDALONE, None
        if last_event_id is not None:
            found = position(last_event_id)
            if found is None or (found[0] != STANDALONE and found[1] == 0):
                raise UnknownEventError("The Last-Event-ID is none of this server's.")
            stream, after = found
            await self.streams.read(session_id, stream, after, max_events=1)
        if self._is_draining:
            raise _refuse(503, INTERNAL_ERROR, "The server is being stopped. Try again.", **{"retry-after": "1"})
        with self._one_more_stream():
            if stream != STANDALONE:
                await self._write_log(request, send, session_id, stream, after)
                return
            me = f"{self.instance}:{uuid4().hex[:16]}"
            if after is None:
                await self._attach(session_id, me)
            else:
                await self._take_reader(session_id, me)
            try:
                await self._write_log(request, send, session_id, stream, after, me)
            finally:
                with anyio.move_on_after(2, shield=True), contextlib.suppress(StoreUnavailableError):
                    await self.streams.detach(session_id, me)

    async def _attach(self, session_id: str, me: str) -> None:
        """Become the reader of the standalone stream, unless a living instance has one."""
        holder = None
        while (other := await self.streams.attach(session_id, me, over=holder)) is not None:
            instance = other.partition(":")[0]
            is_here = other in self._readers
            if is_here if instance == self.instance else await self.sessions.backplane.is_alive(instance):
                raise _refuse(409, INVALID_REQUEST, "Conflict: another connection reads this session's stream.")
            holder = other
        await self.sessions.subscribe(session_id, _LISTS.values(), self.limits)

    async def _write_log(
        self, request: Request, send: Send, session_id: str, stream: str, after: int | None, me: str | None = None
    ) -> None:
        begin = b": resumed\n\n"
        if after is None:
            after = await self.streams.tip(session_id, stream)
            begin = f"id: {stream}/{after}\nretry: {self._retry_ms}\ndata: \n\n".encode()
        reader = LogReader(self.streams, session_id, stream, after)
        if me is not None:
            self._readers[me] = (session_id, reader)
        try:
            async with self.streams.listen(session_id, stream, reader.heard):
                # What was added before it listened.
                reader.heard(())
                headers = EVENT_STREAM_HEADERS | {SESSION_HEADER: session_id}
                await write_events(
                    reader, request.receive, send, headers=headers, first=begin, ping_seconds=self._ping_seconds
                )
        finally:
            if me is not None:
                del self._readers[me]

    @contextlib.contextmanager
    def _one_more_stream(self) -> Generator[None]:
        if self._open_streams >= self.limits.streams:
            raise ServingLimitError(
                "No stream was opened: this instance has too many", bound="streams", maximum=self.limits.streams
            )
        self._open_streams += 1
        try:
            yield
        finally:
            self._open_streams -= 1

    @contextlib.contextmanager
    def _one_more_listen(self, principal: Principal | None) -> Generator[None]:
        if principal is not None and self._listens[principal] >= (most := self.limits.listens_per_user):
            text = "No stream was opened: this user has too many on this instance"
            raise ServingLimitError(text, bound="listens_per_user", maximum=most)
        with self._one_more_stream():
            if principal is not None:
                self._listens[principal] += 1
            try:
                yield
            finally:
                if principal is not None:
                    self._listens[principal] -= 1
                    self._listens += Counter()  # drops those that have none

    # The SDK's objects

    def _outbound(self, record: SessionRecord) -> SessionOutbound:
        async def put(message: str) -> None:
            await self.streams.append(record.session_id, STANDALONE, [message])

        return SessionOutbound(record, put, self._requests)

    def _connection(self, record: SessionRecord) -> Connection:
        kept = self._handshakes.get(record.session_id)
        if kept is None or kept[0] != record.initialize:
            params = InitializeRequestParams.model_validate(record.initialize, by_name=False)
            kept = self._handshakes[record.session_id] = (record.initialize, params)
            while len(self._handshakes) > _KEPT_HANDSHAKES:
                del self._handshakes[next(iter(self._handshakes))]
        connection = Connection.for_loop(
            self._outbound(record), session_id=record.session_id, protocol_version_hint=record.protocol_version
        )
        connection.client_params = kept[1]
        connection.initialized.set()
        return connection


def _limited(reached: ServingLimitError) -> Response:
    status = _REFUSED_STATUS.get(reached.bound, 429)
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    return refusal(status, INVALID_REQUEST, reached.message, headers)


def _transport(request: Request, can_send_request: bool) -> TransportContext:
    return TransportContext(kind="streamable-http", can_send_request=can_send_request, headers=request.headers)


def _json(text: str, session_id: str | None = None) -> Response:
    headers = {} if session_id is None else {SESSION_HEADER: session_id}
    return Response(text, 200, headers, "application/json")


def _principal(request: Request) -> Principal | None:
    user = request.scope.get("user")
    if not isinstance(user, AuthenticatedUser):
        return None
    parts = authorization_context(user)
    return Principal(parts["issuer"], parts["subject"], parts["client_id"])


def _checked_id(session_id: str | None) -> str:
    if not session_id:
        raise _refuse(400, INVALID_REQUEST, "Bad Request: the Mcp-Session-Id header is missing.")
    if len(session_id) > _MAX_ID_CHARS or not (session_id.isascii() and session_id.isalnum()):
        raise _not_found()
    return session_id


async def _parsed(request: Request) -> JSONRPCMessage:
    if not all(check_accept_headers(request)):
        text = "Not Acceptable: the client must accept both application/json and text/event-stream."
        raise _refuse(406, INVALID_REQUEST, text)
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise _refuse(415, INVALID_REQUEST, "Unsupported Media Type: Content-Type must be application/json.")
    try:
        decoded_body = json.loads(await request.body())
    except (ValueError, RecursionError):
        raise _refuse(400, PARSE_ERROR, "Parse error: the body is not JSON, or is nested too deeply.") from None
    try:
        return jsonrpc_message_adapter.validate_python(decoded_body, by_name=False)
    except (ValidationError, RecursionError):
        raise _refuse(400, INVALID_PARAMS, "The body is not one JSON-RPC message.") from None


def _progress(session_id: str, params: Mapping[str, Any]) -> tuple[str, Progressed] | None:
    """Whom to tell of progress of a request of the server, and what."""
    token, numbers, text = (
        params.get("progressToken"),
        [params.get("progress"), params.get("total")],
        params.get("message"),
    )
    instance = instance_of(token)
    if instance is None or not isinstance(numbers[0], int | float) or not isinstance(numbers[1], int | float | None):
        return None
    message = text if isinstance(text, str) else None
    return instance, Progressed(session_id, cast("str", token), numbers[0], numbers[1], message)


async def _until_begun(exchange: Exchange, receive: Receive, seconds: float) -> bool:
    """Wait until the request has something to send, or for some seconds; whether its client has left meanwhile."""
    has_left = False
    async with anyio.create_task_group() as tasks:

        async def watch() -> None:
            nonlocal has_left
            while (await receive())["type"] != "http.disconnect":
                pass
            has_left = True
            tasks.cancel_scope.cancel()

        tasks.start_soon(watch)
        with anyio.move_on_after(seconds):
            await exchange.has_begun.wait()
        tasks.cancel_scope.cancel()
    return has_left
