"""`CatalogObserver`: keeps the catalog up to date with what sessions learn of their servers."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from ..catalog.entry import KINDS, Kind, tool_hash
from ..catalog.store import Catalog
from ..config.servers import BaseServerConfig
from ..errors import JackfieldError
from ..events import CatalogChanged, EventHub

if TYPE_CHECKING:
    from ..catalog.entry import RawListing
    from ..session.owner import SessionOwner
    from ..session.tools import ToolListing

_FRESH_SECONDS = 60.0

_has_changed: ContextVar[bool] = ContextVar("jackfield_has_changed", default=False)
"""Whether something is listed because the server announced a change of it in that very session."""


class CatalogWatcher(Protocol):
    """Told of what the catalog learns, where it is learnt; must not block."""

    def opened(self, owner: SessionOwner) -> None:
        """A session is open."""
        ...

    def recorded(self, server_name: str) -> None:
        """A server listed what it offers, and the catalog has it."""
        ...

    def listed_for_one(self, owner: SessionOwner) -> None:
        """A server lists something else than before in one client's session, and the catalog does not have it."""
        ...


class CatalogObserver:
    """Records what sessions learn of their servers.

    Args:
        catalog: Where.
        events: Gets what changed.
    """

    def __init__(self, catalog: Catalog, events: EventHub) -> None:
        self._catalog = catalog
        self._events = events
        self.watchers: list[CatalogWatcher] = []
        """Told of what the catalog learns, in the order in which they came."""
        self._recorded: dict[tuple[str, Kind], tuple[Sequence[object], float]] = {}

    def known_version(self, owner: SessionOwner) -> str:
        """The protocol version that a server spoke last, from the catalog; forgotten after a week."""
        entry = self._catalog.entry(owner.config)
        return entry.known_version if entry is not None else ""

    def negotiated(self, owner: SessionOwner) -> None:
        """Store a server's era if it was unknown; otherwise its listing does."""
        for watcher in list(self.watchers):
            watcher.opened(owner)
        if owner.connection is None:
            return
        if owner.connection.is_era_of_client:
            return
        version = owner.connection.client.protocol_version
        entry = self._catalog.entry(owner.config)
        was_known = entry is not None and entry.protocol_version
        if (owner.connection.is_era_learnt or was_known) and self.known_version(owner) != version:
            self._catalog.inside.record_version(owner.config, version)

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """Record a listing of tools, unless the same was recorded a moment ago."""
        config, connection = owner.config, owner.connection
        if self._is_of_one_client(owner, "tools", listing.raw.entries):
            return
        if connection is None or self._is_recorded(config, "tools", listing.tools):
            return
        client = connection.client
        diff = self._catalog.inside.record(
            config,
            listing.raw.entries,
            server_info=_plain(client.server_info),
            instructions=client.instructions,
            capabilities=connection.report.capabilities,
            protocol_version=self.known_version(owner) if connection.is_era_of_client else client.protocol_version,
            open_seconds=round(owner.open_seconds, 3),
            ttl_ms=listing.raw.ttl_ms,
            cache_scope=listing.raw.cache_scope,
        )
        if diff:
            _warn_of_changed(owner, diff.changed)
            self._events.emit(
                CatalogChanged(
                    **owner.reporter.about,
                    added=list(diff.added),
                    removed=list(diff.removed),
                    changed=list(diff.changed),
                )
            )
        self._tell_recorded(config)

    def offers(self, owner: SessionOwner, kind: Kind, listing: RawListing) -> None:
        """Record a listing of prompts, resources or templates, unless the same was recorded a moment ago."""
        config, connection = owner.config, owner.connection
        if self._is_of_one_client(owner, kind, listing.entries):
            return
        if connection is None or self._is_recorded(config, kind, listing.entries):
            return
        self._catalog.inside.record_listing(
            config,
            kind,
            listing.entries,
            capabilities=connection.report.capabilities,
            ttl_ms=listing.ttl_ms,
            cache_scope=listing.cache_scope,
        )
        self._tell_recorded(config)

    def _is_of_one_client(self, owner: SessionOwner, kind: Kind, entries: Sequence[Mapping[str, Any]]) -> bool:
        """Whether what a server lists counts for the client of the session alone, behind a gateway."""
        client = owner.callbacks.relayed_client
        if client is None or not _has_changed.get():
            return False
        entry = self._catalog.entry(owner.config)
        known = None if entry is None else entry.listing(kind)
        if not client.takes_listing(kind, entries, known and known.entries, owner.generation):
            return False
        if kind == "tools" and entry is not None:
            accepted = entry.accepted
            named = {str(tool["name"]): tool for tool in entries}
            _warn_of_changed(
                owner, [name for name in named if accepted.get(name, "") not in ("", tool_hash(named[name]))]
            )
        for watcher in list(self.watchers):
            watcher.listed_for_one(owner)
        return True

    def _tell_recorded(self, config: BaseServerConfig) -> None:
        for watcher in list(self.watchers):
            watcher.recorded(config.server_name)

    def _is_recorded(self, config: BaseServerConfig, kind: Kind, entries: Sequence[object]) -> bool:
        """Whether these entries were recorded a moment ago, and still count; else they are about to be."""
        now = time.monotonic()
        key: tuple[str, Kind] = (config.server_name, kind)
        before, entry = self._recorded.get(key), self._catalog.entry(config)
        known = entry.listing(kind) if entry is not None and entry.failure is None else None
        is_same = before is not None and now - before[1] < _FRESH_SECONDS and before[0] == entries
        if is_same and known is not None and not known.is_outdated and not known.is_stale:
            return True
        self._recorded[key] = entries, now
        return False

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """Record that a server could not be opened."""
        for kind in KINDS:
            self._recorded.pop((owner.config.server_name, kind), None)
        if self.known_version(owner):
            self._catalog.inside.record_version(owner.config, "")
        self._catalog.inside.record_failure(owner.config, error)

    async def listings_changed(self, owner: SessionOwner, kinds: Collection[Kind]) -> None:
        """List again what changed while the session is open: tools, and what was listed before."""
        from ..session.calling import Caller
        from ..session.offers import list_for_catalog

        entry = self._catalog.entry(owner.config)
        due: list[Kind] = []
        for kind in KINDS:
            is_listed = kind == "tools" or (entry is not None and entry.listing(kind) is not None)
            if is_listed and ("resources" if kind == "templates" else kind) in kinds:
                due.append(kind)
        for kind in due:
            self._catalog.inside.mark_outdated(owner.config, kind)
        token = _has_changed.set(True)
        try:
            caller = Caller(owner)
            await list_for_catalog(caller, caller.deadline(None), due)
        except JackfieldError as error:
            owner.log.debug("Tools changed, but could not be listed again: %s", error.message)
        finally:
            _has_changed.reset(token)


def _warn_of_changed(owner: SessionOwner, names: Sequence[str]) -> None:
    if names:
        owner.log.warning("Tools differ from their accepted definitions: %s", ", ".join(names))


def _plain(model: Any) -> Mapping[str, Any]:
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)
