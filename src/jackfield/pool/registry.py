"""The sessions of one event loop: leases, waiters, and idle sessions; and `SessionUser`, who comes back to named
sessions between leases: a workbench, toolkit, router or query tool."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio.lowlevel import checkpoint_if_cancelled

from ..config.servers import BaseServerConfig
from ..events import EventHub
from ..loops import Changed, Deadline, current_task, event_loop_token, is_closed
from ..session.callbacks import SessionCallbacks
from ..session.conflicts import ConflictingSessions, Refused
from ..session.lifecycle import Cause, State
from ..session.owner import SessionOwner
from ..session.recovery import Circuits, CoolDown, UnreportedLosses
from ..session.statistics import SessionInfo, Totals
from ..session.task import SessionObserver
from .closing import close_all
from .refusals import closed_error, not_open_in_time
from .waiting_line import Bounds, SessionSlot, WaitingLine

if TYPE_CHECKING:
    from ..session.calling import Caller
    from ..session.hooks import CallHook


class SessionRegistry:
    """All sessions that one manager has open on one event loop.

    Args:
        max_sessions: Maximum number of open sessions of any kind.
        keeps_idle: Whether a named session outlives its last lease; only if it will be closed later.
        events: Gets every event.
        totals: Counts the sessions.
        observer: Callbacks for discoveries about servers.
        bounds: Gives further bounds on sessions.
        on_made: Called with each session before it is opened.
    """

    def __init__(
        self,
        max_sessions: int,
        *,
        keeps_idle: bool,
        events: EventHub,
        totals: Totals,
        observer: SessionObserver,
        bounds: Callable[[], Bounds | None] = lambda: None,
        on_made: Callable[[SessionOwner], None] = lambda owner: None,
    ) -> None:
        self.loop: object = event_loop_token()
        self.process_id: int = os.getpid()
        self.keeps_idle = keeps_idle
        self._events = events
        self._totals = totals
        self._observer = observer
        self._on_made = on_made
        self._max_sessions = max_sessions
        self._bounds = bounds
        self._circuits = Circuits()
        self._unreported = UnreportedLosses()
        self._slots: list[SessionSlot] = []
        self._of_key: dict[tuple[str, str], SessionSlot] = {}
        """The newest session of each server and key."""
        self._changed = Changed()
        self._line = WaitingLine(self._slots, max_sessions, bounds, self._open, self._changed)
        self._conflicts = ConflictingSessions(self._close_idle_rivals)

    @property
    def is_of_parent(self) -> bool:
        """Whether this process is a fork of the one whose sessions these are. It has nothing to close or wait for."""
        return os.getpid() != self.process_id

    @property
    def is_over(self) -> bool:
        """Whether its event loop has ended, and all sessions with it."""
        return is_closed(self.loop)

    @property
    def is_abandoned(self) -> bool:
        """Empty, or bound to a closed event loop."""
        return not self._slots or self.is_over

    def succeed(self, before: SessionRegistry) -> None:
        """Take over from the registry of a closed event loop the users that must still learn of lost state.

        Closing a loop with open sessions has killed their processes.
        """
        for slot in list(before._slots):
            slot.abandon()
        self._unreported.update(before._unreported)

    def slots(self) -> list[SessionSlot]:
        """All sessions."""
        return list(self._slots)

    def infos(self) -> list[SessionInfo]:
        """How every session stands."""
        return [slot.info() for slot in self.slots()]

    def cool_downs(self) -> list[CoolDown]:
        """The servers that are not tried for a while."""
        return self._circuits.cool_downs()

    async def acquire(
        self,
        config: BaseServerConfig,
        key: str | None,
        callbacks: SessionCallbacks,
        deadline: Deadline,
        holder: object,
        user: object = None,
    ) -> SessionOwner:
        """Lease a session: share it, or open it. Release it afterwards.

        Args:
            config: The server.
            key: Whose session; `None` for a private one.
            callbacks: For what the server asks.
            deadline: For all of it: waiting for room, and for the session to be open.
            holder: Who holds the lease then, such as a task.
            user: Who comes back to the session after the lease, if anybody does.

        Raises:
            JackfieldError: It could not be opened.
            PoolTimeoutError: There was no room by the deadline, or never will be.
            SessionTimeoutError: There was room, but the session was not open by the deadline.
        """
        wanted = None if key is None else (config.server_name, key)
        slot = self._shared(config, wanted)
        if slot is None and not deadline.has_passed:
            await checkpoint_if_cancelled()
            slot = self._open(config, wanted, callbacks) if self._has_room(config, wanted) else None
        if slot is None:
            slot = await self._line.claim(config, wanted, callbacks, deadline, holder)
        self._lease(slot, holder)
        if user is not None:
            slot.leases_of[user] = slot.leases_of.get(user, 0) + 1
        if _is_ready(slot):
            self._end_deadlock()
            return slot
        try:
            with deadline.scope() as scope:
                await self._wait_until_open(slot)
        except BaseException:
            await self.release(slot, holder, user)
            raise
        if scope.cancelled_caught:
            # Its own task closes it, and the caller's time is over.
            self._give_back(slot, holder, user)
            raise not_open_in_time(config.server_name, deadline)
        self._end_deadlock()
        return slot

    def lease_open(self, place: tuple[str, str], holder: object, user: object) -> SessionOwner | None:
        """Lease a kept session that is open; `None` where there is more to do than that. Release it afterwards.

        Args:
            place: Its server and key.
            holder: As for `acquire`.
            user: As for `acquire`.
        """
        if self._line.is_closing or not self.keeps_idle or self.is_of_parent or self.loop is not event_loop_token():
            return None
        slot = self.find(*place)
        if slot is None or not _is_ready(slot):
            return None
        slot.leases_of[user] = slot.leases_of.get(user, 0) + 1
        self._lease(slot, holder)
        self._end_deadlock()
        return slot

    async def _wait_until_open(self, slot: SessionSlot) -> None:
        if slot.state is State.OPENING:
            await slot.lifecycle.until_not(State.OPENING)
        if not slot.was_open:
            await slot.closed()
            assert slot.error
            # Each waiter raises its own copy: one shared exception would gather all their tracebacks.
            raise slot.error.told()
        if _is_silent(slot):
            await slot.check_alive()
        await slot.ready()

    async def end_lease(self, slot: SessionOwner, holder: object, user: SessionUser | None, caller: Caller) -> None:
        """Release a lease, and have it noted what its user knows of the session."""
        if user is not None and self.keeps_idle:
            user.leave(caller)
        caller.release()
        await self.release(slot, holder, user)

    async def release(self, slot: SessionOwner, holder: object, user: object = None) -> None:
        """Release a lease. A private session is closed when this returns, even if it is cancelled."""
        assert isinstance(slot, SessionSlot)
        if self.is_of_parent:
            return
        if self._give_back(slot, holder, user):
            await close_all([slot], Cause.RELEASED)

    def _give_back(self, slot: SessionSlot, holder: object, user: object) -> bool:
        """End a lease, and begin to close a session that nobody keeps; returns whether it is such a session."""
        if user is not None:
            slot.leases_of[user] -= 1
        self._unlease(slot, holder)
        is_unkept = slot.leases == 0 and (slot.key is None or not self.keeps_idle)
        if is_unkept:
            slot.request_close(Cause.RELEASED)
        return is_unkept

    def became_idle(self, slot: SessionOwner) -> None:
        """Start the idle clock if the session is not leased and no call is running."""
        if slot.is_idle and slot.key is not None:
            slot.expire_after(slot.config.session.idle_timeout)
            self._notify()

    def find(self, server_name: str, key: str) -> SessionSlot | None:
        """The usable session of a key, without leasing it."""
        slot = self._of_key.get((server_name, key))
        return slot if slot is not None and slot.is_usable else None

    async def close_unneeded(self, user: object, places: Collection[tuple[str, str]]) -> None:
        """Close named sessions, except those that are leased by others than `user`."""
        slots = [slot for slot in self._slots if slot.slot_key in places]
        await close_all([slot for slot in slots if slot.leases <= slot.leases_of.get(user, 0)], Cause.RELEASED)

    async def close(self) -> None:
        """Close everything and accept no further requests."""
        if self.is_of_parent or self.is_over:
            return
        self._line.is_closing = True
        self._notify()
        await close_all(list(self._slots), Cause.MANAGER)

    def _unlease(self, slot: SessionSlot, holder: object) -> None:
        slot.leases -= 1
        slot.holders.remove(holder)
        slot.last_used_at = time.time()
        self.became_idle(slot)

    def _lease(self, slot: SessionSlot, holder: object) -> SessionSlot:
        slot.leases += 1
        slot.holders.append(holder)
        slot.last_used_at = time.time()
        slot.expire_after(None)
        return slot

    def _shared(self, config: BaseServerConfig, wanted: tuple[str, str] | None) -> SessionSlot | None:
        """The session that the lease shares, if there is one: for that, nobody has to wait."""
        if self._line.is_closing:
            raise closed_error(config.server_name)
        return None if wanted is None else self.find(*wanted)

    def _has_room(self, config: BaseServerConfig, wanted: tuple[str, str] | None) -> bool:
        """Whether a new session surely needs no waiting: for room, for a turn, or for its key's last one to close."""
        if self._line.waiters or wanted in self._of_key or self._bounds() is not None:
            return False
        return config.session.max_sessions is None and len(self._slots) < self._max_sessions

    def _open(
        self, config: BaseServerConfig, wanted: tuple[str, str] | None, callbacks: SessionCallbacks
    ) -> SessionSlot:
        key = wanted[1] if wanted else None
        if self._circuits:
            self._circuits.enter(config, key)
        generation, news = self._unreported.take(wanted) if self._unreported else (0, None)
        slot = SessionSlot(
            config,
            key,
            callbacks,
            events=self._events,
            totals=self._totals,
            circuits=self._circuits,
            conflicts=self._conflicts,
            observer=self._observer,
            generation=generation,
            news=news,
            may_expire=lambda: slot.is_idle,
            on_change=lambda: self._slot_changed(slot),
            on_idle=lambda: self.became_idle(slot),
        )
        self._slots.append(slot)
        if wanted is not None:
            self._of_key[wanted] = slot
        self._on_made(slot)
        slot.start()
        return slot

    def _slot_changed(self, slot: SessionSlot) -> None:
        if slot.state is State.CLOSED:
            self._slots.remove(slot)
            if slot.slot_key is not None and self._of_key.get(slot.slot_key) is slot:
                del self._of_key[slot.slot_key]
            self._remember(slot)
        elif slot.state is State.OPEN:
            # The caller that asked for it may have been cancelled.
            self.became_idle(slot)
        self._notify()

    def _remember(self, slot: SessionSlot) -> None:
        if slot.slot_key is not None and (slot.leaves_news or (self.keeps_idle and slot.was_cut_off)):
            self._unreported.keep(slot.slot_key, slot.generation, slot.news)

    async def close_idle(self) -> int:
        """Close unused sessions; returns their number."""
        idle = [slot for slot in self._slots if slot.is_idle]
        await close_all(idle, Cause.IDLE)
        return len(idle)

    async def _close_idle_rivals(self, of: Refused) -> int:
        """Close unused sessions with the same server address, and wait for closing ones."""
        same = [slot for slot in self._slots if slot is not of and slot.config.catalog_key == of.config.catalog_key]
        ended = [slot for slot in same if slot.is_idle or not slot.is_usable]
        await close_all(ended, Cause.EVICTED)
        return len(ended)

    def _end_deadlock(self) -> None:
        if self._line.waiters:
            self._line.end_deadlock()

    def _notify(self) -> None:
        self._changed.set()


