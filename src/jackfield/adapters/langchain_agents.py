"""LangChain agents that keep their MCP session.

The patterns are those of LangChain's guide to stateful MCP sessions, which names them for a module that no
released LangChain has.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypedDict, cast
from weakref import WeakKeyDictionary

import langchain.agents
from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse, ToolCallRequest
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import ToolMessage
from langchain_core.tools import BaseTool
from langgraph.types import Command
from mcp.types import ListToolsResult

from ..errors import ConfigError
from ..loops import current_task
from ..plain import as_table
from ..pool.session_manager import SessionManager
from ..session.results import ToolResult
from ..session.session import Session
from .agent_sessions import AgentSessions
from .langchain import langchain_tools
from .langchain_client import Client, manager_of, server_names_of

if TYPE_CHECKING:
    from langchain_core.runnables import Runnable

    _LangChainsAgent = Runnable[Any, Any]  # LangGraph has no types
else:
    from langgraph.graph.state import CompiledStateGraph as _LangChainsAgent

_Model = str | BaseChatModel
_Servers = str | Sequence[str]


class _RequiredKeys(TypedDict):
    client: Client
    server_name: str | Sequence[str]


class MCPSessionConfig(_RequiredKeys, total=False):
    """For `create_agent(mcp_session_config=...)`: `client`, `server_name` and, if not to be true, `auto_cleanup`."""

    auto_cleanup: bool
    """As for `create_stateful_mcp_agent`."""


def _sessions_of(client: Client, server_name: _Servers, *, auto_cleanup: bool = True) -> AgentSessions[BaseTool]:
    return AgentSessions(
        manager_of(client),
        server_names_of(server_name),
        langchain_tools,
        lives_apart=not isinstance(client, SessionManager),
        auto_cleanup=auto_cleanup,
    )


class StatefulMCPAgentExecutor:
    """An agent whose tools use one session with each of its servers, from entry to exit.

    Enter it with `async with`, or in synchronous code with `with`. Its sessions live on an event loop in a separate
    thread, so that `invoke` works everywhere; only those of a given manager in an `async with` live on the
    manager's loop, which `invoke` must not block.

    Args:
        client: A manager, a config, a mapping of connections in the shape of `langchain-mcp-adapters`, or a
            `MultiServerMCPClient`.
        server_name: The server, or several.
        model: As for LangChain's `create_agent`.
        system_prompt: As for LangChain's `create_agent`.
        tools: Further tools in addition to those of the servers.
        auto_cleanup: Close the sessions when neither the executor, its agent nor any tool is referenced any
            longer, if they were not closed before.
        agent_options: Passed on to LangChain's `create_agent` (`middleware`, `checkpointer`, ...).

    Raises:
        ConfigError: `client` is not a valid source of servers, or `server_name` names none.
    """

    def __init__(
        self,
        client: Client,
        server_name: _Servers,
        model: _Model,
        system_prompt: str | None = None,
        tools: Sequence[BaseTool] | None = None,
        *,
        auto_cleanup: bool = True,
        **agent_options: Any,
    ) -> None:
        self._sessions = _sessions_of(client, server_name, auto_cleanup=auto_cleanup)
        self._model = model
        self._more_tools = list(tools or ())
        self._agent_options = {"system_prompt": system_prompt, **agent_options}
        self._agent: Any = None
        self.tools: list[BaseTool] = []
        """All tools of the agent."""

    @property
    def sessions(self) -> dict[str, Session]:
        """The open sessions, by server name."""
        return self._sessions.sessions

    async def __aenter__(self) -> StatefulMCPAgentExecutor:
        self._prepare()
        self._make_agent(await self._sessions.tools(current_task()))
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._forget()
        await self._sessions.close()

    def __enter__(self) -> StatefulMCPAgentExecutor:
        self._prepare()
        self._make_agent(self._sessions.tools_blocking())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._forget()
        self._sessions.close_blocking()

    def _prepare(self) -> None:
        if self._sessions.is_open:
            raise RuntimeError("This executor is already entered.")
        # A model that cannot be found, or an option that does not exist, is not a reason to start a server.
        self._make_agent([])
        self._forget()

    def _make_agent(self, tools: list[BaseTool]) -> None:
        self.tools = [*tools, *self._more_tools]
        make = cast("Any", langchain.agents).create_agent
        self._agent = make(self._model, self.tools, **self._agent_options)

    def _forget(self) -> None:
        self._agent, self.tools = None, []

    @property
    def agent(self) -> Any:
        """LangChain's agent.

        Raises:
            RuntimeError: The executor is not entered.
        """
        if self._agent is None:
            raise RuntimeError("Enter the executor first: async with StatefulMCPAgentExecutor(...) as executor: ...")
        return self._agent

    # LangChain calls its first argument `input`, and people give it by that name.
    async def ainvoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent."""
        return await self.agent.ainvoke(input, config, **options)

    def invoke(self, input: dict[str, Any], config: Any = None, **options: Any) -> dict[str, Any]:  # noqa: A002
        """Run the agent, and wait for that.

        Raises:
            BlockedLoopError: A tool's session lives on the event loop that this blocks: that of a manager in use.
        """
        return self.agent.invoke(input, config, **options)

    async def astream(self, input: dict[str, Any], config: Any = None, **options: Any) -> AsyncIterator[Any]:  # noqa: A002
        """Run the agent and yield its steps."""
        async for chunk in self.agent.astream(input, config, **options):
            yield chunk

    def stream(self, input: dict[str, Any], config: Any = None, **options: Any) -> Iterator[Any]:  # noqa: A002
        """Run the agent and yield its steps. Raises as `invoke` does."""
        yield from self.agent.stream(input, config, **options)

    # The session

    async def list_tools(self) -> ListToolsResult:
        """List the tools of the agent's server; of one of several: `executor.sessions[name].list_tools()`."""
        return await self._session.list_tools()

    async def call_tool(self, name: str, arguments: Mapping[str, Any] | None = None) -> ToolResult:
        """Call a tool in the agent's session; see `Session.call_tool`."""
        return await self._session.call_tool(name, arguments)

    async def ping(self) -> float:
        """Make one round trip that changes nothing; returns its seconds."""
        return await self._session.ping()

    @property
    def _session(self) -> Session:
        self.agent  # noqa: B018 - says so where it is not entered
        sessions = self.sessions
        if len(sessions) > 1:
            raise ConfigError(
                f"This agent has several sessions: {', '.join(sessions)}.", hint="Use executor.sessions[name]."
            )
        return next(iter(sessions.values()))

    async def refresh_session(self) -> None:
        """Close the sessions' connections and open new ones, after a `SessionTimeoutError`; the servers' state is lost.

        Raises:
            JackfieldError: One could not be opened.
        """
        self.agent  # noqa: B018 - says so where it is not entered
        for session in self.sessions.values():
            await session.refresh()


