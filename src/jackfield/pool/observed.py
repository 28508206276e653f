"""`ObservedSessions`: the sessions of a manager, as `jackfield top` sees them from another process."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast
from weakref import ref

from ..errors import ConfigError
from ..masking import masked
from ..session.lifecycle import Cause
from ..session.statistics import SessionInfo
from .closing import close_all
from .lease import SessionLease
from .recent import RecentActivity
from .registry import SessionRegistry
from .waiting_line import SessionSlot

if TYPE_CHECKING:
    from trio.lowlevel import TrioToken

    from ..config.servers import BaseServerConfig

OBSERVABLE = "JACKFIELD_OBSERVABLE"
"""Set to 1, all managers of the process are observable that were not told otherwise; set to 0, none is."""


def is_observable(asked: bool | None) -> bool:
    """Whether a manager is to be observable.

    Args:
        asked: What its maker says; the environment decides if that is `None`, and 0 there always does.

    Raises:
        ConfigError: The environment says neither yes nor no.
    """
    text = os.environ.get(OBSERVABLE, "").strip().lower()
    if text in ("0", "false", "no", "off"):
        return False
    if text not in ("", "1", "true", "yes", "on"):
        raise ConfigError(f"The environment variable {OBSERVABLE} is 1 or 0, not {text!r}.")
    return bool(text) if asked is None else asked


class HasSlots(Protocol):
    """The inside of a manager, as far as it is observed."""

    def slot(self, session_id: str) -> tuple[SessionRegistry, SessionSlot] | None:
        """A session by its id, and where it is."""
        ...


class Observed(Protocol):
    """A manager, as far as it is observed."""

    @property
    def inside(self) -> HasSlots:
        """Its sessions as the pool has them."""
        ...

    def sessions(self) -> list[SessionInfo]:
        """How its sessions stand."""
        ...

    def open_session(self, server: BaseServerConfig, *, key: str) -> SessionLease:
        """Lease a named session."""
        ...


class ObservedSessions:
    """Tells of a manager's sessions, and closes and refreshes them, from any thread.

    Args:
        manager: Whose; not kept alive by this.
        kind: What it is part of: `gateway` or `program`.
    """

    def __init__(self, manager: Observed, kind: str) -> None:
        self._manager = ref(manager)
        self.kind = kind
        self.recent: RecentActivity = RecentActivity()

    def infos(self) -> list[dict[str, Any]]:
        """How each of them stands."""
        manager = self._manager()
        return [] if manager is None else [self._info(info) for info in manager.sessions()]

    def last_error(self) -> Mapping[str, Any] | None:
        """What went wrong last."""
        return self.recent.last_error

    def close_session(self, session_id: str) -> bool:
        """Close one of them, even if it is in use; whether there is one."""

        async def close(_: Observed, slot: SessionSlot) -> None:
            await close_all([slot], Cause.RELEASED)

        return self._with(session_id, close)

    def refresh_session(self, session_id: str) -> bool:
        """Reopen one of them; returns whether there is one.

        Raises:
            JackfieldError: It could not be opened.
        """

        async def refresh(manager: Observed, slot: SessionSlot) -> None:
            if slot.key is None:
                await slot.refresh()
                return
            # The lease keeps it from being closed for being lost while nobody uses it.
            async with manager.open_session(slot.config, key=slot.key) as session:
                await session.refresh()

        return self._with(session_id, refresh)

    def _with(self, session_id: str, act: Callable[[Observed, SessionSlot], Awaitable[None]]) -> bool:
        manager = self._manager()
        found = None if manager is None else manager.inside.slot(session_id)
        if manager is None or found is None:
            return False
        registry, slot = found
        _run_at(registry, slot, lambda: act(manager, slot))
        return True

    def _info(self, info: SessionInfo) -> dict[str, Any]:
        now = time.time()
        is_idle = info.state == "open" and not info.in_flight
        shown = {
            "id": info.session_id,
            "server": info.server_name,
            "key": info.key,
            "state": "idle" if is_idle else "busy" if info.state == "open" else info.state,
            "pid": info.process_id,
            "age": None if info.opened_at is None else round(now - info.opened_at, 3),
            "idle": round(now - info.last_used_at, 3) if is_idle else 0.0,
            "calls": info.calls,
            "errors": info.errors,
            "in_flight": info.in_flight,
            "generation": info.generation,
            "protocol_version": info.protocol_version,
        }
        return {**masked(shown), **self.recent.of(info.session_id)}


def _run_at(registry: SessionRegistry, slot: SessionSlot, function: Callable[[], Awaitable[None]]) -> None:
    """Run a function on the event loop of a session, from a thread without one."""
    if slot.session_loop is not None:
        slot.session_loop.run_blocking(function)
        return
    import trio

    trio.from_thread.run(function, trio_token=cast("TrioToken", registry.loop))
