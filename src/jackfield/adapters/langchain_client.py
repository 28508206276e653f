"""`client=` of LangChain's patterns: where the servers are, in any of the shapes that people have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Protocol, cast

from ..config.mcp_config import MCPConfig
from ..errors import ConfigError
from ..manager.manager import MCPClientSessionManager
from ..plain import as_table


class HasConnections(Protocol):
    """A client that knows its servers by name, such as `MultiServerMCPClient`."""

    @property
    def connections(self) -> Mapping[str, Any]: ...


Client = MCPClientSessionManager | MCPConfig | Mapping[str, Any] | HasConnections
"""Where the servers are: a manager, a config, a mapping of connections, or a client that has one."""

_WHAT_TO_GIVE = (
    'Give connections, such as {"notes": {"transport": "stdio", "command": "python", "args": ["notes.py"]}}, '
    "a MultiServerMCPClient, an MCPConfig or an MCPClientSessionManager."
)
_OF_FILES = ("mcpServers", "servers", "mcp_servers")


def manager_of(client: Client) -> MCPClientSessionManager:
    """A manager of the servers that `client` names.

    Raises:
        ConfigError: It names none, or one in a way that Jackfield does not know.
    """
    if isinstance(client, MCPClientSessionManager):
        return client
    if isinstance(client, MCPConfig):
        return MCPClientSessionManager(client)
    connections = client if isinstance(client, Mapping) else getattr(client, "connections", None)
    if not isinstance(connections, Mapping):
        raise ConfigError(
            f"client= must say which servers there are; an object of type {type(client).__name__!r} does not.",
            hint=_WHAT_TO_GIVE,
        )
    return MCPClientSessionManager(config_of(cast("Mapping[str, Any]", connections)))


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
    """A connection without what was not set, and with seconds for time spans."""
    if not isinstance(connection, Mapping):
        raise ConfigError(
            f"client: connection {name!r} must be a mapping, but is of type {type(connection).__name__!r}.",
            hint=_WHAT_TO_GIVE,
        )
    given = {key: value for key, value in cast("Mapping[str, Any]", connection).items() if value is not None}
    transport = given.get("transport")
    if transport == "websocket":
        raise ConfigError(
            f"client: connection {name!r} is to a WebSocket, a transport that MCP does not have.",
            hint='Use "streamable_http" or "sse" if the server has it.',
        )
    if "httpx_client_factory" in given:
        raise ConfigError(
            f"client: connection {name!r} has an httpx_client_factory, which is not used here.",
            hint="Give headers, auth, timeout, sse_read_timeout or verify instead.",
        )
    options = dict(as_table(given.get("session_kwargs")))
    seconds = _seconds(options.pop("read_timeout_seconds", None))
    if options or not isinstance(given.pop("session_kwargs", {}), Mapping):
        raise ConfigError(
            f"client: connection {name!r} has session_kwargs other than read_timeout_seconds, which are not used here.",
            hint="Give callbacks to a manager: MCPClientSessionManager(config, callbacks=SessionCallbacks(...)).",
        )
    if seconds is not None:
        given["session"] = {"call_timeout": seconds, **given.get("session", {})}
    return {key: _seconds(value) for key, value in given.items()}


def _seconds(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value
