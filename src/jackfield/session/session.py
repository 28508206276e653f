"""`Session`: what a user calls. It offers what the SDK's client offers, with bounds and honest errors."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
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
    SessionTerminatedError,
    SessionTimeoutError,
    ToolError,
    UnknownToolError,
)
from ..events import CallFinished, CallStarted, emit
from ..transport.report import CallRecord, current_call
from .listing import ToolListing, all_pages
from .owner import SessionOwner, set_logging_level
from .results import ToolResult

if TYPE_CHECKING:
    from mcp import Client, ClientSession
    from mcp.shared.dispatcher import ProgressFnT

_T = TypeVar("_T")

# A listing younger than this is not fetched again to see whether a call that does not fit it now does.
_FRESH_SECONDS = 1.0


class Session:
    """An open session with one server, valid until its `async with` block is left.

    Many tasks may call at once. Every request is bounded by `call_timeout` (seconds; the server's
    setting if omitted), and running out of it, or being cancelled, is told to the server.
    """

    def __init__(self, owner: SessionOwner, on_idle: Callable[[SessionOwner], None]) -> None:
        self._owner = owner
        self._on_idle = on_idle
        self._released = False

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
        """How often the session was opened; goes up when it is recovered."""
        return 1

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
    def sdk_session(self) -> ClientSession:
        """The SDK's own session, for what is not offered here. Its calls have no bounds of ours."""
        return self._client().session

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

        Args:
            name: The tool's name as the server lists it.
            arguments: Checked against the tool's input schema before anything is sent.
            call_timeout: Seconds to wait for the result; the server's setting if omitted.
            progress_callback: Awaited with `(progress, total, message)` as the server reports it.
            meta: Sent as the request's `_meta`.

        Returns:
            The result; `is_error` is set where the tool itself reported an error.

        Raises:
            UnknownToolError: The server has no such tool; nothing was sent.
            InvalidArgumentsError: The arguments do not fit; nothing was sent.
            SessionTimeoutError: No answer in time; `sent` says whether the server has the call.
            SessionTerminatedError: The session ended; `sent` says whether the server has the call.
            RequestError: The server answered with a protocol error.

        Source: MCP 2025-11-25 and 2026-07-28, server/tools "Calling Tools".
        """
        owner = self._usable()
        given = dict(arguments) if arguments else {}
        listing = owner.listing or await self.tool_listing(call_timeout=call_timeout)
        if listing is not None:
            try:
                listing.check(name).check(given)
            except (UnknownToolError, InvalidArgumentsError):
                # The server may have changed the tool without saying so.
                if time.monotonic() - listing.fetched_at < _FRESH_SECONDS:
                    raise
                fresh, _ = await self._fetch_listing(call_timeout)
                fresh.check(name).check(given)
        owner.calls += 1
        number, started, listener = owner.calls, time.monotonic(), owner.on_event
        if listener is not None:
            emit(listener, CallStarted(server_name=self.server_name, key=owner.key, tool=name, call_number=number))
        failure: JackfieldError | None = None
        try:
            answer = await self._request(
                "tools/call",
                call_timeout,
                lambda client: client.call_tool(
                    name,
                    given,
                    progress_callback=progress_callback,
                    meta=dict(meta) if meta else None,  # type: ignore[arg-type]
                ),
            )
            result = ToolResult.of(answer, server_name=self.server_name, tool_name=name)
            if result.is_error:
                owner.errors += 1
                if listener is not None:
                    failure = _tool_error(result)
            return result
        except JackfieldError as error:
            owner.errors += 1
            failure = error
            raise
        finally:
            if listener is not None:
                emit(
                    listener,
                    CallFinished(
                        server_name=self.server_name,
                        key=owner.key,
                        tool=name,
                        call_number=number,
                        seconds=time.monotonic() - started,
                        error=failure,
                    ),
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
        tools = [tool for page in pages for tool in page.tools]
        listing = self._owner.listing = ToolListing(self.server_name, tools)
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

        async def round_trip(client: Client) -> None:
            if self._is_modern(client):
                await client.session.send_discover(client.protocol_version)
            else:
                await client.session.send_ping()

        await self._request("ping", call_timeout, round_trip)
        return time.monotonic() - started

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
        owner = self._owner
        if self._released:
            raise SessionTerminatedError(
                f"This session of server {self.server_name!r} was left: its `async with` block is over.",
                server_name=self.server_name,
                sent=False,
                hint="Make calls inside the block, or open the session again.",
            )
        if owner.connection is None or owner.state != "open":
            raise self._ended(sent=False)
        return owner

    def _client(self) -> Client:
        connection = self._usable().connection
        assert connection
        return connection.client

    def _ended(self, *, sent: bool | None) -> JackfieldError:
        """Why this session is not open any more, told of a call that was or was not sent."""
        reason = self._owner.error
        message = reason.message if reason else f"Session of server {self.server_name!r} was closed."
        if sent is None:
            message += " The call may have been sent."
        elif sent:
            message += " The call was sent and may have taken effect."
        error = (type(reason) if reason else SessionTerminatedError)(message)
        error.server_name = self.server_name
        error.sent = sent
        error.state_lost = True
        error.retryable = sent is False
        error.server_output = reason.server_output if reason else None
        error.hint = reason.hint if reason else "Open the session again."
        return error

    async def _pages(
        self, method: str, call_timeout: float | None, fetch: Callable[[Client, str | None], Awaitable[Any]]
    ) -> list[Any]:
        return await all_pages(
            self.server_name,
            lambda cursor: self._request(method, call_timeout, lambda client: fetch(client, cursor)),
        )

    async def _request(self, method: str, call_timeout: float | None, send: Callable[[Client], Awaitable[_T]]) -> _T:
        """Make one request in the caller's task, counted and bounded."""
        owner = self._usable()
        assert owner.connection
        settings = owner.config.session
        seconds = call_timeout if call_timeout is not None else settings.call_timeout
        record = CallRecord(method)
        token = current_call.set(record)
        owner.in_flight += 1
        try:
            with record.scope as scope:
                if seconds is not None:
                    scope.deadline = anyio.current_time() + seconds
                if owner.slots is None:
                    return await send(owner.connection.client)
                async with owner.slots:
                    return await send(owner.connection.client)
            raise record.failure or self._timed_out(method, seconds, record)
        except MCPError as error:
            raise self._failure(method, error, record) from None
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
            owner.last_used_at = time.time()
            if owner.in_flight == 0:
                self._on_idle(owner)

    def _timed_out(self, method: str, seconds: float | None, record: CallRecord) -> SessionTimeoutError:
        if record.sent is False:
            happened = "the request was not sent"
        else:
            happened = "the server was told to cancel it, but it may have taken effect"
        return SessionTimeoutError(
            f"Server {self.server_name!r} did not answer {method} within {seconds:g} s; {happened}.",
            server_name=self.server_name,
            sent=record.sent,
            retryable=record.sent is False,
            hint="Raise call_timeout for slow work.",
        )

    def _failure(self, method: str, error: MCPError, record: CallRecord) -> JackfieldError:
        if record.failure is not None:
            return record.failure
        if error.code == CONNECTION_CLOSED:
            return self._ended(sent=record.sent)
        hint = "The server does not offer this." if error.code == METHOD_NOT_FOUND else None
        return RequestError(
            f"Server {self.server_name!r} answered {method} with error {error.code}: {error.error.message}",
            rpc_code=error.code,
            server_name=self.server_name,
            sent=True,
            hint=hint,
        )

    def _bad_answer(self, method: str, problem: str) -> ToolError | RequestError:
        kind = ToolError if method == "tools/call" else RequestError
        return kind(
            f"Server {self.server_name!r} answered {method} with what the protocol does not allow: {problem}",
            server_name=self.server_name,
            sent=True,
            hint="The request was carried out; report this to the server's author.",
        )


def _tool_error(result: ToolResult) -> JackfieldError | None:
    try:
        result.raise_for_error()
    except ToolError as error:
        return error
    return None
