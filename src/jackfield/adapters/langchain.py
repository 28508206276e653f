"""LangChain: tools, and agents whose MCP session lasts as long as they do.

The patterns are those of LangChain's guide to stateful MCP sessions, which names them for a module that no
released LangChain has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NotRequired, Required, TypedDict, TypeVar, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool, StructuredTool, ToolException
from mcp.types import AudioContent, ImageContent, TextContent
from pydantic import PrivateAttr

from ..config.mcp_config import MCPConfig
from ..errors import JackfieldError, SessionTimeoutError
from ..extras import load
from ..manager.manager import MCPClientSessionManager
from ..session.results import ToolResult, describe_block
from ..session.session import Session
from ..toolkit.create import create_toolkit
from ..toolkit.tool import Tool
from ..toolkit.toolkit import Toolkit

_T = TypeVar("_T")

Client = MCPClientSessionManager | MCPConfig | Mapping[str, Any]
"""Where the servers are: a manager, a config, or connections in the shape of `MultiServerMCPClient`'s."""


class Home:
    """The event loop that sessions live on, and how to reach it from wherever a tool is called."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()

    async def run(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from any event loop."""
        if asyncio.get_running_loop() is self._loop:
            return await function()
        return await asyncio.wrap_future(self._submit(function))

    def run_blocking(self, function: Callable[[], Awaitable[_T]]) -> _T:
        """Run there, from a thread that may block.

        Raises:
            ToolException: This thread runs that very loop, or the loop is not running any more.
        """
        try:
            here: object = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        if here is self._loop:
            raise ToolException(
                "This tool's session lives on the event loop that runs here, and blocking it would wait for ever. "
                "Call the agent or tool with ainvoke, or invoke it from another thread: "
                "await asyncio.to_thread(agent.invoke, ...)."
            )
        if not self._loop.is_running():
            raise ToolException("The event loop of this tool's session has ended. Make the tools anew.")
        return self._submit(function).result()

    def _submit(self, function: Callable[[], Awaitable[_T]]) -> Any:
        async def call() -> _T:
            return await function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop)


class MCPTool(StructuredTool):
    """A tool of a server. It takes all arguments by name, also such as `config` that LangChain's own tools keep."""

    # Private, so that pydantic neither copies nor checks them.
    _tool: Any = PrivateAttr()
    _home: Any = PrivateAttr()

    @classmethod
    def of(cls, tool: Tool, home: Home) -> MCPTool:
        """The tool, whose calls run on that event loop."""
        made = cls(
            name=tool.name,
            description=tool.description,
            args_schema=dict(tool.input_schema),
            response_format="content_and_artifact",
            handle_tool_error=True,
            metadata={
                "mcp_server": tool.server_name,
                "mcp_tool": tool.original_name,
                **(tool.annotations.model_dump(exclude_none=True) if tool.annotations else {}),
            },
        )
        made._tool, made._home = tool, home
        return made

    async def _call(self, arguments: Mapping[str, Any]) -> tuple[Any, ToolResult]:
        try:
            result = (await self._tool.call(arguments)).raise_for_error()
        except SessionTimeoutError:
            raise  # Not for the model: whoever runs the agent opens the session anew.
        except JackfieldError as error:
            raise ToolException(str(error)) from error
        return content_of(result), result

    async def _arun(self, /, **arguments: Any) -> tuple[Any, ToolResult]:  # type: ignore[override]  # pyright: ignore
        return await self._home.run(lambda: self._call(arguments))

    def _run(self, /, **arguments: Any) -> tuple[Any, ToolResult]:  # type: ignore[override]  # pyright: ignore
        return self._home.run_blocking(lambda: self._call(arguments))


def langchain_tools(toolkit: Toolkit) -> list[BaseTool]:
    """All tools of a toolkit; see `Toolkit.langchain`."""
    home = Home()
    return [MCPTool.of(tool, home) for tool in toolkit]


def content_of(result: ToolResult) -> str | list[dict[str, Any]]:
    """What a model is given of a result: text, or LangChain's content blocks where there is more than text."""
    if all(isinstance(block, TextContent) for block in result.content):
        return result.text
    return [_content_block(block) for block in result.content]


def _content_block(block: object) -> dict[str, Any]:
    match block:
        case TextContent():
            return {"type": "text", "text": block.text}
        case ImageContent():
            return {"type": "image", "base64": block.data, "mime_type": block.mime_type}
        case AudioContent():
            return {"type": "audio", "base64": block.data, "mime_type": block.mime_type}
        case _:
            return {"type": "text", "text": describe_block(cast("Any", block))}


class MCPSessionConfig(TypedDict):
    """For `create_agent(mcp_session_config=...)`."""

    client: Required[Client]
    server_name: Required[str | Sequence[str]]
    auto_cleanup: NotRequired[bool]
    """As for `create_stateful_mcp_agent`."""


