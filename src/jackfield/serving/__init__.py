"""Serving MCP sessions from any instance, behind any load balancer.

`serve_sessions` makes an ASGI application of an SDK server. What its instances share is in a backend: this process's
memory, Redis (extra `redis`) or PostgreSQL (extra `postgres`).
"""

from __future__ import annotations

from ..auth.json_web_tokens import JWTAuth
from ..auth.resource import ProtectedResource
from ..auth.tokens import BearerFile, TokenCheckError
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
from .memory import InMemoryBackplane, InMemorySessionStore, InMemoryStreamManager
from .postgres import PostgresBackend
from .postgres_sessions import PostgresSessionStore
from .postgres_streams import PostgresStreamManager
from .records import Principal, RunningCall, SessionRecord, StreamEvent
from .state import SessionState, StateError, state
from .stores import SessionStore
from .streams import StreamManager

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
    "RequestRunsError",
    "RunningCall",
    "ServedSessions",
    "ServingLimitError",
    "ServingLimits",
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
