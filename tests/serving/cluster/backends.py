"""A backend by its URL."""

from __future__ import annotations

from jackfield import serving
from jackfield.serving import Backend


def backend_of(url: str) -> Backend | None:
    """`None` for `memory`."""
    if url == "memory":
        return None
    if url.startswith("redis"):
        return serving.RedisBackend(url)
    return serving.PostgresBackend(url)