class StatefulMCPAgentExecutor:
    """An agent whose tools keep one session with each of its servers, from entering to leaving it.

    Args:
        client: A manager, a config, or a mapping in the shape of `MultiServerMCPClient`'s connections.
        server_name: The server, or several.
        model: As for LangChain's `create_agent`.
        system_prompt: As for LangChain's `create_agent`.
        tools: Further tools beside those of the servers.
        agent_options: Passed on to LangChain's `create_agent` (`middleware`, `checkpointer`, ...).
    """

    def __init__(
        self,
        client: Client,
        server_name: str | Sequence[str],
        model: str | BaseChatModel,
        system_prompt: str | None = None,
        tools: Sequence[BaseTool] | None = None,
        **agent_options: Any,
    ) -> None:
        self._manager = _manager_of(client)
        self._server_names = [server_name] if isinstance(server_name, str) else list(server_name)
        self._model = model
        self._system_prompt = system_prompt
        self._more_tools = list(tools or ())
        self._agent_options = agent_options
        self._stack: AsyncExitStack | None = None
        self._agent: Any = None
        self.sessions: dict[str, Session] = {}
        """The open sessions, by server name."""
        self.tools: list[BaseTool] = []
        """All tools of the agent."""

    async def __aenter__(self) -> StatefulMCPAgentExecutor:
        if self._stack is not None:
            raise RuntimeError("This executor is entered already.")
        async with AsyncExitStack() as stack:
            toolkit = Toolkit()
            for name in self._server_names:
                session = self.sessions[name] = await stack.enter_async_context(self._manager.open_session(name))
                toolkit += await create_toolkit(session, use_mcp_resources=False)
            self.tools = [*langchain_tools(toolkit), *self._more_tools]
            make: Any = load("langchain.agents", "create_agent")
            self._agent = make(self._model, self.tools, system_prompt=self._system_prompt, **self._agent_options)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._stack is not None:
            stack, self._stack, self._agent = self._stack, None, None
            self.sessions.clear()
            await stack.aclose()

    @property
    def agent(self) -> Any:
        """LangChain's agent.

        Raises:
            RuntimeError: The executor is not entered.
        """
        if self._agent is None:
            raise RuntimeError("Enter the executor first: async with StatefulMCPAgentExecutor(...) as executor: ...")
        return self._agent

    async def _ready_agent(self) -> Any:
        return self.agent

    # LangChain calls its first argument `input`, and people give it by that name.
    async def ainvoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent."""
        return await (await self._ready_agent()).ainvoke(input, config, **options)

    def invoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent from synchronous code, in another thread than the one that entered the executor.

        Raises:
            RuntimeError: Called on the event loop of the sessions, which it would block.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self.agent.invoke(input, config, **options)
        raise RuntimeError(
            "invoke() would block the event loop that runs here. Use: await executor.ainvoke(...), "
            "or await asyncio.to_thread(executor.invoke, ...)."
        )

    async def astream(self, input: dict[str, Any], config: Any = None, **options: Any) -> AsyncIterator[Any]:  # noqa: A002
        """Run the agent, and get what it does step by step."""
        async for chunk in (await self._ready_agent()).astream(input, config, **options):
            yield chunk

    async def refresh_session(self) -> None:
        """Open the sessions anew, after a `SessionTimeoutError`; what the servers kept is gone.

        Raises:
            JackfieldError: One could not be opened.
        """
        self.agent  # noqa: B018 - says so where it is not entered
        for session in self.sessions.values():
            await session.refresh()


@asynccontextmanager
async def mcp_agent_session(
    client: Client,
    server_name: str | Sequence[str],
    model: str | BaseChatModel,
    system_prompt: str | None = None,
    tools: Sequence[BaseTool] | None = None,
    **agent_options: Any,
) -> AsyncGenerator[Any]:
    """An agent whose session lasts as long as the block; arguments as for `StatefulMCPAgentExecutor`."""
    async with StatefulMCPAgentExecutor(client, server_name, model, system_prompt, tools, **agent_options) as executor:
        yield executor.agent


async def create_stateful_mcp_agent(
    client: Client,
    server_name: str | Sequence[str],
    model: str | BaseChatModel,
    system_prompt: str | None = None,
    tools: Sequence[BaseTool] | None = None,
    auto_cleanup: bool = True,
    **agent_options: Any,
) -> tuple[Any, StatefulMCPAgentExecutor]:
    """An agent and what holds its session: end it with `await session.__aexit__(None, None, None)`.

    With `auto_cleanup` the session also ends with the event loop, and with the manager where one was given.
    """
    executor = StatefulMCPAgentExecutor(client, server_name, model, system_prompt, tools, **agent_options)
    await executor.__aenter__()
    return executor.agent, executor


class SessionAgent(StatefulMCPAgentExecutor):
    """What `create_agent(mcp_session_config=...)` returns: opens its session when it is first run, and keeps it."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._entering = asyncio.Lock()

    async def _ready_agent(self) -> Any:
        async with self._entering:
            if self._stack is None:
                await self.__aenter__()
        return self.agent

    async def aclose(self) -> None:
        """Close its session. Left undone, the session ends with the event loop."""
        await self.__aexit__(None, None, None)


def create_agent(
    model: str | BaseChatModel,
    tools: Sequence[BaseTool] | None = None,
    *,
    mcp_session_config: MCPSessionConfig | None = None,
    **agent_options: Any,
) -> Any:
    """LangChain's `create_agent`, which with `mcp_session_config` also has the tools of an MCP server, in one session.

    Args:
        model: As for LangChain's.
        tools: Tools beside those of the server.
        mcp_session_config: Which server.
        agent_options: Passed on (`system_prompt`, `middleware`, `checkpointer`, ...).
    """
    if mcp_session_config is None:
        make: Any = load("langchain.agents", "create_agent")
        return make(model, tools, **agent_options)
    return SessionAgent(
        mcp_session_config["client"], mcp_session_config["server_name"], model, tools=tools, **agent_options
    )


def _manager_of(client: Client) -> MCPClientSessionManager:
    if isinstance(client, MCPClientSessionManager):
        return client
    if isinstance(client, MCPConfig):
        return MCPClientSessionManager(client)
    known = {"mcpServers", "servers", "mcp_servers"}
    return MCPClientSessionManager(dict(client) if known & set(client) else {"mcpServers": dict(client)})
