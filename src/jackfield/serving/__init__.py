"""Serves MCP sessions from any instance, behind any load balancer.

`serve_sessions` makes an ASGI application of an SDK server. What its instances share is in a backend: this process's
memory, Redis (extra `redis`) or PostgreSQL (extra `postgres`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from ..auth.json_web_tokens import JWTAuth
from ..auth.resource import ProtectedResource
from ..auth.tokens import BearerFile, TokenCheckError
from ..extras import extra_needed
from .app import ServedSessions, serve_sessions
from .backends import Backend
from .backplane import Backplane
from .errors import (
    RequestRunsError,
    ServingLimitError,
    StoredDataError,
    StoreUnavailableError,
    UnknownEventError,
)
from .host import SessionHost
from .limits import ServingLimits
from .memory import InMemoryBackplane, InMemorySessionStore
from .memory_streams import InMemoryStreamManager
from .metrics import ServingMetrics
from .records import Principal, RunningCall, SessionRecord, StreamEvent
from .state import SessionState, StateError, state
from .stores import SessionStore
from .streams import StreamManager

if TYPE_CHECKING:
    from .postgres import PostgresBackend
    from .postgres_sessions import PostgresSessionStore
    from .postgres_streams import PostgresStreamManager
    from .redis import RedisBackend, RedisClient, RedisSessionStore, RedisStreamManager

_HOME_OF: dict[str, str] = {
    "PostgresBackend": "postgres",
    "PostgresSessionStore": "postgres_sessions",
    "PostgresStreamManager": "postgres_streams",
    "RedisBackend": "redis",
    "RedisClient": "redis",
    "RedisSessionStore": "redis",
    "RedisStreamManager": "redis",
}
"""Names whose package an extra installs, with the module that has them; imported when first used."""

__all__ = [
    "Backend",
    "Backplane",
    "BearerFile",
    "InMemoryBackplane",
    "InMemorySessionStore",
    "InMemoryStreamManager",
    "JWTAuth",
    "PostgresBackend",
    "PostgresSessionStore",
    "PostgresStreamManager",
    "Principal",
    "ProtectedResource",
    "RedisBackend",
    "RedisClient",
    "RedisSessionStore",
    "RedisStreamManager",
    "RequestRunsError",
    "RunningCall",
    "ServedSessions",
    "ServingLimitError",
    "ServingLimits",
    "ServingMetrics",
    "SessionHost",
    "SessionRecord",
    "SessionState",
    "SessionStore",
    "StateError",
    "StoreUnavailableError",
    "StoredDataError",
    "StreamEvent",
    "StreamManager",
    "TokenCheckError",
    "UnknownEventError",
    "serve_sessions",
    "state",
]


def __getattr__(name: str) -> object:
    if (home := _HOME_OF.get(name)) is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    with extra_needed(name):
        found = globals()[name] = getattr(import_module(f".{home}", __name__), name)
    return found
