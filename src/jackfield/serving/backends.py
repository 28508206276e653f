"""A backend: all that instances share, of one kind."""

from __future__ import annotations

from dataclasses import dataclass, field

from .memory import InMemorySessionStore
from .memory_streams import InMemoryStreamManager
from .stores import SessionStore
from .streams import StreamManager


@dataclass(frozen=True)
class Backend:
    """Stores sessions and streams. Parts of different kinds can be combined.

    Args:
        sessions: Stores the metadata of sessions; its backplane connects the instances.
        streams: Stores the messages for clients.
    """

    sessions: SessionStore = field(default_factory=InMemorySessionStore)
    streams: StreamManager = field(default_factory=InMemoryStreamManager)
