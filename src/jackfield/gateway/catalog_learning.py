"""`CatalogLearning`: gets what servers offer into the catalog, at no client's cost.

A server that was never asked is asked once, in a session of its own that is closed again. Listings wait for it only
until a bound that is the same for all clients; what comes later is told as a change. What is known of a server for long
is renewed when a client opens it, in that client's session.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import anyio
from anyio.abc import TaskGroup

from ..catalog.entry import KINDS, CatalogEntry, Kind, Listing
from ..config.servers import BaseServerConfig, HttpConfig
from ..errors import JackfieldError
from ..pool.session_manager import SessionManager
from ..session.calling import Caller
from ..session.offers import list_for_catalog
from ..session.owner import SessionOwner
from ..session.session import caller_of

logger: logging.Logger = logging.getLogger("jackfield")

LISTING_SECONDS = 10.0
"""How long listings wait for servers that were never asked, from when the first of them asked."""

_WAIT_AFTER_FAILURE = 1.0
"""The same for a server that failed not long ago."""
_FAILED_RECENTLY = 600.0

_AT_ONCE = 8
_SLOT_SECONDS = 5.0
"""How long a slow server keeps others waiting for their turn to be asked."""

_FIRST_PAUSE = 60.0
_LONGEST_PAUSE = 900.0

_ASK_PAUSE = 5.0
"""Between two asks of a server whose listing changed in a client's session."""

_FRESH_SECONDS = 300.0
"""A listing younger than this is not renewed unless the server says that it changed."""


@dataclass(eq=False)
class _Ask:
    """A server that is asked for the first time."""

    wait_until: float
    """Listings do not wait for it any longer."""
    done: anyio.Event = field(default_factory=anyio.Event)
    failures: int = 0
    retry_at: float = 0.0
    """When it is worth another try, after a failure."""


