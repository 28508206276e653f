"""What a server lists in one client's session only, laid over what the catalog knows of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ..config.outline import Outlined
from .entry import CatalogEntry, Kind, Listing
from .store import Catalog, Offers

if TYPE_CHECKING:
    from .learning import Learned
    from .search import ToolSearch
    from .vectors import VectorStore

OwnListings = Mapping[str, Mapping[Kind, Listing]]
"""What servers list for one client alone, by server."""

NOTHING: OwnListings = {}
"""Listed for one client alone."""


def overlaid(entry: CatalogEntry, own: Mapping[Kind, Listing]) -> CatalogEntry:
    """The entry of a server with listings of one client's session in place of those for all."""
    if not own:
        return entry
    entry = replace(entry, listings={**entry.listings, **own})
    if (tools := own.get("tools")) is None:
        return entry
    listings = {**entry.listings, "tools": replace(tools, entries=())}
    return replace(entry, tools=tools.entries, listing_hash=tools.digest, listings=listings)


class OverlaidCatalog(Catalog):
    """The catalog as one client sees it.

    Args:
        common: What all clients see.
        own: What servers list for this client alone at the moment.
    """

    def __init__(self, common: Catalog, own: Callable[[], OwnListings]) -> None:
        super().__init__(common.folder)
        self._common = common
        self._own = own

    def entry(self, config: Outlined) -> CatalogEntry | None:
        """As `Catalog.entry`."""
        entry = self._common.entry(config)
        return None if entry is None else overlaid(entry, self._own().get(config.server_name, {}))

    def search(self, configs: Sequence[Outlined], offers: Offers | None = None) -> ToolSearch:
        """As `Catalog.search`; the index is that of all clients where nothing is listed for this one alone."""
        own = self._own()
        is_common = not any("tools" in own.get(config.server_name, {}) for config in configs)
        return self._common.search(configs, offers) if is_common else super().search(configs, offers)

    @property
    def learned(self) -> Learned:
        """As `Catalog.learned`."""
        return self._common.learned

    @property
    def _vector_store(self) -> VectorStore | None:
        return self._common._vector_store
