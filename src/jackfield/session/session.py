"""`Session`: what a user calls. It offers what the SDK's client offers, with bounds and honest errors."""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from mcp import MCPError
from mcp.client.subscriptions import ServerEvent, SubscriptionLost
from mcp.shared.subscriptions import event_from_wire
from mcp.types import (
    CONNECTION_CLOSED,
    METHOD_NOT_FOUND,
    CompleteResult,
    EmptyResult,
    GetPromptResult,
    Implementation,
    InitializeResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    LoggingLevel,
    PromptReference,
    ReadResourceResult,
    ResourceTemplateReference,
    RootsListChangedNotification,
    ServerCapabilities,
    ServerNotification,
    SubscribeRequest,
    SubscribeRequestParams,
    UnsubscribeRequest,
    UnsubscribeRequestParams,
)
from mcp.types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from ..config.servers import BaseServerConfig
from ..errors import (
    InvalidArgumentsError,
    JackfieldError,
    RequestError,
    SessionExpiredError,
    SessionInvalidError,
    SessionTerminatedError,
    SessionTimeoutError,
    ToolError,
    UnknownToolError,
)
from ..events import CallFinished, CallRetried, CallStarted
from ..transport.report import LIMIT_CODE, UNREADABLE_CODE, CallRecord, current_call
from .hooks import CallHook, ToolCall, call_with_hooks
from .listing import ToolListing, all_pages
from .owner import SessionOwner, ping, set_logging_level
from .results import ToolResult
from .retry import may_call_again
from .tracing import span

if TYPE_CHECKING:
    from mcp import Client, ClientSession
    from mcp.shared.dispatcher import ProgressFnT

    from ..transport.connection import Connection
    from ..transport.report import ConnectionReport

logger: logging.Logger = logging.getLogger("jackfield")

_T = TypeVar("_T")

_CARRIED_OUT = {
    False: "the call was not carried out",
    None: "the call may have taken effect",
    True: "the call may have taken effect",
}

# A listing younger than this is not fetched again to see whether a call that does not fit it now does.
_FRESH_SECONDS = 1.0