class CatalogLearning:
    """Asks servers what they offer.

    Args:
        manager: Opens them; its catalog learns.
        configs: The servers.
        tasks: In which they are asked.
        on_open: Called when one is opened for a client.
        on_learnt: Called whenever the catalog learnt something of them.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        tasks: TaskGroup,
        *,
        on_open: Callable[[], None],
        on_learnt: Callable[[], None],
    ) -> None:
        self._manager = manager
        self._configs = {config.server_name: config for config in configs}
        self._tasks = tasks
        self._on_open = on_open
        self._on_learnt = on_learnt
        self._asks: dict[str, _Ask] = {}
        self._renewing: set[str] = set()
        self._to_ask: set[str] = set()
        self._asking_for_all: set[str] = set()
        self._slots = anyio.CapacityLimiter(_AT_ONCE)

    def __enter__(self) -> CatalogLearning:
        self._manager.inside.observer.watchers.append(self)
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.inside.observer.watchers.remove(self)

    def unknown(self, kind: Kind) -> list[str]:
        """The servers that were never asked for this kind."""
        return [name for name, config in self._configs.items() if not _knows(self._entry(config), kind)]

    def is_incomplete(self, kind: Kind) -> bool:
        """Whether there are servers that were never asked for this kind, and are worth waiting for."""
        asks = [self._asks.get(name) for name in self.unknown(kind)]
        now = anyio.current_time()
        return any(ask is None or (not ask.done.is_set() and now < ask.wait_until) for ask in asks)

    async def wait_for(self, kind: Kind) -> None:
        """Have all servers asked that never were, and wait for their answers, within the bound."""
        asks = [self._asked(self._configs[name]) for name in self.unknown(kind)]
        for ask in asks:
            with anyio.CancelScope(deadline=ask.wait_until):
                await ask.done.wait()

    def ask_again(self, server_name: str) -> None:
        """Ask a server that failed, whenever that was."""
        before = self._asks.get(server_name)
        if before is not None and before.done.is_set():
            del self._asks[server_name]
        if server_name in self._configs and not _knows(self._entry(self._configs[server_name]), "tools"):
            self._asked(self._configs[server_name])

    # What sessions tell

    def recorded(self, server_name: str) -> None:
        """The catalog was told what a server offers."""
        if server_name in self._configs:
            self._on_learnt()

    def listed_for_one(self, owner: SessionOwner) -> None:
        """A server lists something else in one client's session: ask whether that is so for all, in a session of its
        own. A process is not started for that: the next one that is started for a client is asked."""
        name = owner.config.server_name
        config = self._configs.get(name)
        if (
            isinstance(owner.config, HttpConfig)
            and config is not None
            and config.catalog_key == owner.config.catalog_key
        ):
            self._to_ask.add(name)
            if name not in self._asking_for_all:
                self._asking_for_all.add(name)
                self._tasks.start_soon(self._ask_for_all, config)

    async def _ask_for_all(self, config: BaseServerConfig) -> None:
        name = config.server_name
        try:
            while name in self._to_ask:
                self._to_ask.discard(name)
                async with self._manager.open_session(config) as session:
                    caller = caller_of(session)
                    await list_for_catalog(caller, caller.deadline(None))
                await anyio.sleep(_ASK_PAUSE)
        except JackfieldError as error:
            logger.debug("[MCP][%s] It could not be asked what it offers to all: %s", name, error.message)
        except Exception:
            logger.exception("[MCP][%s] It could not be asked what it offers to all", name)
        finally:
            self._asking_for_all.discard(name)

    def opened(self, owner: SessionOwner) -> None:
        """A session is open: renew what is known of its server, if that is old."""
        name = owner.config.server_name
        config = self._configs.get(name)
        if config is None or owner.key is None:
            return
        self._on_open()
        if name in self._renewing:
            return
        if kinds := _old_kinds(self._entry(config)):
            self._renewing.add(name)
            self._tasks.start_soon(self._renew, owner, kinds)

    async def _renew(self, owner: SessionOwner, kinds: Sequence[Kind]) -> None:
        try:
            caller = Caller(owner)
            await list_for_catalog(caller, caller.deadline(None), kinds)
        except JackfieldError as error:
            owner.log.debug("Its tools, resources and prompts could not be listed again: %s", error.message)
        except Exception:
            # It must not end the gateway.
            owner.log.exception("Its tools, resources and prompts could not be listed again")
        finally:
            self._renewing.discard(owner.config.server_name)

    # First asks

    def _asked(self, config: BaseServerConfig) -> _Ask:
        """The ask of a server that is running, or that failed and is not worth another try yet; else a new one."""
        now, before = anyio.current_time(), self._asks.get(config.server_name)
        if before is not None and (not before.done.is_set() or now < before.retry_at):
            return before
        if before is None:
            entry = self._entry(config)
            failed = entry is not None and entry.failure and time.time() - entry.failed_at < _FAILED_RECENTLY
            ask = _Ask(now + (_WAIT_AFTER_FAILURE if failed else LISTING_SECONDS))
        else:
            # Callers that waited for it did so the first time.
            ask = _Ask(now, failures=before.failures)
        self._asks[config.server_name] = ask
        self._tasks.start_soon(self._ask, config, ask)
        return ask

    async def _ask(self, config: BaseServerConfig, ask: _Ask) -> None:
        await self._slots.acquire_on_behalf_of(ask)
        self._tasks.start_soon(self._make_way, ask)
        try:
            async with self._manager.open_session(config) as session:
                caller = caller_of(session)
                await list_for_catalog(caller, caller.deadline(None))
            del self._asks[config.server_name]
        except JackfieldError as error:
            self._failed(config, ask, error)
        except Exception:
            logger.exception("[MCP][%s] Its tools, resources and prompts could not be listed", config.server_name)
            self._failed(config, ask, None)
        finally:
            ask.done.set()

    def _failed(self, config: BaseServerConfig, ask: _Ask, error: JackfieldError | None) -> None:
        entry = self._entry(config)
        if error is not None and (entry is None or not (entry.fetched_at or entry.failure)):
            # It was opened, and did not list.
            self._manager.catalog.inside.record_failure(config, error)
        ask.failures += 1
        ask.retry_at = anyio.current_time() + min(_FIRST_PAUSE * 2 ** (ask.failures - 1), _LONGEST_PAUSE)

    async def _make_way(self, ask: _Ask) -> None:
        """Let others have their turn once a server has answered, or is slow."""
        with anyio.move_on_after(_SLOT_SECONDS):
            await ask.done.wait()
        self._slots.release_on_behalf_of(ask)

    def _entry(self, config: BaseServerConfig) -> CatalogEntry | None:
        return self._manager.catalog.entry(config)


def _knows(entry: CatalogEntry | None, kind: Kind) -> bool:
    return entry is not None and entry.knows(kind)


def _old_kinds(entry: CatalogEntry | None) -> list[Kind]:
    """What of a server is unknown, outdated, or known for longer than it says that it is fresh."""
    return [kind for kind in KINDS if _is_old(entry.listing(kind) if entry is not None else None)]


def _is_old(listing: Listing | None) -> bool:
    if listing is None or listing.is_outdated:
        return True
    return time.time() - listing.listed_at > max(_FRESH_SECONDS, (listing.ttl_ms or 0) / 1000)
