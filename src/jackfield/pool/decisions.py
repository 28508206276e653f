"""How to satisfy a request for a session: decided in one pure step, executed elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar


class Slot(Protocol):
    """What the decision needs to know of a session that counts against the limit."""

    @property
    def slot_key(self) -> tuple[str, str] | None:
        """(server, key) of a named session; `None` for a private one, which is never shared."""
        ...

    @property
    def server_name(self) -> str: ...

    @property
    def is_usable(self) -> bool: ...

    @property
    def is_idle(self) -> bool: ...

    @property
    def is_expected(self) -> bool:
        """Whether an agent that runs now has used it and may go on."""
        ...

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
    """`closing`: the wanted session is on its way out; `full`: all are busy; `server`: all of this server are; `crowd`:
    one of a crowd is on its way out."""


@dataclass(frozen=True)
class Refuse:
    """There is no room, and it is not waited for."""

    bound: str
    maximum: int


Decision = Reuse | Open | Evict | Wait | Refuse


@dataclass(frozen=True)
class Crowd:
    """Sessions of which there may be a number, whatever their owner; nobody waits for room among them.

    Args:
        members: Their indexes among all sessions.
        maximum: How many there may be.
        bound: What the bound is called.
        elsewhere: So many are somewhere else, or may be.
        is_full: Whether there is no room among them, however few they are: together they use too much.
    """

    members: Sequence[int]
    maximum: int
    bound: str
    elsewhere: int = 0
    is_full: bool = False


def decide(
    slots: Sequence[Slot],
    server_name: str,
    wanted: tuple[str, str] | None,
    max_sessions: int,
    max_of_server: int | None = None,
    crowds: Sequence[Crowd] = (),
) -> Decision:
    """Decide how a requester gets a session.

    Args:
        slots: All sessions that still hold resources, including closing ones.
        server_name: The server to open.
        wanted: (server, key), or `None` for a private session.
        max_sessions: Maximum number of sessions.
        max_of_server: Maximum number for this server.
        crowds: Further bounds, the strictest first.
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
    for one in crowds:
        if one.is_full or len(one.members) + one.elsewhere >= one.maximum:
            if any(not slots[index].is_usable for index in one.members):
                return Wait("crowd")
            idle = [index for index in one.members if slots[index].is_idle]
            return Evict(longest_unused(slots, idle)) if idle else Refuse(one.bound, one.maximum)
    of_server = [index for index, slot in enumerate(slots) if slot.server_name == server_name]
    if max_of_server is not None and len(of_server) >= max_of_server:
        crowd, why = of_server, "server"
    elif len(slots) >= max_sessions:
        crowd, why = list(range(len(slots))), "full"
    else:
        return Open()
    idle = [index for index in crowd if slots[index].is_idle]
    # One that is closing already will make room; to evict another for it would close one too many.
    on_the_way_out = sum(not slots[index].is_usable for index in crowd)
    if idle and not on_the_way_out:
        return Evict(longest_unused(slots, idle))
    return Wait(why)


def longest_unused(slots: Sequence[Slot], idle: Sequence[int]) -> int:
    """Which of some idle sessions is closed first, by its index."""
    return min(idle, key=lambda index: (slots[index].is_expected, slots[index].last_used_at))


class Held(Protocol):
    """What the search for a deadlock needs to know of a session."""

    @property
    def server_name(self) -> str: ...

    @property
    def is_settled(self) -> bool:
        """Open and not closing; any other may soon free its slot."""
        ...

    @property
    def holders(self) -> Sequence[object]:
        """The current lease holders."""
        ...


class Waiting(Protocol):
    """Callers waiting for a slot, in order of arrival."""

    @property
    def holder(self) -> object: ...

    @property
    def server_name(self) -> str: ...

    @property
    def because(self) -> str | None:
        """As `Wait.because`; `None` while it does not wait."""
        ...


WaitingT = TypeVar("WaitingT", bound=Waiting)


def stuck(slots: Sequence[Held], waiters: Sequence[WaitingT]) -> WaitingT | None:
    """The waiter that must give up to break a deadlock: the last one of a cycle, if any.

    There is a cycle if every session that could free a slot is leased by a caller that waits for another session.
    """
    waiting = {waiter.holder for waiter in waiters if waiter.because in ("full", "server")}
    for waiter in reversed(waiters):
        if waiter.because not in ("full", "server"):
            continue
        crowd = [slot for slot in slots if waiter.because == "full" or slot.server_name == waiter.server_name]
        is_circle = all(slot.is_settled and slot.holders and waiting.issuperset(slot.holders) for slot in crowd)
        if is_circle and any(waiter.holder in slot.holders for slot in crowd):
            return waiter
    return None
