"""`query_mcp_server`: one tool for all servers. The agent names a server; only that one is opened."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..config.servers import BaseServerConfig
from ..errors import UnknownServerError
from ..json_schema import signature
from ..live import without_source
from ..loops import Deadline
from ..names import did_you_mean
from ..pool.registry import SessionUser
from ..toolkit.tool import LeasedSource

if TYPE_CHECKING:
    from ..pool.session_manager import SessionManager
    from ..session.session import Session

QueryHandler = Callable[["Session", str], Awaitable[str]]
"""Answers a query with an open session: your own agent, or plain code."""

Permit = Callable[[str, str, Mapping[str, Any], Deadline], Awaitable[str]]
"""Given a server's name, a tool's, its arguments and the call's deadline, returns the name of the tool that may be
called; else raises."""


class QueryTool(Protocol):
    """The function `query_mcp_server`, which agents call."""

    __name__: str

    def __call__(self, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, str]:
        """Ask a server; see `MCPClientSessionManager.query_tool`."""
        ...

    @property
    def aclose(self) -> Callable[[], Awaitable[None]]:
        """Closes the sessions that it opened, except those that others use as well. A later call reopens them."""
        ...


_SUMMARY_CHARS = 120

_OF_CALLS = (
    "    tool_name: A tool of that server; leave it out to see its tools.",
    "    arguments: The tool's arguments.",
)


def make_query_tool(
    manager: SessionManager,
    servers: Sequence[str | BaseServerConfig] | None,
    *,
    key: str | None = None,
    handler: QueryHandler | None = None,
    permit: Permit | None = None,
    user: SessionUser | None = None,
) -> QueryTool:
    """Make the function; see `MCPClientSessionManager.query_tool`.

    Args:
        manager: Opens the sessions.
        servers: The servers that can be named.
        key: The owner of the sessions.
        handler: Answers queries.
        permit: Asked before a server is opened and its tool called.
        user: The sessions' recurring user; the function itself if omitted.
    """
    comes_back = user or SessionUser()
    configs = {config.server_name: config for config in manager.inside.resolve_all(servers)}
    own_key = key or f"query-{uuid.uuid4().hex[:8]}"

    def named(server_name: str) -> BaseServerConfig:
        if server_name not in configs:
            hint = did_you_mean(server_name, configs, "server")
            raise UnknownServerError(
                f"There is no server {server_name!r}.", server_name=server_name, sent=False, hint=hint
            )
        return configs[server_name]

    async def query_mcp_server(server_name: str, query: str = "", tool_name: str = "", arguments: Any = None) -> str:
        config = named(server_name)
        deadline = Deadline.after(config.session.call_timeout)
        if tool_name and permit is not None:
            tool_name = await permit(server_name, tool_name, arguments or {}, deadline)
        async with LeasedSource(manager, config, own_key, comes_back).opened(deadline) as session:
            if tool_name:
                result = await session.call_tool(tool_name, arguments or {}, call_timeout=deadline)
                return result.raise_for_error().for_model().text
            return await _tools_of(session, deadline)

    async def ask_mcp_server(server_name: str, query: str) -> str:
        lease = manager.open_session(named(server_name), key=own_key)
        lease.user = comes_back
        async with lease as session:
            assert handler is not None
            generation, lost = session.generation, session.state_lost
            answer = await handler(session, query)
            if lost or session.generation > generation:
                from ..session.results import state_note
                from ..session.session import caller_of

                caller_of(session).take_loss()
                return f"{state_note(server_name)}\n{answer}"
            return answer

    function: Any = query_mcp_server if handler is None else ask_mcp_server
    function.aclose = partial(manager.inside.end_user, comes_back)
    function.__name__ = function.__qualname__ = "query_mcp_server"
    function.__doc__ = "\n".join(
        [
            query_description(list(configs), with_handler=handler is not None),
            "",
            "Args:",
            "    server_name: The server to use.",
            "    query: What you want to know.",
            *(() if handler is not None else _OF_CALLS),
        ]
    )
    # Frameworks make the schema of the annotations: naming the servers there keeps models to them. What parameters are
    # for stands in the text, which all of them have: AutoGen takes it from `Annotated[str, "..."]` alone, AG2 never.
    name: Any = Literal[tuple(configs)] if configs else str
    annotations: dict[str, Any] = {"server_name": name, "query": str, "return": str}
    if handler is None:
        annotations |= {"tool_name": str, "arguments": dict[str, Any] | None}
    function.__annotations__ = annotations
    without_source(function)
    return function


def query_description(servers: list[str], *, with_handler: bool) -> str:
    """What `query_mcp_server` does, for models."""
    use = (
        "Give the server's name and your question."
        if with_handler
        else "Without tool_name it lists the server's tools; then call it again with tool_name and arguments."
    )
    return f"Query an MCP server by name; it is started only for that. {use} Servers: {', '.join(servers)}."


async def _tools_of(session: Session, deadline: Deadline) -> str:
    from ..session.offers import offered_tools
    from ..session.session import caller_of

    listing = await offered_tools(caller_of(session), deadline)
    tools = listing.tools if listing is not None else []
    lines = [f"{signature(tool.name, tool.input_schema)}: {_summary(tool.description)}" for tool in tools]
    return "\n".join([f"Tools of {session.server_name} (call again with tool_name and arguments):", *lines])


def _summary(description: str | None) -> str:
    first = (description or "").strip().partition("\n")[0]
    return first if len(first) <= _SUMMARY_CHARS else first[: _SUMMARY_CHARS - 3] + "..."
