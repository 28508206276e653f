"""`SessionManager`: sessions with many servers, each opened when it is needed."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self
from weakref import WeakSet

from ..catalog.store import Catalog
from ..config.keys import SIX_HOURS, implausible
from ..config.mcp_config import MCPConfig
from ..config.servers import BaseServerConfig
from ..errors import ConfigError, UnknownServerError, seconds_of
from ..events import EventHub, EventListener, EventStream
from ..local.publishing import publish, unpublish
from ..logs import configure_debug_log
from ..loops import Deadline
from ..session.callbacks import NO_CALLBACKS, SessionCallbacks, merged
from ..session.hooks import CallHook, require_hooks
from ..session.lifecycle import Cause
from ..session.owner import SessionOwner
from ..session.recovery import CoolDown
from ..session.session_loop import forked, wait_uncancelled
from ..session.statistics import ManagerStats, SessionInfo, Totals
from .blocking_manager import BlockingManager
from .catalog_observer import CatalogObserver
from .closing import close_all
from .lease import SessionGroup, SessionLease
from .loop_thread import LoopThread, LoopUse
from .manager_inside import ManagerInside
from .observed import ObservedSessions, is_observable
from .refusals import closed_error, other_loop_error
from .registry import SessionRegistry, SessionUser
from .waiting_line import Bounds, SessionSlot

if TYPE_CHECKING:
    from ..transport.report import MessageListener

DEFAULT_MAX_SESSIONS = 100


_ACQUIRE_SECONDS = 60.0


def _plausible(acquire_timeout: float | None) -> float | None:
    if acquire_timeout is None or acquire_timeout == math.inf:
        return acquire_timeout
    seconds = seconds_of(acquire_timeout, "acquire_timeout")
    if problem := implausible(seconds, SIX_HOURS):
        raise ConfigError(f"acquire_timeout is in seconds, and {problem}")
    return seconds


class SessionManager(BlockingManager):
    """Opens sessions on demand, shares the named ones, and closes them completely.

    `MCPClientSessionManager` adds toolkits, workbenches and routers for agents.

    Enter it (`async with`) to keep named sessions between their uses; it closes all of them when it
    exits. Without entering it, a session ends with its last lease.

    Args:
        config: The servers that can be opened by name, or the path of a file that `MCPConfig.load` reads.
        max_sessions: Maximum number of open sessions. At the limit, the least recently used idle
            one is closed; if all are in use, the caller waits.
        acquire_timeout: Seconds to acquire a session in total: waiting for a slot, and opening or recovering it. If
            omitted, 60, or the `timeout` of the server if that is longer.
        callbacks: Answer requests from servers; `open_session` can override them.
        on_event: Called with every event, on the event loop; it must not block. See also `events()`.
        hooks: Around every tool call of every session.
        catalog: Stores what servers offer; the catalog in the user's cache directory if omitted.
        observable: Whether `jackfield top` can show, close and refresh its sessions, through a socket that only this
            user can access. If omitted, `JACKFIELD_OBSERVABLE=1` decides.
    """

    _lease_type: ClassVar[type[SessionLease]] = SessionLease

    def __init__(
        self,
        config: MCPConfig | Mapping[str, Any] | str | os.PathLike[str] | None = None,
        *,
        max_sessions: int = DEFAULT_MAX_SESSIONS,
        acquire_timeout: float | None = None,
        callbacks: SessionCallbacks | None = None,
        on_event: EventListener | None = None,
        hooks: Sequence[CallHook] = (),
        catalog: Catalog | None = None,
        observable: bool | None = None,
    ) -> None:
        super().__init__()
        configure_debug_log()
        if type(max_sessions) is not int or max_sessions < 1:
            raise ConfigError(f"max_sessions must be an integer of 1 or more, not {max_sessions!r}.")
        self.config: MCPConfig = (
            config
            if isinstance(config, MCPConfig)
            else MCPConfig.load(config)
            if isinstance(config, str | os.PathLike)
            else MCPConfig.from_dict(config)
            if config
            else MCPConfig(servers=[])
        )
        self.max_sessions = max_sessions
        self.acquire_timeout: float | None = _plausible(acquire_timeout)
        self.callbacks: SessionCallbacks = callbacks or NO_CALLBACKS
        self._bounds: Bounds | None = None
        self._listener_of: Callable[[SessionOwner], MessageListener] | None = None
        self.hooks: tuple[CallHook, ...] = require_hooks(hooks)
        self.on_event: EventListener | None = on_event
        self._events = EventHub(on_event)
        self._totals = Totals()
        self.catalog: Catalog = catalog or Catalog()
        self._observer: CatalogObserver = CatalogObserver(self.catalog, self._events)
        self._registry: SessionRegistry | None = None
        self._state: Literal["fresh", "entered", "left"] = "fresh"
        self._users: WeakSet[SessionUser] = WeakSet()
        self._keepers: WeakSet[SessionUser] = WeakSet()
        self._loop_thread: LoopThread = LoopThread()
        self._apart: dict[LoopUse, SessionRegistry] = {}
        self._observed: ObservedSessions | None = None
        if is_observable(observable):
            self._observe("program")

    @property
    def inside(self) -> ManagerInside:
        """For Jackfield's own layers, not for programs: it may change with any release."""
        return ManagerInside(self)

    def __repr__(self) -> str:
        count = f"{len(self.sessions())} of max_sessions={self.max_sessions}"
        return f"<{type(self).__name__} servers={self.config.names} open={count}>"

    def __copy__(self) -> Self:
        return self  # Whatever is made of it works with the same sessions, hooks and limits.

    async def __aenter__(self) -> Self:
        is_over = self._registry is not None and self._registry.is_over
        if self._state == "entered" and not is_over:
            raise RuntimeError("This manager is already entered; it can be entered again after it has exited.")
        if self._registry is not None and not self._registry.is_abandoned:
            raise RuntimeError("This manager has sessions open; enter it before you open any.")
        self._state = "entered"
        self._registry = self._next_registry()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._state = "left"
        if self._registry is not None:
            await self._registry.close()
        for use in list(self._apart):
            await wait_uncancelled(use.leave())
        self._events.close()
        if self._observed is not None:
            unpublish(self._observed)

    async def open(self) -> Self:
        """Enter the manager without a block; `close()` exits it."""
        return await self.__aenter__()

    async def close(self) -> None:
        """Exit the manager: all its sessions are closed."""
        await self.__aexit__(None, None, None)

    # Opening

    def open_session(
        self,
        server: str | BaseServerConfig,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> SessionLease:
        """Open a session when the returned context manager is entered, and release it on exit.

        Args:
            server: A server of the manager's config by name, or a configuration.
            key: `None` for a private session, opened on entry and closed on exit. Otherwise the session's
                owner (a user, a conversation): all leases of one key share one live session.
            callbacks: Override those of the manager; if a named session is already open, it keeps its own.
            hooks: For the tool calls made here, inside those of the manager. Their time counts towards `call_timeout`.
            acquire_timeout: Seconds to acquire the session in total; the manager's if omitted.

        Raises:
            UnknownServerError: No server has this name; the hint has the nearest names.
            JackfieldError: On entering: why it could not be opened.
        """
        config = self._resolve(server)
        own = self.callbacks
        asked = own if callbacks is None else callbacks if own is NO_CALLBACKS else merged(callbacks, own)
        asked_seconds = self.acquire_timeout if acquire_timeout is None else _plausible(acquire_timeout)
        seconds = max(_ACQUIRE_SECONDS, config.session.timeout) if asked_seconds is None else asked_seconds

        async def acquire(lease: SessionLease) -> tuple[SessionRegistry, SessionOwner]:
            registry = self._registry_here()  # first: a fork has no loop whose time could be told
            deadline = Deadline.after(seconds)
            if lease.deadline is not None and lease.deadline.at < deadline.at:
                deadline = lease.deadline
            if lease.user is not None and key is not None:
                self._expect(lease.user, [config], key)
                if self._state == "fresh":
                    self._keep_for(lease.user)
            return registry, await registry.acquire(config, key, asked, deadline, lease.known_holder(), lease.user)

        async def acquire_apart() -> tuple[LoopUse, SessionRegistry, SessionOwner]:
            return await self._acquire_apart(config, asked, seconds)

        moves = None if key is not None else acquire_apart
        inside = require_hooks(hooks) if hooks != () else ()
        return self._lease_type(acquire, (*self.hooks, *inside), moves)

    def open_sessions(
        self,
        servers: Sequence[str | BaseServerConfig] | None = None,
        *,
        key: str | None = None,
        callbacks: SessionCallbacks | None = None,
        hooks: Sequence[CallHook] = (),
        acquire_timeout: float | None = None,
    ) -> SessionGroup:
        """Open several sessions concurrently; if one fails, the others still open.

        The context manager yields a mapping from server name to session. Its `errors` contains the
        servers that did not open, with the reasons.

        Args:
            servers: Names or configurations; all of the config if omitted.
            key: As for `open_session`.
            callbacks: As for `open_session`.
            hooks: As for `open_session`.
            acquire_timeout: As for `open_session`, for each of them.
        """
        configs = self._resolve_all(servers)
        names = [config.server_name for config in configs]
        if len(set(names)) < len(names):
            raise ConfigError(
                f"open_sessions was given a server twice: {', '.join(names)}.", hint="Name each server once."
            )
        leases = [
            self.open_session(config, key=key, callbacks=callbacks, hooks=hooks, acquire_timeout=acquire_timeout)
            for config in configs
        ]
        return SessionGroup(dict(zip(names, leases, strict=True)), self._refuse_fork)

    # Knowing

    def sessions(self) -> list[SessionInfo]:
        """One entry for each session that is not fully closed."""
        return [info for registry in self._registries() for info in registry.infos()]

    def _registries(self) -> list[SessionRegistry]:
        registries = [*([] if self._registry is None else [self._registry]), *list(self._apart.values())]
        return [registry for registry in registries if not registry.is_over]

    def session_info(self, server: str | BaseServerConfig, key: str) -> SessionInfo | None:
        """The state of the named session of a server and a key; `None` if there is none that is not fully closed.

        Args:
            server: The server's name, or its configuration.
            key: Whose session it is.
        """
        name = server if isinstance(server, str) else server.server_name
        # The newest: one that is closing may still be there when its key is opened again.
        return next((info for info in reversed(self.sessions()) if (info.server_name, info.key) == (name, key)), None)

    def cool_downs(self) -> list[CoolDown]:
        """The servers that failed to open several times in a row, and are not tried for a while."""
        return [] if self._live_registry is None else self._live_registry.cool_downs()

    def stats(self) -> ManagerStats:
        """Its current state, and its activity since it was created."""
        return self._totals.stats(self.sessions(), self.max_sessions)

    def events(self, *, calls: bool = True) -> EventStream:
        """All events from now on until the manager exits: `async for event in manager.events()`.

        Args:
            calls: Whether calls are among them, which cost the reader's event loop a turn each.

        A slow reader delays nothing: beyond 10,000 unread events, the oldest are dropped, and an
        `EventsDropped` reports how many.
        """
        return self._events.stream(calls=calls)

    async def close_idle(self) -> int:
        """Close all named sessions that are not in use; returns their number."""
        self._refuse_fork()
        registry = self._live_registry
        return await registry.close_idle() if registry is not None else 0

    async def close_session(self, server_name: str, key: str) -> bool:
        """Close a named session now, even if it is in use; returns whether there was one."""
        self._refuse_fork()
        owner = self._find(server_name, key)
        for user in self._users:
            user.forget_state(server_name, key)
        if owner is not None:
            await close_all([owner], Cause.RELEASED)
        return owner is not None

    # Inside

    def _find(self, server_name: str, key: str) -> SessionSlot | None:
        """The owner of a named session that is open or opening."""
        registry = self._live_registry
        return registry.find(server_name, key) if registry is not None else None

    def _resolve_all(self, servers: Sequence[str | BaseServerConfig] | None) -> list[BaseServerConfig]:
        """The configurations meant by names or configurations; all of the config for `None`.

        One name or configuration stands for a sequence of it: a name is never taken letter by letter.
        """
        if isinstance(servers, str | BaseServerConfig):
            servers = [servers]
        return [self._resolve(server) for server in (self.config.names if servers is None else servers)]

    def _expect(self, user: SessionUser, servers: Sequence[BaseServerConfig], key: str) -> None:
        user.places.update((config.server_name, key) for config in servers)
        self._users.add(user)

    def _keep_for(self, user: SessionUser) -> None:
        if self._state == "left":
            self._state = "fresh"
            self._registry = self._next_registry()
        if self._state == "fresh":
            self._keepers.add(user)
            self._registry_here().keeps_idle = True

    def _observe(self, kind: str) -> None:
        self._observed = ObservedSessions(self, kind)
        self._events.add_listener(self._observed.recent.note)

    def _resolve(self, server: str | BaseServerConfig) -> BaseServerConfig:
        if isinstance(server, BaseServerConfig):
            return server
        if isinstance(server, str):  # pyright: ignore[reportUnnecessaryIsInstance]
            if not len(self.config):
                raise UnknownServerError(
                    f"No server is named {server!r}: this manager was made without a config.",
                    server_name=server,
                    sent=False,
                    hint="Give MCPClientSessionManager(config), or open_session(StdioConfig(...)).",
                )
            return self.config[server]
        raise ConfigError(
            f"open_session accepts a server's name or its configuration, not {type(server).__name__}.",
            hint="Give a name of the config, or a StdioConfig, SseConfig, HttpConfig or InProcessConfig.",
        )

    @property
    def _live_registry(self) -> SessionRegistry | None:
        """The registry, unless its event loop has ended."""
        return self._registry if self._registry is not None and not self._registry.is_over else None

    def _registry_here(self) -> SessionRegistry:
        """The registry of the running event loop."""
        from ..loops import event_loop_token

        if self._state == "left":
            raise closed_error()
        self._refuse_fork()
        registry = self._registry
        if registry is not None and registry.loop is event_loop_token():
            return registry
        if self._live_registry is not None and (self._state == "entered" or not self._live_registry.is_abandoned):
            raise other_loop_error()
        self._registry = self._next_registry()
        return self._registry

    def _refuse_fork(self) -> None:
        """Raise an error where this process is a fork that cannot use the manager; one of its own may start over.

        Ask this before the time of an event loop: the parent's loop did not come along with the fork.
        """
        from ..loops import is_running

        registry = self._registry
        if registry is not None and registry.is_of_parent:
            if self._state == "entered" or not is_running():
                raise forked(registry.process_id)
            self._registry = None

    def _next_registry(self) -> SessionRegistry:
        registry = self._new_registry(keeps_idle=self._state == "entered" or bool(self._keepers))
        if self._registry is not None and self._registry.is_over:
            registry.succeed(self._registry)
        return registry

    async def _acquire_apart(
        self, config: BaseServerConfig, callbacks: SessionCallbacks, acquire_timeout: float
    ) -> tuple[LoopUse, SessionRegistry, SessionOwner]:
        """Open a private session on a separate loop. It is closed when that use of the loop is released."""

        async def acquire(use: LoopUse) -> tuple[LoopUse, SessionRegistry, SessionOwner]:
            deadline, registry = Deadline.after(acquire_timeout), self._new_registry(keeps_idle=False)
            return use, registry, await registry.acquire(config, None, callbacks, deadline, object())

        use, registry, owner = await self._loop_thread.begin(acquire)

        async def close() -> None:
            self._apart.pop(use, None)
            await registry.close()

        self._apart[use], use.close = registry, close
        return use, registry, owner

    def _new_registry(self, *, keeps_idle: bool) -> SessionRegistry:
        if self._observed is not None:
            publish(self._observed)
        return SessionRegistry(
            self.max_sessions,
            keeps_idle=keeps_idle,
            events=self._events,
            totals=self._totals,
            observer=self._observer,
            bounds=lambda: self._bounds,
            on_made=self._listen_to,
        )

    def _listen_to(self, owner: SessionOwner) -> None:
        if self._listener_of is not None:
            owner.listen_to_messages(self._listener_of(owner))
