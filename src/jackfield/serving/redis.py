"""Sessions and streams in Redis, shared by all instances."""

from __future__ import annotations

from .backends import Backend
from .redis_client import OPERATION_SECONDS, RedisClient
from .redis_sessions import RedisSessionStore
from .redis_streams import RedisStreamManager

__all__ = ["RedisBackend", "RedisClient", "RedisSessionStore", "RedisStreamManager"]


class RedisBackend(Backend):
    """Sessions and streams in one Redis (6.2 or newer) or Valkey.

    Redis Cluster is not supported. A Redis without persistence loses the sessions when it is restarted: their
    clients get 404 and begin new ones.

    Args:
        url: `redis://`, `rediss://` (TLS) or `unix://`, with user, password and database: `redis://user:secret@host/0`.
        prefix: Begins the name of each key and channel, so that several servers can share a Redis.
        operation_timeout: Seconds after which an unanswered operation fails.
        connections: Maximum number per instance, plus one for publications.
        allow_eviction: Start even if Redis may remove sessions and logs when its memory is full.

    Raises:
        ConfigError: The URL is not a Redis URL.
        ValueError: Another argument is out of its range.
    """

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "jf",
        operation_timeout: float = OPERATION_SECONDS,
        connections: int = 4,
        allow_eviction: bool = False,
    ) -> None:
        client = RedisClient(
            url,
            prefix=prefix,
            operation_timeout=operation_timeout,
            connections=connections,
            allow_eviction=allow_eviction,
        )
        super().__init__(RedisSessionStore(client), RedisStreamManager(client))