@asynccontextmanager
async def mcp_agent_session(
    client: Client,
    server_name: _Servers,
    model: _Model,
    system_prompt: str | None = None,
    tools: Sequence[BaseTool] | None = None,
    **agent_options: Any,
) -> AsyncGenerator[Any]:
    """An agent whose session lasts as long as the block; arguments as for `StatefulMCPAgentExecutor`."""
    async with StatefulMCPAgentExecutor(client, server_name, model, system_prompt, tools, **agent_options) as executor:
        yield executor.agent


async def create_stateful_mcp_agent(
    client: Client,
    server_name: _Servers,
    model: _Model,
    system_prompt: str | None = None,
    tools: Sequence[BaseTool] | None = None,
    auto_cleanup: bool = True,
    **agent_options: Any,
) -> tuple[Any, StatefulMCPAgentExecutor]:
    """An agent, and its session: `list_tools`, `call_tool`, and `await session.__aexit__(None, None, None)` to end it.

    With `auto_cleanup`, the session is also closed when neither of the two is referenced. In any case it ends with
    the manager that was given, and with the program.
    """
    executor = StatefulMCPAgentExecutor(
        client, server_name, model, system_prompt, tools, auto_cleanup=auto_cleanup, **agent_options
    )
    await executor.__aenter__()
    return executor.agent, executor


# create_agent


