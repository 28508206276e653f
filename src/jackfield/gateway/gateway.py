"""`Gateway`: one MCP server in front of many.

It offers the router's two tools, or all tools themselves. A server behind it is met on the first call, in a
session of the client that calls: of a connection over stdio, of a session over HTTP, or of a single request
where the protocol (2026-07-28 over HTTP) knows no sessions. Results, errors, progress and cancellation go
through as they are.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import anyio
from mcp import MCPError
from mcp.server import Server, ServerRequestContext
from mcp.server.lowlevel import NotificationOptions
from mcp.server.subscriptions import InMemorySubscriptionBus, ListenHandler, ToolsListChanged
from mcp.types import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    SERVER_INFO_META_KEY,
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
)
from mcp.types import Tool as ListedTool
from mcp.types.version import MODERN_PROTOCOL_VERSIONS

from .._version import __version__
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError, RequestError, did_you_mean
from ..events import CatalogChanged
from ..pool.session_manager import SessionManager
from ..routing.tool_router import ToolRouter
from ..toolkit.tool import Tool
from .clients import KEEP, Client, Clients
from .listing import AllTools
from .progress import relayed

if TYPE_CHECKING:
    from mcp.server.session import ServerSession
    from mcp.shared.dispatcher import ProgressFnT

logger: logging.Logger = logging.getLogger("jackfield")

Context = ServerRequestContext[Any, Any]

SESSION_HEADER = "mcp-session-id"
_STDIO = "stdio"
_TELL_SECONDS = 5.0

_HANDLE = {
    "type": "string",
    "description": f'Only to keep state between calls: "{KEEP}" at first; the answer says what to give then.',
}


class Gateway:
    """One MCP server in front of many. Enter it, within its manager, and serve `server`.

    Args:
        manager: Opens the sessions; entered already.
        servers: Names or configurations; all of its config if omitted.
        all_tools: Offer all tools themselves, instead of `find_tools` and `call_tool`.
    """

    def __init__(
        self,
        manager: SessionManager,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        all_tools: bool = False,
    ) -> None:
        self._manager = manager
        self._configs = [_unchecked(config) for config in manager.resolve_all(servers)]
        self._all_tools = all_tools
        self._changes = InMemorySubscriptionBus()
        self._listening = ListenHandler(self._changes)
        self._stack = AsyncExitStack()
        self._clients: Clients | None = None
        self._listing: AllTools | None = None
        self.server: _Server = _Server(self._on_list_tools, self._on_call_tool, self._listening, all_tools=all_tools)

    async def __aenter__(self) -> Gateway:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)
            self._clients = Clients(self._manager, self._configs, tasks)
            self._listing = AllTools(self._manager, self._configs, tasks, self._tell_tools_changed)
            if self._all_tools:
                tasks.start_soon(self._watch)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._listening.close()
        await self._stack.__aexit__(exc_type, exc, traceback)

    @property
    def clients(self) -> Clients:
        """Who uses it."""
        assert self._clients is not None, "enter the gateway first"
        return self._clients

    def client_ended(self, session_id: str) -> None:
        """A client over HTTP is gone."""
        self.clients.end(session_id)

    # What clients ask

    async def _on_list_tools(self, ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        if self._all_tools:
            if not _is_sessionless(ctx):
                self._noted(ctx)
            assert self._listing is not None
            return ListToolsResult(tools=[offered.listed for offered in (await self._listing.known()).values()])
        own = ToolRouter(self._manager, list(self._configs), mode="search").toolkit()
        return ListToolsResult(tools=[_listed(tool, takes_handle=_is_sessionless(ctx)) for tool in own])

    async def _on_call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        async with relayed(ctx) as progress:
            outcome = await self._outcome(ctx, params, progress)
        if isinstance(outcome, MCPError):
            raise outcome
        return outcome

    async def _outcome(
        self, ctx: Context, params: CallToolRequestParams, progress: ProgressFnT | None
    ) -> CallToolResult | MCPError:
        arguments = dict(params.arguments or {})
        handle = arguments.pop("session", None) if self._takes_handle(ctx, params.name) else None
        if not isinstance(handle, str):
            handle = None
        try:
            async with self._client(ctx, handle) as (client, kept):
                tool = await self._tool(client, params.name)
                result = await tool.call(arguments, progress_callback=progress)
        except MCPError as error:
            return error
        except RequestError as error:
            return MCPError(error.rpc_code or INTERNAL_ERROR, error.headline)
        except JackfieldError as error:
            return _failed(str(error))
        return _passed_on(result, kept if handle == KEEP else None)

    def _takes_handle(self, ctx: Context, tool: str) -> bool:
        return not self._all_tools and tool == "call_tool" and _is_sessionless(ctx)

    @asynccontextmanager
    async def _client(self, ctx: Context, handle: str | None) -> AsyncGenerator[tuple[Client, str | None]]:
        if _is_sessionless(ctx):
            async with self.clients.without_session(handle) as (client, kept):
                yield client, kept
            return
        yield self._noted(ctx), None

    def _noted(self, ctx: Context) -> Client:
        """The client of a request that belongs to a session, which it is told of changes by."""
        session_id = _STDIO if ctx.request is None else ctx.request.headers[SESSION_HEADER]
        client = self.clients.of_session(session_id)
        client.session = ctx.session
        return client

    async def _tool(self, client: Client, name: str) -> Tool:
        if self._all_tools:
            assert self._listing is not None
            # Whoever knows a tool by name need not have asked for the listing.
            offered = self._listing.now() if name in self._listing.now() else await self._listing.known()
            if name in offered:
                return offered[name].called_for(self._manager, client.key)
            known = list(offered)
        else:
            toolkit = client.router.toolkit()
            if name in toolkit:
                return toolkit[name]
            known = toolkit.names
        raise MCPError(INVALID_PARAMS, f"Unknown tool: {name}. {did_you_mean(name, known, 'tool')}")

    # What clients are told

    async def _watch(self) -> None:
        async for event in self._manager.events():
            if isinstance(event, CatalogChanged):
                await self._tell_tools_changed()

    async def _tell_tools_changed(self) -> None:
        await self._changes.publish(ToolsListChanged())

        async def tell(session: ServerSession) -> None:
            # One that does not read must not keep it from the others.
            with anyio.move_on_after(_TELL_SECONDS):
                await session.send_tool_list_changed()

        async with anyio.create_task_group() as tasks:
            for client in self.clients:
                if client.session is not None:
                    tasks.start_soon(tell, client.session)


class _Server(Server[Any]):
    """The SDK's server, which over HTTP would not say that its listing may change."""

    def __init__(self, on_list_tools: Any, on_call_tool: Any, on_listen: Any, *, all_tools: bool) -> None:
        own = None if all_tools else "find_tools searches the tools of many servers; call_tool calls one of them."
        super().__init__(
            "jackfield",
            version=__version__,
            instructions=own,
            on_list_tools=on_list_tools,
            on_call_tool=on_call_tool,
            on_subscriptions_listen=on_listen if all_tools else None,
        )
        self._may_change = all_tools

    def create_initialization_options(
        self, notification_options: NotificationOptions | None = None, *args: Any, **options: Any
    ) -> Any:
        """As the SDK's, with what this server notifies of."""
        own = NotificationOptions(tools_changed=self._may_change)
        return super().create_initialization_options(notification_options or own, *args, **options)


