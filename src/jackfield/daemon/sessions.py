"""The kept sessions: lookup, opening and closing.

A kept session is a named session of the manager that outlives the command which opened it. It belongs to a server
(its name, its source and the configuration itself) and a key. It stays in this table while it is lost,
so that the next call reopens it and reports that its state was lost; it is removed when it was idle for too long, or is
closed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import anyio

from ..errors import DaemonError, JackfieldError
from ..events import Event, SessionClosed
from ..loops import Changed, Deadline
from ..pool.lease import open_by
from ..pool.recent import RecentActivity
from ..pool.session_manager import SessionManager
from ..session.lifecycle import News
from .configs import from_wire, opens_alike

if TYPE_CHECKING:
    from ..config.servers import BaseServerConfig
    from ..session.session import Session

logger: logging.Logger = logging.getLogger("jackfield")

MAX_KEPT = 100

WARM_SECONDS = 120.0
"""How long a session that was opened ahead waits for a command, and one that was lent for its return."""

_WARM_KEY = "warm-"


@dataclass
class KeptEntry:
    """One kept session, open or lost."""

    config: BaseServerConfig
    key: str
    origin: str | None
    fingerprint: str
    number: int
    idle_timeout: float | None
    """Seconds it is kept unused; `None`: until it is closed."""
    users: int = 0
    """Requests under way."""
    calls: int = 0
    errors: int = 0
    opened_at: float | None = None
    """When it was open for the first time, on the monotonic clock."""
    last_used_at: float = field(default_factory=time.monotonic)
    is_replaced: bool = False
    """It was opened by a configuration that has changed since; calls go to a newer one."""
    is_closing: bool = False
    is_lent: bool = False
    """It was opened ahead, and a command has it to itself now."""
    news: News = field(default_factory=News)
    """What its users know of losses; all who use the key count as one."""
    last_error: dict[str, Any] | None = None
    """What went wrong last, also in the process before this one."""

    @property
    def server_name(self) -> str:
        """The name in the configuration."""
        return self.config.server_name

    @property
    def id(self) -> str:
        """Tells it from all others, also in its losses."""
        return str(self.number)

    @property
    def manager_key(self) -> str:
        """Its key in the manager: two configurations of one name, and one opened again, share nothing."""
        return f"{self.key} #{self.number}"

    @property
    def expires_at(self) -> float:
        """When it will have been idle for too long, on the monotonic clock."""
        if self.users or self.opened_at is None or self.idle_timeout is None or self.is_closing:
            return math.inf
        return self.last_used_at + self.idle_timeout


@dataclass(frozen=True)
class Wanted:
    """Which session a request means, and how it is to be opened."""

    config: BaseServerConfig
    key: str
    origin: str | None
    fingerprint: str
    idle_timeout: float | None

    @classmethod
    def of(cls, request: Mapping[str, Any], daemon_id: str) -> Wanted:
        """Read it from a request.

        Raises:
            ConfigError: The configuration is wrong.
        """
        server = request["server"]
        config, fingerprint = from_wire(server, daemon_id)
        idle: float | None = request.get("idle")
        if idle is None:
            kept = config.keep_alive
            idle = config.session.idle_timeout if isinstance(kept, bool) else float(kept)
        # The table here lets sessions expire, also lost ones; the manager has no say in it.
        session = config.session.model_copy(update={"idle_timeout": None})
        config = config.model_copy(update={"session": session})
        return cls(config, str(request["key"]), server.get("origin"), fingerprint, idle)


class KeptSessions:
    """All kept sessions. Enter it; it closes all of them on exit.

    Args:
        daemon_id: Marks the started processes.
        on_change: Called when a session was opened or closed.
    """

    def __init__(self, daemon_id: str, on_change: Callable[[], None]) -> None:
        self.daemon_id = daemon_id
        self._on_change = on_change
        self._kept: list[KeptEntry] = []
        # The process has a socket of its own, at which it tells of them.
        self._manager = SessionManager(max_sessions=MAX_KEPT + 1, on_event=self._note_event, observable=False)
        self.recent: RecentActivity = RecentActivity()
        """What they did in the last minute."""
        self._changed = Changed()
        self._opened = 0
        self._returned: list[tuple[KeptEntry, Wanted]] = []
        self._given_back = Changed()

    def __len__(self) -> int:
        return len(self._kept)

    async def __aenter__(self) -> KeptSessions:
        await self._manager.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._manager.__aexit__(*exc)
        self._kept.clear()

    # Finding

    def find(self, wanted: Wanted) -> KeptEntry | None:
        """The session that is meant."""
        return next((kept for kept in self._conflicts(wanted) if kept.fingerprint == wanted.fingerprint), None)

    def make_current(self, chosen: KeptEntry) -> None:
        """Send further calls to this session instead of those with other configurations."""
        for kept in self._kept:
            if (kept.server_name, kept.key, kept.origin) == (chosen.server_name, chosen.key, chosen.origin):
                kept.is_replaced = kept is not chosen

    def older(self, wanted: Wanted) -> KeptEntry | None:
        """One of the same server and key that was opened by another configuration; the newest there is."""
        return max(self._conflicts(wanted), key=lambda kept: kept.number, default=None)

    def _conflicts(self, wanted: Wanted) -> Iterator[KeptEntry]:
        identity = (wanted.config.server_name, wanted.key, wanted.origin)
        return (
            kept for kept in self._kept if not kept.is_closing and (kept.server_name, kept.key, kept.origin) == identity
        )

    # Using

    def keep(self, wanted: Wanted) -> KeptEntry:
        """Make an entry for a session that is about to be opened by `use`.

        Raises:
            DaemonError: There are too many.
        """
        if len(self._kept) >= MAX_KEPT:
            raise DaemonError(
                f"{MAX_KEPT} sessions are already open.",
                server_name=wanted.config.server_name,
                sent=False,
                hint="Close some: jackfield ps, jackfield close SERVER.",
            )
        self._opened += 1
        kept = KeptEntry(
            wanted.config, wanted.key, wanted.origin, wanted.fingerprint, self._opened, wanted.idle_timeout
        )
        self._kept.append(kept)
        self.make_current(kept)
        self._notify()
        return kept

    @asynccontextmanager
    async def use(self, kept: KeptEntry, deadline: Deadline) -> AsyncGenerator[Session]:
        """The session, opened by the deadline if necessary. One that cannot be opened for the first time is
        forgotten.

        Raises:
            JackfieldError: It could not be opened.
        """
        kept.users += 1
        try:
            lease = self._manager.open_session(kept.config, key=kept.manager_key)
            async with open_by(lease, deadline, kept.server_name) as session:
                if kept.opened_at is None:
                    kept.opened_at = time.monotonic()
                yield session
        finally:
            kept.users -= 1
            kept.last_used_at = time.monotonic()
            if kept.users == 0 and (kept.opened_at is None or kept.is_closing):
                await self._end(kept)
            self._notify()

    # Lending

    async def lend(self, wanted: Wanted, deadline: Deadline) -> KeptEntry:
        """A session that nobody has used: one that was opened ahead, or a new one. Give it back by `take_back`.

        Raises:
            JackfieldError: It could not be opened by the deadline.
        """
        kept = self._spare(wanted) or self.keep(self._warm(wanted))
        kept.is_lent = True
        async with self.use(kept, deadline):
            return kept

    async def take_back(self, wanted: Wanted, *, replace: bool) -> None:
        """A command is done with a session that it was lent: close it.

        Args:
            wanted: The session.
            replace: Open another one ahead of the next command; this does not wait for either then.
        """
        kept = self.find(wanted)
        if kept is None or not kept.is_lent:
            return
        if not replace:
            await self._end(kept)
            return
        kept.is_closing = True
        self._returned.append((kept, wanted))
        self._given_back.set()

    @property
    def catalog_folder(self) -> str:
        """Where what servers offer is written."""
        return str(self._manager.catalog.folder)

    async def prepare_forever(self) -> None:
        """Close the sessions that were given back, and open others ahead."""
        async with anyio.create_task_group() as tasks:
            while True:
                while self._returned:
                    tasks.start_soon(self._replace, *self._returned.pop())
                await self._given_back.wait()

    async def _replace(self, kept: KeptEntry, wanted: Wanted) -> None:
        await self._end(kept)
        if self._spare(wanted) is None and len(self._kept) < MAX_KEPT:
            try:
                async with self.use(self.keep(self._warm(wanted)), Deadline.after(None)):
                    pass
            except JackfieldError as error:
                logger.info("[MCP][%s] No session was opened in advance: %s", kept.server_name, error.message)

    def _warm(self, wanted: Wanted) -> Wanted:
        return replace(wanted, key=f"{_WARM_KEY}{self._opened + 1}", idle_timeout=WARM_SECONDS)

    def _spare(self, wanted: Wanted) -> KeptEntry | None:
        """One that was opened ahead, or is being opened, and that nobody has."""
        identity = (wanted.config.server_name, wanted.origin, wanted.fingerprint)
        for kept in self._kept:
            is_free = not (kept.is_lent or kept.is_closing) and kept.key.startswith(_WARM_KEY)
            is_same = (kept.server_name, kept.origin, kept.fingerprint) == identity
            # Without a kept session, a command's server has the command's own folder, variables and settings.
            if is_free and is_same and opens_alike(kept.config, wanted.config):
                owner = self._manager.inside.find(kept.server_name, kept.manager_key)
                # One that was lost meanwhile would tell of a state that nobody had.
                if kept.opened_at is None or (owner is not None and owner.state == "open"):
                    return kept
        return None

    # Ending

    async def close(self, server_name: str | None, key: str | None) -> list[KeptEntry]:
        """Close the sessions of one or all servers, with that key or any, even during calls.

        Returns the closed sessions after they are fully closed.
        """
        chosen = [
            kept
            for kept in self._kept
            if server_name in (None, kept.server_name) and key in (None, kept.key) and not kept.is_closing
        ]
        async with anyio.create_task_group() as tasks:
            for kept in chosen:
                tasks.start_soon(self._end, kept)
        return chosen

    async def close_one(self, session_id: str) -> bool:
        """Close a session by its `id`, even during calls; whether it is here."""
        kept = self._of_id(session_id)
        if kept is not None:
            await self._end(kept)
        return kept is not None

    async def refresh_one(self, session_id: str) -> bool:
        """Reopen a session by its `id`; returns whether it is here.

        Raises:
            JackfieldError: It could not be opened.
        """
        kept = self._of_id(session_id)
        if kept is None:
            return False
        owner = self._manager.inside.find(kept.server_name, kept.manager_key)
        is_open = owner is not None and owner.state == "open"
        async with self.use(kept, Deadline.after(None)) as session:
            if is_open:
                await session.refresh()
        return True

    def _of_id(self, session_id: str) -> KeptEntry | None:
        return next((kept for kept in self._kept if kept.id == session_id and not kept.is_closing), None)

    async def expire_forever(self) -> None:
        """Close sessions when they have been idle for too long."""
        async with anyio.create_task_group() as tasks:
            while True:
                now = time.monotonic()
                for kept in [kept for kept in self._kept if kept.expires_at <= now]:
                    logger.info("[MCP][%s] Kept session %r was idle for too long", kept.server_name, kept.key)
                    kept.is_closing = True
                    tasks.start_soon(self._end, kept)
                soonest = min((kept.expires_at for kept in self._kept), default=math.inf)
                with anyio.move_on_after(soonest - time.monotonic()):
                    await self._changed.wait()

    async def _end(self, kept: KeptEntry) -> None:
        kept.is_closing = True
        with anyio.CancelScope(shield=True):
            await self._manager.close_session(kept.server_name, kept.manager_key)
        # Callers that still wait for it must not open it again unnoticed: `use` gets here again for them.
        if kept.users == 0 and kept in self._kept:
            self._kept.remove(kept)
        self._notify()

    # Knowing

    def infos(self) -> list[dict[str, Any]]:
        """How each of them stands, as `ps` shows it. Nothing in it is secret."""
        return [self.info(kept) for kept in self._kept]

    def info(self, kept: KeptEntry) -> dict[str, Any]:
        """How one of them stands."""
        owner = self._manager.inside.find(kept.server_name, kept.manager_key)
        live = owner.info() if owner is not None else None
        now = time.monotonic()
        did = self.recent.of(live.session_id) if live else {}
        return {
            "id": kept.id,
            "server": kept.server_name,
            "key": kept.key,
            "state": self._state(kept, live.state if live else None),
            "pid": live.process_id if live else None,
            "age": None if kept.opened_at is None else round(now - kept.opened_at, 3),
            "idle": 0.0 if kept.users else round(now - kept.last_used_at, 3),
            "idle_timeout": kept.idle_timeout,
            "calls": kept.calls,
            "errors": kept.errors,
            "generation": live.generation if live else None,
            "protocol_version": live.protocol_version if live else None,
            "origin": kept.origin,
            "replaced": kept.is_replaced,
            "in_flight": live.in_flight if live else 0,
            "recent": did.get("recent", []),
            "last_error": kept.last_error,
        }

    @staticmethod
    def _state(kept: KeptEntry, live: str | None) -> str:
        if kept.is_closing:
            return "closing"
        if kept.opened_at is None:
            return "opening"
        if live in (None, "lost"):
            return "lost"
        if live == "open":
            return "busy" if kept.users else "idle"
        return str(live)

    def _note_event(self, event: Event) -> None:
        before = self.recent.last_error
        self.recent.note(event)
        if self.recent.last_error is not before:
            for kept in self._kept:
                if (kept.server_name, kept.manager_key) == (event.server_name, event.key):
                    kept.last_error = self.recent.last_error
        # The limit of one server's sessions makes room for a new one by closing an idle one.
        if isinstance(event, SessionClosed) and event.reason == "evicted":
            self._kept = [
                kept for kept in self._kept if (kept.server_name, kept.manager_key) != (event.server_name, event.key)
            ]
            self._notify()

    def _notify(self) -> None:
        self._changed.set()
        self._on_change()
