"""The source of servers for LangChain agents: `client=` in any supported form, or a client."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from typing import Any, Protocol, cast

from langchain_core.documents.base import Blob
from langchain_core.messages import BaseMessage
from langchain_core.tools import BaseTool

from ..config.discover import user_file
from ..config.mcp_config import MCPConfig
from ..errors import ConfigError
from ..plain import as_table
from ..pool.session_manager import SessionManager
from ..session.callbacks import SessionCallbacks
from ..session.hooks import CallHook
from ..session.session import Session
from ..toolkit.create import manager_toolkit
from .langchain import langchain_tools, load_mcp_prompt, load_mcp_resources


class HasConnections(Protocol):
    """A client that knows its servers by name, such as `MultiServerMCPClient`."""

    @property
    def connections(self) -> Mapping[str, Any]: ...


Client = SessionManager | MCPConfig | Mapping[str, Any] | HasConnections
"""The source of the servers: a manager, a config, a mapping of connections, or a client that has one."""


class MultiServerMCPClient:
    """Servers by name, like the client of `langchain-mcp-adapters`.

    Its sessions live on an event loop in a separate thread: their tools can be called from any code, even from code
    that blocks its own loop.

    Args:
        connections: In the form of `langchain-mcp-adapters`; if omitted, the servers of the user's own file of
            Jackfield, in which `jackfield config add` writes them.
        callbacks: Answer requests of servers.
        hooks: Around every tool call.

    Raises:
        ConfigError: A connection is invalid.
    """

    def __init__(
        self,
        connections: Mapping[str, Any] | None = None,
        *,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
    ) -> None:
        file = user_file(os.environ)
        is_of_file = connections is None and file.exists()
        config = MCPConfig.load(file) if is_of_file else config_of(connections or {})
        self.connections: dict[str, Any] = dict(connections or {})
        self.manager: SessionManager = SessionManager(config, callbacks=callbacks, hooks=hooks)
        """Opens its sessions, each private and on `manager.inside.loop_thread`."""

    def session(self, server_name: str) -> AbstractAsyncContextManager[Session]:
        """Open a session when the returned context manager is entered, and close it when it exits.

        Raises:
            UnknownServerError: No server has this name.
            JackfieldError: On entering: why it could not be opened.
        """
        return self.manager.inside.loop_thread.opened(self.manager.open_session(server_name))

    async def get_tools(self, server_name: str | None = None) -> list[BaseTool]:
        """The tools of one server or of all. Each call opens a session and closes it; `session()` keeps state.

        Raises:
            JackfieldError: A server could not be opened.
        """
        names = None if server_name is None else [server_name]
        loop = self.manager.inside.loop_thread
        toolkit = await loop.run(lambda: manager_toolkit(self.manager, names, on_error="raise", keeps_sessions=False))
        return langchain_tools(toolkit, loop)

    async def get_prompt(
        self, server_name: str, prompt_name: str, *, arguments: Mapping[str, str] | None = None
    ) -> list[BaseMessage]:
        """A prompt of a server as messages; see `load_mcp_prompt`."""
        async with self.session(server_name) as session:
            return await load_mcp_prompt(session, prompt_name, arguments=arguments)

    async def get_resources(self, server_name: str, *, uris: str | Sequence[str] | None = None) -> list[Blob]:
        """Resources of a server as blobs; see `load_mcp_resources`."""
        async with self.session(server_name) as session:
            return await load_mcp_resources(session, uris=uris)


_WHAT_TO_GIVE = (
    'Give connections, such as {"notes": {"transport": "stdio", "command": "python", "args": ["notes.py"]}}, '
    "a MultiServerMCPClient, an MCPConfig or a SessionManager."
)
_OF_FILES = ("mcpServers", "servers", "mcp_servers")


def manager_of(client: Client) -> SessionManager:
    """A manager of the servers that `client` names.

    Raises:
        ConfigError: It names none, or one in a way that Jackfield does not know.
    """
    if isinstance(client, SessionManager):
        return client
    if isinstance(client, MCPConfig):
        return SessionManager(client)
    if isinstance(client, MultiServerMCPClient):
        return client.manager
    connections = client if isinstance(client, Mapping) else getattr(client, "connections", None)
    if not isinstance(connections, Mapping):
        raise ConfigError(
            f"client= must define the servers; an object of type {type(client).__name__!r} does not.",
            hint=_WHAT_TO_GIVE,
        )
    return SessionManager(config_of(cast("Mapping[str, Any]", connections)))


def config_of(connections: Mapping[str, Any]) -> MCPConfig:
    """A config of connections, or of the content of a configuration file.

    Raises:
        ConfigError: A connection is not one; names the server and the key.
    """
    for key in _OF_FILES:
        if key in connections and not _is_connection(connections[key]):
            return MCPConfig.from_dict(connections)
    servers = {name: _in_our_words(name, connection) for name, connection in connections.items()}
    return MCPConfig.from_dict({"mcpServers": servers}, source="client")


def server_names_of(server_name: str | Sequence[str]) -> list[str]:
    """The servers' names.

    Raises:
        ConfigError: There is none.
    """
    names: object = [server_name] if isinstance(server_name, str) else server_name
    listed = cast("Sequence[object]", names) if isinstance(names, list | tuple) else ()
    if not listed or not all(isinstance(name, str) and name for name in listed):
        raise ConfigError("server_name= must be the name of a server, or a list of names.", hint=_WHAT_TO_GIVE)
    return [str(name) for name in listed]


def _is_connection(value: object) -> bool:
    return isinstance(value, Mapping) and any(
        isinstance(cast("Mapping[str, object]", value).get(key), str) for key in ("transport", "command", "url")
    )


def _in_our_words(name: str, connection: object) -> dict[str, Any]:
    """A connection without unset fields, and with time spans in seconds."""
    if not isinstance(connection, Mapping):
        raise ConfigError(
            f"client: connection {name!r} must be a mapping, but is of type {type(connection).__name__!r}.",
            hint=_WHAT_TO_GIVE,
        )
    given = {key: value for key, value in cast("Mapping[str, Any]", connection).items() if value is not None}
    transport = given.get("transport")
    if transport == "websocket":
        raise ConfigError(
            f"client: connection {name!r} uses WebSocket, which is not an MCP transport.",
            hint='Use "streamable_http" or "sse" if the server supports it.',
        )
    if "httpx_client_factory" in given:
        raise ConfigError(
            f"client: connection {name!r} has an httpx_client_factory, which is not supported here.",
            hint="Give headers, auth, timeout, sse_read_timeout or verify instead.",
        )
    options = dict(as_table(given.get("session_kwargs")))
    seconds = _seconds(options.pop("read_timeout_seconds", None))
    if options or not isinstance(given.pop("session_kwargs", {}), Mapping):
        raise ConfigError(
            f"client: connection {name!r} has session_kwargs other than read_timeout_seconds, which are not supported "
            "here.",
            hint="Give callbacks to a manager: MCPClientSessionManager(config, callbacks=SessionCallbacks(...)).",
        )
    if seconds is not None:
        given["session"] = {"call_timeout": seconds, **given.get("session", {})}
    return {key: _seconds(value) for key, value in given.items()}


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value
