"""`CatalogObserver`: keeps the catalog up to date with what sessions learn of their servers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..catalog.store import Catalog
from ..errors import JackfieldError
from ..events import CatalogChanged, EventHub

if TYPE_CHECKING:
    from mcp.types import Tool

    from ..session.listing import ToolListing
    from ..session.owner import SessionOwner

_FRESH_SECONDS = 60.0


class CatalogObserver:
    """Records what sessions learn of their servers.

    Args:
        catalog: Where.
        events: Gets what changed.
    """

    def __init__(self, catalog: Catalog, events: EventHub) -> None:
        self._catalog = catalog
        self._events = events
        self._recorded: dict[str, tuple[list[Tool], float]] = {}

    def known_version(self, owner: SessionOwner) -> str:
        """The protocol version that a server spoke last, from the catalog; forgotten after a week."""
        entry = self._catalog.entry(owner.config)
        return entry.known_version if entry is not None else ""

    def negotiated(self, owner: SessionOwner) -> None:
        """Store a server's era if it was unknown; otherwise its listing does."""
        if owner.connection is None:
            return
        version = owner.connection.client.protocol_version
        entry = self._catalog.entry(owner.config)
        was_known = entry is not None and entry.protocol_version
        if (owner.connection.is_era_learnt or was_known) and self.known_version(owner) != version:
            self._catalog.record_version(owner.config, version)

    def listed(self, owner: SessionOwner, listing: ToolListing) -> None:
        """Record a listing, unless the same was recorded a moment ago."""
        config, connection = owner.config, owner.connection
        if connection is None:
            return
        before, now = self._recorded.get(config.server_name), time.monotonic()
        is_same = before is not None and now - before[1] < _FRESH_SECONDS and before[0] == listing.tools
        if is_same and self._catalog.state(config) == "known":
            return
        self._recorded[config.server_name] = listing.tools, now
        client = connection.client
        diff = self._catalog.record(
            config,
            [_plain(tool) for tool in listing.tools],
            server_info=_plain(client.server_info),
            instructions=client.instructions,
            capabilities=_plain(client.server_capabilities),
            protocol_version=client.protocol_version,
            open_seconds=round(owner.open_seconds, 3),
        )
        if diff:
            if diff.changed:
                owner.log.warning("Tools are not as they were accepted: %s", ", ".join(diff.changed))
            self._events.emit(
                CatalogChanged(
                    **owner.reporter.about,
                    added=list(diff.added),
                    removed=list(diff.removed),
                    changed=list(diff.changed),
                )
            )

    def failed(self, owner: SessionOwner, error: JackfieldError) -> None:
        """Record that a server could not be opened."""
        self._recorded.pop(owner.config.server_name, None)
        if self.known_version(owner):
            self._catalog.record_version(owner.config, "")
        self._catalog.record_failure(owner.config, error)

    async def tools_changed(self, owner: SessionOwner) -> None:
        """List the tools again while the session is open."""
        from ..session.calling import Caller
        from ..session.server_tools import known_tools

        self._catalog.mark_outdated(owner.config)
        try:
            caller = Caller(owner)
            await known_tools(caller, caller.deadline(None))
        except JackfieldError as error:
            owner.log.debug("Its tools could not be listed again: %s", error.message)


def _plain(model: Any) -> Mapping[str, Any]:
    return {} if model is None else model.model_dump(mode="json", by_alias=True, exclude_none=True)
