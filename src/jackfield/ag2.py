"""AG2: a replacement for its MCP session manager, for AG2 0.x and 1.x. See docs/how-to/ag2.md.

    from jackfield.ag2 import MCPClientSessionManager, MCPConfig, SseConfig, StdioConfig, create_toolkit

replaces the same names of `autogen.mcp.mcp_client`. The objects that a session returns have the camelCase attributes of
the SDK before version 2 (`result.isError`, `tool.inputSchema`) as well as the present ones.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from . import manager
from .adapters.ag2_session import AG2Lease
from .adapters.ag2_session import AG2Session as Session
from .config.mcp_config import MCPConfig
from .config.servers import HttpConfig, SseConfig, StdioConfig
from .pool.lease import SessionLease
from .session.session import Session as BaseSession
from .toolkit import create

__all__ = [
    "HttpConfig",
    "MCPClientSessionManager",
    "MCPConfig",
    "Session",
    "SseConfig",
    "StdioConfig",
    "create_toolkit",
]


class MCPClientSessionManager(manager.MCPClientSessionManager):
    """Jackfield's manager, with sessions whose arguments and results are those of AG2's manager."""

    _lease_type: ClassVar[type[SessionLease]] = AG2Lease


async def create_toolkit(
    session: BaseSession,
    *,
    use_mcp_tools: bool = True,
    use_mcp_resources: bool = True,
    resource_download_folder: Path | str | None = None,
    line: Literal["1.x", "0.x"] | None = None,
) -> Any:
    """AG2's own toolkit of what an open session's server offers: as AG2's function of that name.

    Args:
        session: The session.
        use_mcp_tools: Take the server's tools.
        use_mcp_resources: Add a tool for each resource template, and `read_resource` if there are resources.
        resource_download_folder: Save resources there instead of returning their content.
        line: Which line of AG2; the one that is installed if omitted.

    Raises:
        ConfigError: That AG2 is not installed.
        JackfieldError: The server could not be asked.
    """
    toolkit = await create.create_toolkit(
        session,
        use_mcp_tools=use_mcp_tools,
        use_mcp_resources=use_mcp_resources,
        resource_download_folder=resource_download_folder,
    )
    return toolkit.ag2(line=line)
