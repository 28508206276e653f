"""Jackfield: sessions with MCP servers, each plugged in only while somebody uses it.

Public names are imported when they are first used (PEP 562), so that `import jackfield` costs little
and neither the SDK nor an agent framework is loaded before it is needed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._version import __version__ as __version__

_HOMES = {
    "catalog.tools": ("ToolEntry",),
    "catalog.changes": ("CatalogDiff",),
    "catalog.entry": ("CatalogEntry",),
    "catalog.store": ("Catalog",),
    "catalog.embedders": ("offline_embedder", "sentence_embedder"),
    "config.mcp_config": ("MCPConfig",),
    "config.oauth": ("OAuthConfig",),
    "config.servers": ("HttpConfig", "InProcessConfig", "ServerConfig", "SseConfig", "StdioConfig"),
    "config.settings": ("SessionConfig",),
    "errors": (
        "AuthenticationError",
        "CallDeniedError",
        "ConfigError",
        "DaemonError",
        "HookError",
        "InvalidArgumentsError",
        "JackfieldError",
        "KeeperError",
        "PoolTimeoutError",
        "RequestError",
        "ServerLimitError",
        "ServerStartError",
        "ServerUnavailableError",
        "SessionConflictError",
        "SessionExpiredError",
        "SessionInvalidError",
        "SessionTerminatedError",
        "SessionTimeoutError",
        "StateLostError",
        "ToolError",
        "UnknownServerError",
        "UnknownToolError",
    ),
    "events": (
        "CallFinished",
        "CallRetried",
        "CallStarted",
        "CatalogChanged",
        "Event",
        "EventsDropped",
        "LimitReached",
        "ListingFailed",
        "ListingProblem",
        "ServerSkipped",
        "RecoveryFailed",
        "SessionClosed",
        "SessionEvicted",
        "SessionFailed",
        "SessionLost",
        "SessionOpened",
        "SessionOpening",
        "SessionRecovered",
        "StreamRenewed",
        "ToolsChanged",
    ),
    "gateway.traces.replay": ("ReplayConfig",),
    "manager": ("CatalogRefresh", "MCPClientSessionManager"),
    "pool.blocking_session": ("BlockingSession",),
    "pool.session_manager": ("SessionManager",),
    "router": ("Router",),
    "session.callbacks": ("SessionCallbacks",),
    "session.hooks": ("CallHook", "ToolCall"),
    "session.statistics": ("ManagerStats", "SessionInfo"),
    "session.results": ("ToolResult",),
    "session.session": ("Session",),
    "toolkit.create": ("create_toolkit",),
    "toolkit.tool": ("Tool",),
    "toolkit.toolkit": ("Toolkit",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

if TYPE_CHECKING:
    from .catalog.changes import CatalogDiff
    from .catalog.embedders import offline_embedder, sentence_embedder
    from .catalog.entry import CatalogEntry
    from .catalog.store import Catalog
    from .catalog.tools import ToolEntry
    from .config.mcp_config import MCPConfig
    from .config.oauth import OAuthConfig
    from .config.servers import HttpConfig, InProcessConfig, ServerConfig, SseConfig, StdioConfig
    from .config.settings import SessionConfig
    from .errors import (
        AuthenticationError,
        CallDeniedError,
        ConfigError,
        DaemonError,
        HookError,
        InvalidArgumentsError,
        JackfieldError,
        KeeperError,
        PoolTimeoutError,
        RequestError,
        ServerLimitError,
        ServerStartError,
        ServerUnavailableError,
        SessionConflictError,
        SessionExpiredError,
        SessionInvalidError,
        SessionTerminatedError,
        SessionTimeoutError,
        StateLostError,
        ToolError,
        UnknownServerError,
        UnknownToolError,
    )
    from .events import (
        CallFinished,
        CallRetried,
        CallStarted,
        CatalogChanged,
        Event,
        EventsDropped,
        LimitReached,
        ListingFailed,
        ListingProblem,
        RecoveryFailed,
        ServerSkipped,
        SessionClosed,
        SessionEvicted,
        SessionFailed,
        SessionLost,
        SessionOpened,
        SessionOpening,
        SessionRecovered,
        StreamRenewed,
        ToolsChanged,
    )
    from .gateway.traces.replay import ReplayConfig
    from .manager import CatalogRefresh, MCPClientSessionManager
    from .pool.blocking_session import BlockingSession
    from .pool.session_manager import SessionManager
    from .router import Router
    from .session.callbacks import SessionCallbacks
    from .session.hooks import CallHook, ToolCall
    from .session.results import ToolResult
    from .session.session import Session
    from .session.statistics import ManagerStats, SessionInfo
    from .toolkit.create import create_toolkit
    from .toolkit.tool import Tool
    from .toolkit.toolkit import Toolkit

__all__ = [
    "AuthenticationError",
    "BlockingSession",
    "CallDeniedError",
    "CallFinished",
    "CallHook",
    "CallRetried",
    "CallStarted",
    "Catalog",
    "CatalogChanged",
    "CatalogDiff",
    "CatalogEntry",
    "CatalogRefresh",
    "ConfigError",
    "Event",
    "EventsDropped",
    "HookError",
    "HttpConfig",
    "InProcessConfig",
    "InvalidArgumentsError",
    "JackfieldError",
    "KeeperError",
    "DaemonError",
    "LimitReached",
    "ListingFailed",
    "ListingProblem",
    "MCPClientSessionManager",
    "MCPConfig",
    "ManagerStats",
    "OAuthConfig",
    "PoolTimeoutError",
    "RecoveryFailed",
    "ReplayConfig",
    "RequestError",
    "Router",
    "ServerConfig",
    "ServerLimitError",
    "ServerSkipped",
    "ServerStartError",
    "ServerUnavailableError",
    "Session",
    "SessionCallbacks",
    "SessionClosed",
    "SessionConfig",
    "SessionConflictError",
    "SessionEvicted",
    "SessionExpiredError",
    "SessionFailed",
    "SessionInfo",
    "SessionInvalidError",
    "SessionLost",
    "SessionManager",
    "SessionOpened",
    "SessionOpening",
    "SessionRecovered",
    "SessionTerminatedError",
    "SessionTimeoutError",
    "SseConfig",
    "StateLostError",
    "StdioConfig",
    "StreamRenewed",
    "Tool",
    "ToolCall",
    "ToolEntry",
    "ToolError",
    "ToolResult",
    "Toolkit",
    "ToolsChanged",
    "UnknownServerError",
    "UnknownToolError",
    "create_toolkit",
    "offline_embedder",
    "sentence_embedder",
]


def __getattr__(name: str) -> object:
    module = _HOME_OF.get(name)
    if module is None:
        raise AttributeError(f"module 'jackfield' has no attribute {name!r}")
    from importlib import import_module

    value = getattr(import_module(f".{module}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME_OF])
