"""A backend: all that instances share, of one kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from .memory import InMemorySessionStore, InMemoryStreamManager
from .stores import SessionStore
from .streams import StreamManager


@dataclass(frozen=True)
class Backend:
    """Where sessions and streams are kept. The parts of one kind can be mixed with those of another.

    Args:
        sessions: The metadata of sessions, and by its backplane how instances reach each other.
        streams: The messages on their way to clients.
    """

    sessions: SessionStore = field(default_factory=InMemorySessionStore)
    streams: StreamManager = field(default_factory=InMemoryStreamManager)
