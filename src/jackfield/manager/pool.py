"""What to do when somebody wants a session: decided in one pure step, carried out elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class Slot(Protocol):
    """What the decision needs to know of a session that counts against the limit."""

    @property
    def slot_key(self) -> tuple[str, str] | None:
        """(server, key) of a named session; `None` for a private one, which is never shared."""
        ...

    @property
    def is_usable(self) -> bool: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def last_used_at(self) -> float: ...


@dataclass(frozen=True)
class Reuse:
    """Share this one."""

    index: int


@dataclass(frozen=True)
class Open:
    """There is room: open one."""


@dataclass(frozen=True)
class Evict:
    """Close this idle one first."""

    index: int


@dataclass(frozen=True)
class Wait:
    """Nothing can be done before something changes."""

    because: str
    """`closing`: the wanted session is on its way out; `full`: all are busy."""


Decision = Reuse | Open | Evict | Wait


def decide(slots: Sequence[Slot], wanted: tuple[str, str] | None, max_sessions: int) -> Decision:
    """What to do so that somebody gets a session.

    Args:
        slots: All sessions that still hold anything, also those that are closing.
        wanted: (server, key), or `None` for a private session.
        max_sessions: How many there may be at once.
    """
    closing = False
    if wanted is not None:
        for index, slot in enumerate(slots):
            if slot.slot_key == wanted:
                if slot.is_usable:
                    return Reuse(index)
                closing = True
    # Two live sessions of one key, even for the moment of closing, would be two owners of one state.
    if closing:
        return Wait("closing")
    if len(slots) < max_sessions:
        return Open()
    idle = [index for index, slot in enumerate(slots) if slot.is_idle]
    # One that is closing already will make room; to evict another for it would close one too many.
    on_the_way_out = sum(not slot.is_usable for slot in slots)
    if idle and not on_the_way_out:
        return Evict(min(idle, key=lambda index: slots[index].last_used_at))
    return Wait("full")
