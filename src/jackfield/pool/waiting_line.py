"""`WaitingLine`: who gets a session when, while their number is limited. What is done is decided in `decisions`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol
from weakref import WeakKeyDictionary, WeakSet

import anyio

from ..config.servers import BaseServerConfig
from ..loops import Changed, Deadline
from ..session.callbacks import SessionCallbacks
from ..session.lifecycle import Cause, State
from ..session.owner import SessionOwner
from .decisions import Crowd, Evict, Open, Refuse, Reuse, Wait, decide, stuck
from .refusals import closed_error, no_room, not_open_in_time, refused


class Running(Protocol):
    """What an agent runs in, such as an `asyncio.Task`."""

    def done(self) -> bool: ...


class SessionSlot(SessionOwner):
    """An owner as the pool sees it."""

    @property
    def server_name(self) -> str:
        return self.config.server_name

    @property
    def slot_key(self) -> tuple[str, str] | None:
        return None if self.key is None else (self.config.server_name, self.key)

    @property
    def is_settled(self) -> bool:
        return self.state in (State.OPEN, State.RECOVERING, State.LOST)

    @property
    def was_cut_off(self) -> bool:
        """Whether the end of its event loop took it away with what the server kept."""
        return self.lifecycle.closed_by is Cause.CUT_OFF and self.was_open and self.holds_state

    @property
    def leaves_news(self) -> bool:
        """Whether the next user of its key must learn of lost state.

        True if it was lost while not in use, or was used and then closed without a request, or
        if an earlier loss has not been reported yet.
        """
        if not self.was_open:
            return self.generation > 0
        match self.lifecycle.closed_by:
            case Cause.UNNEEDED:
                return True
            case Cause.IDLE | Cause.EVICTED:
                return self.holds_state or self.news.is_due(self.generation)
            case _:
                return False

    @cached_property
    def _agents(self) -> WeakSet[Running]:
        return WeakSet()

    def expect_more(self, agent: Running) -> None:
        """A run that also uses the session between its leases: other sessions are closed first while it continues."""
        self._agents.add(agent)

    @property
    def is_expected(self) -> bool:
        return any(not agent.done() for agent in self._agents)

    @cached_property
    def leases_of(self) -> WeakKeyDictionary[object, int]:
        """How many leases users who come back to it have open."""
        return WeakKeyDictionary()


@dataclass(eq=False)
class Waiter:
    """A request for a session."""

    holder: object
    server_name: str
    scope: anyio.CancelScope | None = None
    because: str | None = None
    is_stuck: bool = False


class Bounds(Protocol):
    """Bounds on sessions that are set above the pool."""

    def crowds(self, config: BaseServerConfig, key: str | None, slots: Sequence[SessionSlot]) -> Sequence[Crowd]:
        """Those that a new session has to find room in."""
        ...

    async def make_room(self, config: BaseServerConfig, key: str | None, slots: Sequence[SessionSlot]) -> None:
        """Do what has to be done elsewhere, before it is decided whether there is room for a new session."""
        ...

    def on_refused(self, bound: str) -> None:
        """A session was refused for the bound of this name."""
        ...


class WaitingLine:
    """Those who wait for a session of one registry. Sharing one needs no room, and does not wait.

    Args:
        slots: All sessions of the registry, as it changes them.
        max_sessions: How many there may be.
        bounds: Gives further bounds.
        open_new: Opens a session.
        changed: Set by the registry at every change of a session.
    """

    def __init__(
        self,
        slots: Sequence[SessionSlot],
        max_sessions: int,
        bounds: Callable[[], Bounds | None],
        open_new: Callable[[BaseServerConfig, tuple[str, str] | None, SessionCallbacks], SessionSlot],
        changed: Changed,
    ) -> None:
        self._slots = slots
        self._max_sessions = max_sessions
        self._bounds = bounds
        self._open = open_new
        self._changed = changed
        # First come, first served: only who holds the turn may open, or wait for room.
        self._turn = anyio.Lock()
        # But who holds a session already goes first: it gives two back the sooner.
        self._holders_turn = anyio.Lock()
        self.waiters: list[Waiter] = []
        self.is_closing: bool = False
        """Whether no session is given any more."""

    async def claim(
        self,
        config: BaseServerConfig,
        wanted: tuple[str, str] | None,
        callbacks: SessionCallbacks,
        deadline: Deadline,
        holder: object,
    ) -> SessionSlot:
        """A session to lease, shared or new.

        Args:
            config: The server.
            wanted: Server and key; `None` for a private one.
            callbacks: For what the server asks.
            deadline: Until when to wait.
            holder: Who is going to lease it.

        Raises:
            PoolTimeoutError: There was no room by the deadline, or never will be.
            JackfieldError: It may not be opened.
        """
        waiter = Waiter(holder, config.server_name)
        with deadline.scope() as waiter.scope:
            if (bounds := self._bounds()) is not None:
                await bounds.make_room(config, wanted and wanted[1], self._slots)
            self.waiters.append(waiter)
            try:
                while True:
                    # Sharing needs no room, and one that is closing frees its key in its own time:
                    # for neither does one stand in line.
                    match self._decide(config, wanted):
                        case Reuse(index):
                            return self._slots[index]
                        case Wait("closing" | "server" as because):
                            await self._wait(waiter, because)
                        case decision:
                            if isinstance(decision, Wait):
                                self._begin_waiting(waiter, decision.because)
                            if slot := await self._claim_in_turn(waiter, config, wanted, callbacks):
                                return slot
            finally:
                self.waiters.remove(waiter)
                if waiter.because is not None:
                    self._changed.set()
        if waiter.because is None:
            raise not_open_in_time(config.server_name, deadline)
        held = {slot.server_name for slot in self._held_by(waiter.holder)}
        is_closing = waiter.because == "closing"
        raise no_room(
            config, deadline, self._slots, self._max_sessions, held, is_closing=is_closing, is_stuck=waiter.is_stuck
        )

    async def _claim_in_turn(
        self,
        waiter: Waiter,
        config: BaseServerConfig,
        wanted: tuple[str, str] | None,
        callbacks: SessionCallbacks,
    ) -> SessionSlot | None:
        """Wait for a slot, first come, first served; `None` if the key's last session is still closing."""
        async with self._holders_turn if self._held_by(waiter.holder) else self._turn:
            while True:
                match self._decide(config, wanted):
                    case Reuse(index):
                        return self._slots[index]
                    case Open() | Evict() if self._gives_way(waiter):
                        await self._wait(waiter, "turn")
                    case Open():
                        return self._open(config, wanted, callbacks)
                    case Evict(index):
                        slot = self._slots[index]
                        slot.request_close(Cause.EVICTED)
                        slot.reporter.evicted(config.server_name, wanted[1] if wanted else None, slot.leaves_news)
                    case Wait("closing" | "server"):
                        # Others need not wait for room at this server.
                        return None
                    case Wait(because):
                        await self._wait(waiter, because)

    def _held_by(self, holder: object) -> list[SessionSlot]:
        return [slot for slot in self._slots if holder in slot.holders]

    def _gives_way(self, waiter: Waiter) -> bool:
        """Whether a free slot should go to a waiter that already holds a session."""
        return not self._held_by(waiter.holder) and any(
            other.because == "full" and self._held_by(other.holder) for other in self.waiters
        )

    async def _wait(self, waiter: Waiter, because: str) -> None:
        self._begin_waiting(waiter, because)
        await self._changed.wait()

    def _begin_waiting(self, waiter: Waiter, because: str) -> None:
        waiter.because = because
        self.end_deadlock()

    def end_deadlock(self) -> None:
        """If all waiters wait for each other, make one fail; its sessions free slots for the others."""
        if self.waiters and (waiter := stuck(self._slots, self.waiters)) is not None:
            assert waiter.scope
            waiter.is_stuck, waiter.because = True, "given up"
            waiter.scope.cancel()

    def _decide(self, config: BaseServerConfig, wanted: tuple[str, str] | None) -> Reuse | Open | Evict | Wait:
        if self.is_closing:
            raise closed_error(config.server_name)
        of_server = config.session.max_sessions
        bounds = self._bounds()
        crowds = () if bounds is None else bounds.crowds(config, wanted and wanted[1], self._slots)
        decision = decide(self._slots, config.server_name, wanted, self._max_sessions, of_server, crowds)
        if isinstance(decision, Refuse):
            assert bounds is not None
            bounds.on_refused(decision.bound)
            raise refused(config, decision)
        return decision
