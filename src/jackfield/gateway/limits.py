"""How many sessions with servers a gateway has, and what its child processes may use. See also `ServingLimits`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

from ..config.servers import BaseServerConfig, StdioConfig
from ..pool.decisions import Crowd
from ..pool.registry import SessionSlot


@dataclass(frozen=True)
class GatewayLimits:
    """Bounds on what a gateway has open for its clients.

    Beyond a bound on children, one that is not in use is closed to make room, the one unused for the longest time; its
    client is told that its state is lost. Where all are in use, the call that needs one more fails at once.

    Args:
        upstreams: Sessions with servers of all kinds; beyond, calls wait for room.
        children: Servers over stdio, each of which is a process.
        children_per_user: Those of one user. Only where tokens say who that is.
        child_memory_bytes: What a server over stdio and its own children may use of memory. Beyond, it is restarted
            between two calls.
    """

    upstreams: int = 2_000
    children: int = 200
    children_per_user: int = 50
    child_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if not (value is None and field.default is None) and (type(value) is not int or value < 1):
                raise ValueError(f"`{field.name}` must be a whole number of at least 1, not {value!r}.")


class ChildBounds:
    """Which sessions count against which bound.

    Args:
        limits: The bounds.
        user_of: Whose sessions have a key; `None` if no token says so.
        on_refused: Called with the name of a bound for which a session was refused.
    """

    def __init__(
        self, limits: GatewayLimits, user_of: Callable[[str | None], str | None], on_refused: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._user_of = user_of
        self._on_refused = on_refused

    def on_refused(self, bound: str) -> None:
        """A session was refused for a bound."""
        self._on_refused(bound)

    def crowds(self, config: BaseServerConfig, key: str | None, slots: Sequence[SessionSlot]) -> list[Crowd]:
        """The sessions among which a new one has to find room.

        Args:
            config: The server to open.
            key: The new session's key.
            slots: All sessions.
        """
        if not isinstance(config, StdioConfig):
            return []
        children = [place for place, slot in enumerate(slots) if isinstance(slot.config, StdioConfig)]
        crowds = [Crowd(children, self._limits.children, "children")]
        if (user := self._user_of(key)) is not None:
            own = [place for place in children if self._user_of(slots[place].key) == user]
            crowds.insert(0, Crowd(own, self._limits.children_per_user, "children_per_user"))
        return crowds