class SessionMiddleware(AgentMiddleware):
    """Gives an agent the tools of its servers; opens their sessions before the model is first asked."""

    def __init__(self, sessions: AgentSessions[BaseTool]) -> None:
        super().__init__()
        self._sessions = sessions

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
        """Offer the tools to the model."""
        return handler(_with_tools(request, self._sessions.tools_blocking()))

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Offer the tools to the model."""
        return await handler(_with_tools(request, await self._sessions.tools()))

    def wrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], ToolMessage | Command[Any]]
    ) -> ToolMessage | Command[Any]:
        """Call a tool of a server."""
        if request.tool is not None:
            return handler(request)
        found = _found(request, self._sessions.tools_blocking())
        return found if isinstance(found, ToolMessage) else handler(found)

    async def awrap_tool_call(
        self, request: ToolCallRequest, handler: Callable[[ToolCallRequest], Awaitable[ToolMessage | Command[Any]]]
    ) -> ToolMessage | Command[Any]:
        """Call a tool of a server."""
        if request.tool is not None:
            return await handler(request)
        found = _found(request, await self._sessions.tools())
        return found if isinstance(found, ToolMessage) else await handler(found)


def _with_tools(request: ModelRequest, tools: Sequence[BaseTool]) -> ModelRequest:
    """The agent's own tools come first: a tool of a server with the name of one of them is not offered."""
    taken = {tool.name for tool in request.tools if isinstance(tool, BaseTool)}
    return request.override(tools=[*request.tools, *(tool for tool in tools if tool.name not in taken)])


def _found(request: ToolCallRequest, tools: Sequence[BaseTool]) -> ToolCallRequest | ToolMessage:
    name = request.tool_call["name"]
    for tool in tools:
        if tool.name == name:
            return request.override(tool=tool)
    own = request.runtime.tools  # pyright: ignore[reportUnknownMemberType]
    names = [tool.name for tool in (*own, *tools)]
    return ToolMessage(
        f"Error: {name} is not a valid tool, try one of [{', '.join(names)}].",
        name=name,
        tool_call_id=request.tool_call["id"],
        status="error",
    )


class SessionAgent(_LangChainsAgent):
    """What `create_agent(mcp_session_config=...)` returns: LangChain's agent, whose sessions can be closed.

    They are opened when it is first run, and again when it is run after they were closed.
    """

    builder: Any

    async def aclose(self) -> None:
        """Close its sessions, if they are open."""
        await _sessions[self.builder].close()

    def close(self) -> None:
        """The same for synchronous code."""
        _sessions[self.builder].close_blocking()


# By what an agent and its copies (`with_config`, ...) have in common.
_sessions: WeakKeyDictionary[Any, AgentSessions[BaseTool]] = WeakKeyDictionary()


def create_agent(
    model: _Model,
    tools: Sequence[BaseTool | Callable[..., Any] | dict[str, Any]] | None = None,
    *,
    mcp_session_config: MCPSessionConfig | None = None,
    **agent_options: Any,
) -> Any:
    """LangChain's `create_agent`. With `mcp_session_config`, the agent also has an MCP server's tools, in one session.

    Args:
        model: As for LangChain's.
        tools: Tools in addition to those of the server.
        mcp_session_config: Selects the server. The agent is then a `SessionAgent`.
        agent_options: Passed on (`system_prompt`, `middleware`, `checkpointer`, ...).

    Raises:
        ConfigError: `mcp_session_config` does not select a server.
    """
    make = cast("Any", langchain.agents).create_agent
    if mcp_session_config is None:
        return make(model, tools, **agent_options)
    sessions = _configured(mcp_session_config)
    middleware = [SessionMiddleware(sessions), *agent_options.pop("middleware", ())]
    agent = make(model, tools, middleware=middleware, **agent_options)
    agent.__class__ = SessionAgent
    _sessions[agent.builder] = sessions
    return agent


def _configured(config: MCPSessionConfig) -> AgentSessions[BaseTool]:
    keys = set(as_table(config))
    required, optional = MCPSessionConfig.__required_keys__, MCPSessionConfig.__optional_keys__
    if not required <= keys <= required | optional:
        raise ConfigError(
            "mcp_session_config must be a mapping with the keys client, server_name and, optionally, auto_cleanup.",
            hint='Such as {"client": connections, "server_name": "notes"}.',
        )
    return _sessions_of(config["client"], config["server_name"], auto_cleanup=config.get("auto_cleanup", True))