def _unchecked(config: BaseServerConfig) -> BaseServerConfig:
    """The server, whose own word on arguments counts: the client of a gateway has its schema, and gets its errors."""
    session = config.session.model_copy(update={"check_arguments": "off"})
    return config.model_copy(update={"session": session})


def _is_sessionless(ctx: Context) -> bool:
    return ctx.request is not None and ctx.protocol_version in MODERN_PROTOCOL_VERSIONS


def _listed(tool: Tool, *, takes_handle: bool) -> ListedTool:
    schema = dict(tool.input_schema)
    if takes_handle and tool.name == "call_tool":
        schema["properties"] = {**schema["properties"], "session": _HANDLE}
    return ListedTool(name=tool.name, description=tool.description, input_schema=schema, annotations=tool.annotations)


def _failed(text: str) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=text)], is_error=True)


def _passed_on(result: CallToolResult, handle: str | None) -> CallToolResult:
    """The server's result, but for the name of the server in the protocol's own stamp."""
    if handle is not None:
        note = TextContent(type="text", text=f'(To go on with this state, give session="{handle}".)')
        result = result.model_copy(update={"content": [*result.content, note]})
    if result.meta and SERVER_INFO_META_KEY in result.meta:
        rest = {name: value for name, value in result.meta.items() if name != SERVER_INFO_META_KEY}
        result = result.model_copy(update={"meta": rest or None})
    return result
