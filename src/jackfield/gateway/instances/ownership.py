"""`Ownership`: which instance has a client's session with a server that lives in one place, such as a child process.

The store says so, under the client's session, and forgets it with that. An instance owns what it claimed first, as long
as it lives: only where it is dead, or has nothing any more, may another take its place.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ...serving.stores import SessionStore

_KNOWN_SECONDS = 1.0
"""For so long an owner need not look whether another took its place while it stood still."""

Place = tuple[str, str]
"""A client's session, and a server."""


class Ownership:
    """What this instance and others own, as far as this one knows.

    Args:
        store: Has it.
        name: Of this instance.
        on_lost: Called with what this instance owned, and another one owns now.
    """

    def __init__(self, store: SessionStore, name: str, on_lost: Callable[[str, str], None]) -> None:
        self._store = store
        self._name = name
        self._on_lost = on_lost
        self._known: dict[str, dict[str, tuple[str, float]]] = {}
        self._lost: set[Place] = set()

    def owned(self) -> Mapping[str, Mapping[str, int]]:
        """How many sessions with each server the instances own, by their names, as far as this one knows."""
        found: dict[str, Counter[str]] = {}
        for places in self._known.values():
            for server_name, (owner, _) in places.items():
                found.setdefault(owner, Counter())[server_name] += 1
        return found

    def holds(self, session_id: str, server_name: str) -> bool:
        """Whether this instance owns it, as far as it knows."""
        return self._known.get(session_id, {}).get(server_name, ("", 0.0))[0] == self._name

    async def owner(self, session_id: str, server_name: str) -> str:
        """The instance that owns it: this one, if none did.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        now = time.monotonic()
        known, known_at = self._known.get(session_id, {}).get(server_name, (None, 0.0))
        if known is not None and (known != self._name or now - known_at < _KNOWN_SECONDS):
            return known
        stored = await self._store.swap_state(session_id, _key(server_name), None, self._name)
        owner = stored or self._name
        if known == self._name and owner != self._name:
            self._on_lost(session_id, server_name)
        self._note(session_id, server_name, owner, now)
        return owner

    async def owners(self, session_id: str, server_names: Sequence[str]) -> Mapping[str, str]:
        """The instances that own a client's sessions with these servers, by server; nothing is claimed.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        found: dict[str, str] = {}
        for server_name in server_names:
            if (owner := await self._store.get_state(session_id, _key(server_name))) is not None:
                found[server_name] = owner
        return found

    async def take_over(self, session_id: str, server_name: str, owner: str) -> None:
        """Own what an instance had that has it no more; its state is lost.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        now = time.monotonic()
        stored = await self._store.swap_state(session_id, _key(server_name), owner, self._name)
        if stored == self._name:
            self._lost.add((session_id, server_name))
        self._note(session_id, server_name, stored or self._name, now)

    def take_loss(self, session_id: str, server_name: str) -> bool:
        """Whether state was lost with another instance, and nobody was told yet."""
        is_lost = (session_id, server_name) in self._lost
        self._lost.discard((session_id, server_name))
        return is_lost

    async def look(self) -> None:
        """Give up what another instance has taken over while this one stood still.

        Raises:
            StoreUnavailableError: The store cannot be reached.
        """
        for session_id, owned in list(self._known.items()):
            for server_name in [name for name, (owner, _) in owned.items() if owner == self._name]:
                stored = await self._store.get_state(session_id, _key(server_name))
                if stored not in (self._name, None):
                    self._note(session_id, server_name, stored, time.monotonic())
                    self._on_lost(session_id, server_name)

    def forget(self, session_id: str) -> None:
        """The session has ended."""
        for server_name in self._known.pop(session_id, {}):
            self._lost.discard((session_id, server_name))

    def _note(self, session_id: str, server_name: str, owner: str, at: float) -> None:
        self._known.setdefault(session_id, {})[server_name] = owner, at


def _key(server_name: str) -> str:
    return f"jackfield.owner:{server_name}"