def _is_ready(slot: SessionSlot) -> bool:
    """Whether calls can be made on it without waiting for anything."""
    return slot.state is State.OPEN and not _is_silent(slot)


def _is_silent(slot: SessionSlot) -> bool:
    """Whether its server has not answered for so long that it is asked whether it is alive."""
    limit = slot.config.session.liveness_after
    return limit is not None and time.monotonic() - slot.last_heard_at >= limit


class SessionUser:
    """A recurring user of named sessions that relies on their state.

    As long as it exists and has not left, others do not close sessions that it will return to. If a session that it
    used has been replaced by another one for any reason, its next result says that state was
    lost.
    """

    def __init__(self) -> None:
        self.places: set[tuple[str, str]] = set()
        """Server and key of the sessions that it comes back to, open or not."""
        self._used: dict[tuple[str, str], tuple[str, int]] = {}

    def enter(self, caller: Caller) -> None:
        """It leases a session."""
        owner = caller.owner
        if self._used.get(place_of(owner), _opening(owner)) != _opening(owner):
            caller.note_loss()

    def leave(self, caller: Caller) -> None:
        """It gives a session back, which is kept for it, unless that is lost or closed already."""
        owner = caller.owner
        if caller.knows_of_end:
            self._used.pop(place_of(owner), None)
        elif owner.state == "open" and owner.holds_state and caller.knows_losses:
            self._used[place_of(owner)] = _opening(owner)

    def forget_state(self, server_name: str, key: str) -> None:
        """The application itself has closed a session: its state does not count as lost."""
        self._used.pop((server_name, key), None)

    def forget(self) -> None:
        """It will not return, and no longer relies on any state."""
        self.places.clear()
        self._used.clear()


def _opening(owner: SessionOwner) -> tuple[str, int]:
    return owner.session_id, owner.generation


def place_of(owner: SessionOwner) -> tuple[str, str]:
    """Its server and key."""
    return owner.config.server_name, owner.key or ""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a recurring user finds a named session again."""

    registry: SessionRegistry
    slot_key: tuple[str, str]
    """Its server and key."""
    user: SessionUser
    hooks: Sequence[CallHook]

    def lease(self) -> Leased | None:
        """Lease the session for one call; `None` if the manager has to be asked, such as where it is not open."""
        if self.slot_key not in self.user.places:
            return None  # The user has left since.
        holder = current_task()
        owner = self.registry.lease_open(self.slot_key, holder, self.user)
        if owner is None:
            return None
        # Imported here so that a manager can be made without the SDK.
        from ..session.calling import Caller

        caller = Caller(owner)
        self.user.enter(caller)
        return Leased(self, owner, holder, caller)


@dataclass(frozen=True, slots=True)
class Leased:
    """A session that is leased for one call."""

    place: Place
    owner: SessionOwner
    holder: object
    caller: Caller

    async def release(self) -> None:
        """End the lease."""
        await self.place.registry.end_lease(self.owner, self.holder, self.place.user, self.caller)
