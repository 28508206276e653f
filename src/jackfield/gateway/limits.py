"""How many sessions with servers a gateway has, and what its child processes may use. See also `ServingLimits`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import anyio

from ..config.servers import BaseServerConfig, StdioConfig
from ..pool.decisions import Crowd
from ..pool.session_manager import SessionManager
from ..pool.waiting_line import SessionSlot
from ..serving.shares import SharedBound, Sharing
from .child_memory import MEBIBYTE, ChildMemory


@dataclass(frozen=True)
class GatewayLimits:
    """Bounds on what a gateway has open for its clients.

    Beyond a bound on children, one that is not in use is closed to make room, the one unused for the longest time; its
    client is told that its state is lost. Where all are in use, the call that needs one more fails at once.

    Args:
        upstreams: Sessions with servers of all kinds; beyond, calls wait for room.
        children: Servers over stdio, each of which is a process.
        children_per_user: Those of one user, at all instances of the gateway. Only where tokens say who that is.
        child_memory_bytes: What a server over stdio and its own children may use of memory. Beyond, it is restarted
            between two calls.
        children_memory_bytes: What all servers over stdio and their children may use of memory together. Beyond, no
            other is started.
    """

    upstreams: int = 2_000
    children: int = 200
    children_per_user: int = 50
    child_memory_bytes: int | None = None
    children_memory_bytes: int | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value: object = getattr(self, field.name)
            if not (value is None and field.default is None) and (type(value) is not int or value < 1):
                raise ValueError(f"`{field.name}` must be a whole number of at least 1, not {value!r}.")


_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
"""How long it is waited for another instance to close a child that is not in use."""


class ChildBounds:
    """Which sessions count against which bound.

    Args:
        manager: Has the sessions.
        limits: The bounds.
        user_of: Whose sessions have a key; `None` if no token says so.
        on_refused: Called with the name of a bound for which a session was refused.
        memory: Knows what their processes use, if that is bounded.
    """

    def __init__(
        self,
        manager: SessionManager,
        limits: GatewayLimits,
        user_of: Callable[[str | None], str | None],
        on_refused: Callable[[str], None],
        memory: ChildMemory | None = None,
    ) -> None:
        self._manager = manager
        self._limits = limits
        self._user_of = user_of
        self._on_refused = on_refused
        self._memory = memory
        self._shared: SharedBound | None = None

    def share(self, sharing: Sharing | None) -> None:
        """Keep the bound on the children of a user together with other instances."""
        most = self._limits.children_per_user
        self._shared = sharing and sharing.bound("children", most, self._count, self._give_up)

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
        if self._memory is not None and (most_bytes := self._limits.children_memory_bytes) is not None:
            used = sum(self._memory.used_by(slots[place].server_name, slots[place].key or "") for place in children)
            if used >= most_bytes:
                crowds.append(Crowd(children, most_bytes // MEBIBYTE, "children_memory", is_full=True))
        if (user := self._user_of(key)) is not None:
            own = [place for place in children if self._user_of(slots[place].key) == user]
            most = self._limits.children_per_user
            elsewhere = 0 if self._shared is None else most - self._shared.size(user)
            crowds.insert(0, Crowd(own, most, "children_per_user", elsewhere))
        return crowds

    async def make_room(self, config: BaseServerConfig, key: str | None, slots: Sequence[SessionSlot]) -> None:
        """Have a larger share of the bound on the children of a user, if a new one needs that. Where the other
        instances leave none, and no child here can give way, they are asked to close one that is not in use."""
        user = self._user_of(key)
        if self._shared is None or user is None or not isinstance(config, StdioConfig):
            return
        for pause in (*_PAUSES, None):
            own = self._of(user, slots)
            if self._shared.size(user) > len(own) or await self._shared.room(user):
                return
            if pause is None or any(slot.is_idle for slot in own):
                return
            await anyio.sleep(pause)

    def _of(self, user: str, slots: Sequence[SessionSlot]) -> list[SessionSlot]:
        return [slot for slot in slots if isinstance(slot.config, StdioConfig) and self._user_of(slot.key) == user]

    def _count(self, user: str) -> int:
        return len(self._of(user, self._manager.inside.slots()))

    async def _give_up(self, user: str) -> bool:
        return await self._manager.inside.evict(self._of(user, self._manager.inside.slots()))