class Session:
    """An open session with one server, valid until its `async with` block is left.

    Many tasks may call at once. Every request is bounded by `call_timeout` (seconds; the server's
    setting if omitted), and running out of it, or being cancelled, is told to the server.
    """

    def __init__(
        self, owner: SessionOwner, on_idle: Callable[[SessionOwner], None], hooks: Sequence[CallHook] = ()
    ) -> None:
        self._owner = owner
        self._on_idle = on_idle
        self._hooks = tuple(hooks)
        self._released = False
        # The generation whose state the user of this handle counts on.
        self._known_generation = owner.known_generation

    def __repr__(self) -> str:
        state = "released" if self._released else self._owner.state
        return f"<Session {self.server_name!r} {state}>"

    # What it is

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self._owner.config.server_name

    @property
    def config(self) -> BaseServerConfig:
        """The server's configuration."""
        return self._owner.config

    @property
    def key(self) -> str | None:
        """Whose session it is; `None` for a private one."""
        return self._owner.key

    @property
    def generation(self) -> int:
        """How often the session was opened: 1, and one more for each recovery. State kept behind it in an
        earlier generation is gone."""
        return self._owner.generation

    @property
    def protocol_version(self) -> str:
        """The version negotiated with the server, such as `2026-07-28` or `2025-11-25`."""
        return self._client().protocol_version

    @property
    def server_info(self) -> Implementation | None:
        """Name and version as the server gives them; `None` if it does not."""
        return self._client().server_info

    @property
    def server_capabilities(self) -> ServerCapabilities:
        """What the server says it can do."""
        return self._client().server_capabilities

    @property
    def instructions(self) -> str | None:
        """The server's advice for models on how to use it."""
        return self._client().instructions

    @property
    def process_id(self) -> int | None:
        """The child's process id; `None` where there is no child."""
        return self._owner.info().process_id

    @property
    def connection_report(self) -> ConnectionReport | None:
        """What is known of the connection beside its messages, for diagnosis: stderr, stray output, the exit code.

        It goes on being filled until the session is closed.
        """
        connection = self._owner.connection
        return None if connection is None else connection.report

    @property
    def sdk_session(self) -> ClientSession:
        """The SDK's own session, for what is not offered here. Its calls have no bounds of ours."""
        return self._client().session

    async def initialize(self) -> InitializeResult:
        """What the server said of itself when the session was opened. Sends nothing: an open session is initialized.

        For code that was written for the SDK's session, or for AG2's.
        """
        client = self._client()
        return InitializeResult(
            protocol_version=client.protocol_version,
            capabilities=client.server_capabilities,
            server_info=client.server_info or Implementation(name=self.server_name, version=""),
            instructions=client.instructions,
        )

    # Tools

    async def list_tools(self, *, call_timeout: float | None = None) -> ListToolsResult:
        """List all tools, over all pages. Always asks the server.

        Raises:
            RequestError: The server has no tools, or its listing does not end.
        """
        return (await self._fetch_listing(call_timeout))[1]

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | None = None,
        *,
        call_timeout: float | None = None,
        progress_callback: ProgressFnT | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> ToolResult:
        """Call one tool of this session's server.

        If the session is lost, it is opened again, and the call is made again where it provably was not
        executed, or where the tool says that it is read-only or idempotent.

        Args:
            name: The tool's name as the server lists it.
            arguments: Checked against the tool's input schema before anything is sent.
            call_timeout: Seconds to wait for the result, recovery included; the server's setting if omitted.
            progress_callback: Awaited with `(progress, total, message)` as the server reports it.
            meta: Sent as the request's `_meta`.

        Returns:
            The result; `is_error` is set where the tool itself reported an error, and `state_lost` where
            the session was opened anew since the last result.

        Raises:
            UnknownToolError: The server has no such tool; nothing was sent.
            InvalidArgumentsError: The arguments do not fit; nothing was sent.
            CallDeniedError: A hook did not let it through; nothing was sent.
            SessionTimeoutError: No answer in time; `sent` says whether the server has the call.
            SessionTerminatedError: The session ended; `sent` says whether the server has the call.
            ServerUnavailableError: The server cannot be reached; `sent` says whether it has the call.
            ServerLimitError: The answer is beyond a limit of `SessionConfig`.
            RequestError: The server answered with a protocol error.

        Source: MCP 2025-11-25 and 2026-07-28, server/tools "Calling Tools".
        """
        self._usable()
        call = _Call(name, dict(arguments) if arguments else {}, call_timeout, progress_callback, meta)
        if not self._hooks:
            return await self._call(call)
        return await self._call_with_hooks(call)

    async def _call_with_hooks(self, call: _Call) -> ToolResult:
        listing = await self.tool_listing(call_timeout=call.timeout)
        about = ToolCall(
            self.server_name, self.key, call.tool, call.arguments, listing.annotations(call.tool) if listing else None
        )

        async def proceed(about: ToolCall) -> ToolResult:
            return await self._call(replace(call, arguments=dict(about.arguments), headers=dict(about.headers)))

        return await call_with_hooks(self._hooks, about, proceed)

    async def _call(self, call: _Call) -> ToolResult:
        owner, name = self._owner, call.tool
        listing = owner.listing or await self.tool_listing(call_timeout=call.timeout)
        if listing is not None:
            try:
                listing.check(name).check(call.arguments)
            except (UnknownToolError, InvalidArgumentsError):
                # The server may have changed the tool without saying so.
                if time.monotonic() - listing.fetched_at < _FRESH_SECONDS:
                    raise
                listing, _ = await self._fetch_listing(call.timeout)
                listing.check(name).check(call.arguments)
        owner.calls += 1
        number, started, totals = owner.calls, time.monotonic(), owner.totals
        totals.calls += 1
        heard = owner.events.is_heard
        if heard:
            owner.events.emit(CallStarted(server_name=self.server_name, key=self.key, tool=name, call_number=number))
        failure: JackfieldError | None = None
        generation = self._known_generation
        try:
            with span(f"call_tool {name}", self.server_name):
                answer = await self._request(
                    "tools/call",
                    call.timeout,
                    lambda client: client.call_tool(
                        name,
                        call.arguments,
                        progress_callback=call.progress_callback,
                        meta=dict(call.meta) if call.meta else None,  # type: ignore[arg-type]
                    ),
                    is_safe=listing is not None and listing.is_safe_to_repeat(name),
                    headers=call.headers,
                    on_retry=lambda error: self._note_retry(name, number, error),
                )
            result = ToolResult.of(answer, server_name=self.server_name, tool_name=name)
            result.generation = owner.generation
            if owner.generation != generation:
                result.state_lost = True
                self._is_told(owner.generation)
            if result.is_error:
                failure = _tool_error(result)
            return result
        except JackfieldError as error:
            failure = error
            raise
        finally:
            seconds = time.monotonic() - started
            totals.call_times.add(seconds)
            if failure is not None:
                owner.errors += 1
                totals.errors += 1
            if heard:
                owner.events.emit(
                    CallFinished(
                        server_name=self.server_name,
                        key=self.key,
                        tool=name,
                        call_number=number,
                        seconds=seconds,
                        error=failure,
                    ),
                )
            if logger.isEnabledFor(logging.DEBUG):
                end = f"failed: {failure.code}" if failure else "done"
                logger.debug("[MCP][%s] Call %d of %s %s in %.3f s", self.server_name, number, name, end, seconds)

    def _is_told(self, generation: int) -> None:
        """The user of this handle knows that the state of earlier generations is gone."""
        self._known_generation = generation
        self._owner.known_generation = max(generation, self._owner.known_generation)

    def _note_retry(self, tool: str, number: int, error: JackfieldError) -> None:
        owner = self._owner
        owner.totals.retries += 1
        logger.info("[MCP][%s] Call %d of %s is made again: %s", self.server_name, number, tool, error.code)
        owner.events.emit(
            CallRetried(server_name=self.server_name, key=self.key, tool=tool, call_number=number, error=error)
        )

    async def tool_listing(self, *, call_timeout: float | None = None) -> ToolListing | None:
        """The tools as last listed, asking only where they may have changed; `None` if there is no listing."""
        owner = self._usable()
        async with owner.listing_lock:
            if owner.listing is not None:
                return owner.listing
            try:
                return (await self._fetch_listing(call_timeout))[0]
            except RequestError:
                return None

    async def _fetch_listing(self, call_timeout: float | None) -> tuple[ToolListing, ListToolsResult]:
        pages = await self._pages("tools/list", call_timeout, lambda client, cursor: client.list_tools(cursor=cursor))
        listing = ToolListing(self.config, [tool for page in pages for tool in page.tools], self._owner.on_limit)
        self._owner.listing, tools = listing, listing.tools
        self._owner.observer.listed(self._owner, listing)
        return listing, pages[0].model_copy(update={"tools": tools, "next_cursor": None})

    # Resources and prompts

    async def list_resources(self, *, call_timeout: float | None = None) -> ListResourcesResult:
        """List all resources, over all pages."""
        pages = await self._pages(
            "resources/list", call_timeout, lambda client, cursor: client.list_resources(cursor=cursor)
        )
        resources = [resource for page in pages for resource in page.resources]
        return pages[0].model_copy(update={"resources": resources, "next_cursor": None})

    async def list_resource_templates(self, *, call_timeout: float | None = None) -> ListResourceTemplatesResult:
        """List all resource templates, over all pages."""
        pages = await self._pages(
            "resources/templates/list",
            call_timeout,
            lambda client, cursor: client.list_resource_templates(cursor=cursor),
        )
        templates = [template for page in pages for template in page.resource_templates]
        return pages[0].model_copy(update={"resource_templates": templates, "next_cursor": None})

    async def read_resource(self, uri: str, *, call_timeout: float | None = None) -> ReadResourceResult:
        """Read one resource.

        Raises:
            RequestError: The server does not have it.
        """
        return await self._request("resources/read", call_timeout, lambda client: client.read_resource(str(uri)))

    async def list_prompts(self, *, call_timeout: float | None = None) -> ListPromptsResult:
        """List all prompts, over all pages."""
        pages = await self._pages(
            "prompts/list", call_timeout, lambda client, cursor: client.list_prompts(cursor=cursor)
        )
        prompts = [prompt for page in pages for prompt in page.prompts]
        return pages[0].model_copy(update={"prompts": prompts, "next_cursor": None})

    async def get_prompt(
        self, name: str, arguments: Mapping[str, str] | None = None, *, call_timeout: float | None = None
    ) -> GetPromptResult:
        """Fill in one prompt.

        Raises:
            RequestError: The server does not have it, or an argument is missing.
        """
        given = dict(arguments) if arguments else None
        return await self._request("prompts/get", call_timeout, lambda client: client.get_prompt(name, given))

    async def complete(
        self,
        ref: ResourceTemplateReference | PromptReference,
        argument: Mapping[str, str],
        context_arguments: Mapping[str, str] | None = None,
        *,
        call_timeout: float | None = None,
    ) -> CompleteResult:
        """Ask the server how an argument of a prompt or a resource template may go on.

        Args:
            ref: The prompt or template.
            argument: `{"name": ..., "value": ...}`.
            context_arguments: Arguments already known.
            call_timeout: Seconds to wait; the server's setting if omitted.
        """
        context = dict(context_arguments) if context_arguments else None
        return await self._request(
            "completion/complete", call_timeout, lambda client: client.complete(ref, dict(argument), context)
        )

    # The server's side

    async def ping(self, *, call_timeout: float | None = None) -> float:
        """Make one round trip that changes nothing; returns its seconds.

        Source: MCP 2025-11-25, basic/utilities/ping; 2026-07-28 has no ping, `server/discover` serves.
        """
        started = time.monotonic()
        await self._request("ping", call_timeout, ping)
        return time.monotonic() - started

    async def refresh(self) -> None:
        """Close the connection and open a new one: a new process, a new session id. State behind it is lost.

        For use after a `SessionTimeoutError`, when the server seems to hang. Calls that are under way on
        this session, also by others who share its key, end with an error.

        Raises:
            JackfieldError: It could not be opened again.
        """
        self._usable()
        await self._owner.refresh()
        self._is_told(self._owner.generation)

    async def set_logging_level(self, level: LoggingLevel, *, call_timeout: float | None = None) -> None:
        """Ask for log messages of this level and above, in the older protocol.

        In that of 2026-07-28 the level goes with every request: give `SessionCallbacks(log_level=...)`.
        """
        await self._request("logging/setLevel", call_timeout, lambda client: set_logging_level(client, level))

    async def send_roots_list_changed(self) -> None:
        """Tell the server that the roots changed."""
        await self._client().session.send_notification(RootsListChangedNotification())

    @asynccontextmanager
    async def listen(
        self,
        *,
        tools_list_changed: bool = False,
        prompts_list_changed: bool = False,
        resources_list_changed: bool = False,
        resource_subscriptions: Sequence[str] = (),
    ) -> AsyncGenerator[AsyncIterator[ServerEvent]]:
        """Iterate over changes on the server, in either protocol era.

        ```python
        async with session.listen(resource_subscriptions=["notes://today"]) as changes:
            async for change in changes: ...
        ```

        The iteration raises `mcp.client.subscriptions.SubscriptionLost` when the session ends.

        Source: MCP 2026-07-28 `subscriptions/listen` (SEP-2575); 2025-11-25 `resources/subscribe`.
        """
        client = self._client()
        if self._is_modern(client):
            async with client.listen(
                tools_list_changed=tools_list_changed,
                prompts_list_changed=prompts_list_changed,
                resources_list_changed=resources_list_changed,
                resource_subscriptions=resource_subscriptions,
            ) as subscription:
                yield subscription
            return
        wanted = {
            "notifications/tools/list_changed": tools_list_changed,
            "notifications/prompts/list_changed": prompts_list_changed,
            "notifications/resources/list_changed": resources_list_changed,
            "notifications/resources/updated": bool(resource_subscriptions),
        }
        send, receive = anyio.create_memory_object_stream[ServerEvent](math.inf)

        def deliver(message: Any) -> None:
            if message is None:
                send.close()
            elif isinstance(message, ServerNotification) and wanted.get(message.method):
                params = message.params.model_dump(by_alias=True, mode="json") if message.params else {}
                if (event := event_from_wire(message.method, params)) is not None:
                    send.send_nowait(event)

        async def changes() -> AsyncGenerator[ServerEvent]:
            async for event in receive:
                yield event
            raise SubscriptionLost("The session ended; open it again, listen again and fetch what changed.")

        listeners = self._owner.listeners
        listeners.append(deliver)
        subscribed: list[str] = []
        try:
            for uri in resource_subscriptions:
                await self._subscription(SubscribeRequest(params=SubscribeRequestParams(uri=uri)))
                subscribed.append(uri)
            yield changes()
        finally:
            listeners.remove(deliver)
            send.close()
            receive.close()
            if self._owner.state == "open" and not self._released:
                with anyio.move_on_after(self._owner.config.session.close_timeout, shield=True):
                    for uri in subscribed:
                        await self._subscription(UnsubscribeRequest(params=UnsubscribeRequestParams(uri=uri)))

    async def _subscription(self, request: SubscribeRequest | UnsubscribeRequest) -> None:
        await self._request(request.method, None, lambda client: client.session.send_request(request, EmptyResult))

    # How requests are made

    def release(self) -> None:
        """Called by the lease: this handle is used up."""
        self._released = True

    @staticmethod
    def _is_modern(client: Client) -> bool:
        return client.protocol_version in MODERN_PROTOCOL_VERSIONS

    def _usable(self) -> SessionOwner:
        if self._released:
            raise SessionTerminatedError(
                f"This session of server {self.server_name!r} was left: its `async with` block is over.",
                server_name=self.server_name,
                sent=False,
                hint="Make calls inside the block, or open the session again.",
            )
        if not self._owner.is_usable:
            raise self._owner.ended(sent=False)
        return self._owner

    def _client(self) -> Client:
        connection = self._usable().connection
        if connection is None:
            raise self._owner.ended(sent=False)
        return connection.client

    async def _pages(
        self, method: str, call_timeout: float | None, fetch: Callable[[Client, str | None], Awaitable[Any]]
    ) -> list[Any]:
        return await all_pages(
            self.config,
            lambda cursor: self._request(method, call_timeout, lambda client: fetch(client, cursor)),
        )

    async def _request(
        self,
        method: str,
        call_timeout: float | None,
        send: Callable[[Client], Awaitable[_T]],
        *,
        is_safe: bool = True,
        headers: Mapping[str, str] | None = None,
        on_retry: Callable[[JackfieldError], None] | None = None,
    ) -> _T:
        """Make one request in the caller's task: counted, bounded, and made again where that does no harm.

        Args:
            method: Its name, for errors.
            call_timeout: Seconds for all of it.
            send: Makes it.
            is_safe: Whether it may be made again although it may have been executed.
            headers: Sent with it over HTTP.
            on_retry: Called before it is made again.
        """
        owner = self._usable()
        settings = owner.config.session
        seconds = call_timeout if call_timeout is not None else settings.call_timeout
        deadline = math.inf if seconds is None else anyio.current_time() + seconds
        attempt, wait = 1, 0.0
        while True:
            record = CallRecord(method, headers=headers or {})
            try:
                with record.scope as scope:
                    scope.deadline = deadline
                    if wait:
                        await anyio.sleep(wait)
                    return await self._send(owner, method, send, record)
                # Out of time, or a transport knows that no answer will come.
                raise self._wire_failure(record) or self._timed_out(method, seconds, record)
            except JackfieldError as error:
                attempt += 1
                if attempt > settings.retry_attempts + 1 or not self._may_send_again(error, is_safe):
                    if error.state_lost and error.generation is not None:
                        self._is_told(error.generation + 1)
                    raise
                wait = 0.0 if owner.state != "open" else settings.wait_before(attempt, error.retry_after)
                if anyio.current_time() + wait >= deadline:
                    raise
                if on_retry is not None:
                    on_retry(error)

    def _may_send_again(self, error: JackfieldError, is_safe: bool) -> bool:
        if self._released or not self._owner.is_usable or self._owner.state == "lost":
            return False
        return may_call_again(error, is_safe)

    async def _send(
        self, owner: SessionOwner, method: str, send: Callable[[Client], Awaitable[_T]], record: CallRecord
    ) -> _T:
        """Make a request once."""
        connection = owner.connection or await owner.ready()
        record.generation = owner.generation
        token = current_call.set(record)
        owner.in_flight += 1
        connection.in_flight += 1
        try:
            if owner.slots is None:
                answer = await send(connection.client)
            else:
                async with owner.slots:
                    answer = await send(connection.client)
            owner.last_heard_at = time.monotonic()
            return answer
        except MCPError as error:
            if error.code == CONNECTION_CLOSED:
                await connection.report.last_words()
            raise self._failure(method, error, record, connection) from None
        except ValidationError as error:
            raise self._bad_answer(
                method, f"{error.error_count()} problems, the first: {error.errors()[0]['msg']}"
            ) from None
        except RuntimeError as error:
            # So the SDK reports structured content that does not fit the tool's own output schema.
            raise self._bad_answer(method, str(error)) from error
        finally:
            current_call.reset(token)
            owner.in_flight -= 1
            connection.in_flight -= 1
            if connection.in_flight == 0:
                connection.drained.set()
            owner.last_used_at = time.time()
            if owner.in_flight == 0:
                self._on_idle(owner)

    def _timed_out(self, method: str, seconds: float | None, record: CallRecord) -> SessionTimeoutError:
        if record.sent is False and self._owner.state == "recovering":
            happened = "the request was not sent, because the session was still being opened again"
        elif record.sent is False:
            happened = "the request was not sent"
        else:
            happened = "the server was told to cancel it, but it may have taken effect"
        return SessionTimeoutError(
            f"Server {self.server_name!r} did not answer {method} within {seconds or 0:g} s; {happened}.",
            server_name=self.server_name,
            sent=record.sent,
            retryable=record.sent is False,
            hint="Raise call_timeout for slow work; session.refresh() opens a hanging server anew.",
        )

    def _failure(self, method: str, error: MCPError, record: CallRecord, connection: Connection) -> JackfieldError:
        if failure := self._wire_failure(record):
            return failure
        if error.code == CONNECTION_CLOSED:
            return self._lost(connection, record)
        if error.code == LIMIT_CODE:
            assert connection.report.limit_reached
            return copy.copy(connection.report.limit_reached)
        if error.code == UNREADABLE_CODE:
            return self._bad_answer(method, error.error.message)
        hint = "The server does not offer this." if error.code == METHOD_NOT_FOUND else None
        return RequestError(
            f"Server {self.server_name!r} answered {method} with error {error.code}: {error.error.message}",
            rpc_code=error.code,
            server_name=self.server_name,
            sent=True,
            hint=hint,
        )

    def _wire_failure(self, record: CallRecord) -> JackfieldError | None:
        """What the transport knows to be wrong; tells the owner where that is the end of the session."""
        failure = record.failure
        if failure is None:
            return None
        failure.generation = record.generation
        if (carried_out := _CARRIED_OUT[failure.sent]) not in failure.message:
            failure.message = f"{failure.message.rstrip('.')}; {carried_out}."
        if isinstance(failure, SessionExpiredError | SessionInvalidError):
            self._owner.report_forgotten(record.generation, failure)
        return failure

    def _lost(self, connection: Connection, record: CallRecord) -> JackfieldError:
        """The connection ended under a call."""
        owner = self._owner
        if owner.connection is connection:
            # The call learned of it before the owner did.
            owner.report_lost(owner.generation, owner.loss(connection.report))
        error = owner.ended(sent=record.sent)
        error.generation = record.generation
        return error

    def _bad_answer(self, method: str, problem: str) -> ToolError | RequestError:
        kind = ToolError if method == "tools/call" else RequestError
        return kind(
            f"Server {self.server_name!r} answered {method} with what the protocol does not allow: {problem}",
            server_name=self.server_name,
            sent=True,
            hint="The request was carried out; report this to the server's author.",
        )


@dataclass(frozen=True)
class _Call:
    """What `call_tool` was asked for."""

    tool: str
    arguments: dict[str, Any]
    timeout: float | None
    progress_callback: ProgressFnT | None
    meta: Mapping[str, Any] | None
    headers: Mapping[str, str] | None = None


def _tool_error(result: ToolResult) -> JackfieldError | None:
    try:
        result.raise_for_error()
    except ToolError as error:
        return error
    return None
