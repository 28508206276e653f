"""LangChain agents whose MCP session lasts as long as they do.

The patterns are those of LangChain's guide to stateful MCP sessions, which names them for a module that no
released LangChain has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from typing import Any, NotRequired, Required, TypedDict

from anyio.from_thread import start_blocking_portal
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool

from ..config.mcp_config import MCPConfig
from ..extras import load
from ..manager.manager import MCPClientSessionManager
from ..session.session import Session
from ..toolkit.create import create_toolkit
from ..toolkit.toolkit import Toolkit
from .langchain import langchain_tools

Client = MCPClientSessionManager | MCPConfig | Mapping[str, Any]
"""Where the servers are: a manager, a config, or connections in the shape of `MultiServerMCPClient`'s."""


class MCPSessionConfig(TypedDict):
    """For `create_agent(mcp_session_config=...)`."""

    client: Required[Client]
    server_name: Required[str | Sequence[str]]
    auto_cleanup: NotRequired[bool]
    """As for `create_stateful_mcp_agent`."""


class StatefulMCPAgentExecutor:
    """An agent whose tools keep one session with each of its servers, from entering to leaving it.

    Enter it with `async with`; or, in synchronous code, with `with`: its sessions then live on an event loop in a
    thread of their own, and `invoke` runs the agent here.

    Args:
        client: A manager, a config, or a mapping in the shape of `MultiServerMCPClient`'s connections.
        server_name: The server, or several.
        model: As for LangChain's `create_agent`.
        system_prompt: As for LangChain's `create_agent`.
        tools: Further tools beside those of the servers.
        agent_options: Passed on to LangChain's `create_agent` (`middleware`, `checkpointer`, ...).
    """

    _NOT_OPEN = "Enter the executor first: async with StatefulMCPAgentExecutor(...) as executor: ..."

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
        self._blocking = ExitStack()
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

    def __enter__(self) -> StatefulMCPAgentExecutor:
        with ExitStack() as stack:
            portal = stack.enter_context(start_blocking_portal())
            portal.call(self.__aenter__)
            stack.callback(portal.call, self.__aexit__, None, None, None)
            self._blocking = stack.pop_all()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._blocking.close()

    @property
    def agent(self) -> Any:
        """LangChain's agent.

        Raises:
            RuntimeError: Its sessions are not open yet.
        """
        if self._agent is None:
            raise RuntimeError(self._NOT_OPEN)
        return self._agent

    async def _ready_agent(self) -> Any:
        return self.agent

    # LangChain calls its first argument `input`, and people give it by that name.
    async def ainvoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent."""
        return await (await self._ready_agent()).ainvoke(input, config, **options)

    def invoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent from synchronous code: in a `with` block, or in another thread than the `async with` block's.

        Raises:
            RuntimeError: An event loop runs in this thread, which it would block.
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

    _NOT_OPEN = (
        "This agent opens its session when it is first run: use `await agent.ainvoke(...)`. "
        "For synchronous code: with StatefulMCPAgentExecutor(...) as executor: executor.invoke(...)."
    )

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
