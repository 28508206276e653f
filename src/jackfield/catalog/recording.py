"""`CatalogRecords`: what Jackfield's own layers need of a catalog, beyond what programs use."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ..config.outline import Outlined
from ..errors import JackfieldError
from ..masking import mask, masked
from .entry import (
    NAMED_BY,
    CatalogEntry,
    Kind,
    Listing,
    hash_of,
    tool_hash,
)

if TYPE_CHECKING:
    from .changes import CatalogDiff
    from .vectors import VectorStore

_Change = Callable[[CatalogEntry | None], CatalogEntry]


class CatalogRecords:
    """Records listings, failures and versions of servers; has the vectors that a search by meaning needs.

    Args:
        entry: Reads the entry of a server.
        change: Reads, changes and writes the entry of a server, alone among all processes.
        vector_store: The vectors of tools and queries; `None` without an embedder.
    """

    def __init__(
        self,
        entry: Callable[[Outlined], CatalogEntry | None],
        change: Callable[[Outlined, _Change], CatalogEntry],
        vector_store: Callable[[], VectorStore | None],
    ) -> None:
        self._entry = entry
        self._change = change
        self._vector_store = vector_store

    def record(
        self,
        config: Outlined,
        tools: Sequence[Mapping[str, Any]],
        *,
        server_info: Mapping[str, Any] | None = None,
        instructions: str | None = None,
        capabilities: Mapping[str, Any] | None = None,
        protocol_version: str = "",
        open_seconds: float | None = None,
        ttl_ms: int | None = None,
        cache_scope: str | None = None,
    ) -> CatalogDiff:
        """Store a listing of tools; returns the changes. If it cannot be written to disk, it is not stored."""
        before = self._entry(config)
        tools, server_info, instructions = _without_secrets([list(tools), dict(server_info or {}), instructions])
        listed = {str(tool["name"]): tool_hash(tool) for tool in tools}
        listing = replace(Listing.of(tools, ttl_ms=ttl_ms, cache_scope=cache_scope), entries=())

        def renewed(entry: CatalogEntry | None) -> CatalogEntry:
            accepted = dict(entry.accepted) if entry is not None else {}
            is_known = entry is not None and entry.protocol_version == protocol_version
            learnt_at = entry.version_learnt_at if entry is not None and is_known else time.time()
            return CatalogEntry(
                server_name=config.server_name,
                server_info=dict(server_info or {}),
                instructions=instructions,
                capabilities=dict(capabilities or {}),
                protocol_version=protocol_version,
                # A session that used what is known has learnt nothing new.
                version_learnt_at=learnt_at,
                tools=list(tools),
                listing_hash=hash_of({"tools": listed, "about": [instructions, dict(server_info or {})]}),
                fetched_at=time.time(),
                open_seconds=open_seconds,
                # What is seen for the first time is accepted: there is nothing to compare it with.
                accepted={**listed, **accepted},
                listings={**(entry.listings if entry is not None else {}), "tools": listing},
            )

        from .changes import difference

        return difference(config.server_name, before, self._change(config, renewed))

    def record_listing(
        self,
        config: Outlined,
        kind: Kind,
        entries: Sequence[Mapping[str, Any]],
        *,
        capabilities: Mapping[str, Any],
        ttl_ms: int | None = None,
        cache_scope: str | None = None,
    ) -> bool:
        """Store a listing of prompts, resources or templates; returns whether it is another one than before.

        Args:
            config: The server.
            kind: Of what; tools are recorded by `record`.
            entries: As they came over the wire.
            capabilities: What the server says that it can do.
            ttl_ms: How long it says that the listing is fresh.
            cache_scope: Who may be shown it, as it says.
        """
        before = self._listing(config, kind)
        name = NAMED_BY[kind]
        # What an entry is known by stays as it is, or it could not be asked for.
        masked_entries = _without_secrets(list(entries))
        shown = [{**one, name: entry[name]} for one, entry in zip(masked_entries, entries, strict=True)]
        listing = Listing.of(shown, ttl_ms=ttl_ms, cache_scope=cache_scope)

        def renewed(entry: CatalogEntry | None) -> CatalogEntry:
            entry = entry or CatalogEntry(server_name=config.server_name)
            return replace(
                entry, capabilities=dict(capabilities), listings={**entry.listings, kind: listing}, failure=None
            )

        self._change(config, renewed)
        return before is None or before.digest != listing.digest

    def record_failure(self, config: Outlined, error: JackfieldError) -> None:
        """Record that a server could not be opened. Its last listing is kept."""
        self._change(
            config,
            lambda entry: replace(
                entry or CatalogEntry(), failure=f"{error.code}: {error.message}", failed_at=time.time()
            ),
        )

    def record_version(self, config: Outlined, protocol_version: str) -> None:
        """Remember which protocol version a server speaks; empty: it is to be asked again."""
        self._change(
            config,
            lambda entry: replace(
                entry or CatalogEntry(server_name=config.server_name),
                protocol_version=protocol_version,
                version_learnt_at=time.time(),
            ),
        )

    def mark_outdated(self, config: Outlined, kind: Kind = "tools") -> None:
        """Remember that the server said that a listing of it changed."""

        def outdated(entry: CatalogEntry | None) -> CatalogEntry:
            entry = entry or CatalogEntry(server_name=config.server_name)
            if kind == "tools":
                return replace(entry, is_outdated=True)
            known = entry.listings.get(kind)
            return entry if known is None else replace(entry, listings={**entry.listings, kind: _outdated(known)})

        if self._listing(config, kind) is not None:
            self._change(config, outdated)

    def vectors(self, queries: Sequence[str]) -> Sequence[Sequence[float]] | None:
        """The vectors of some queries, if there is an embedder that works."""
        if not queries or (store := self._vector_store()) is None:
            return None
        from .words import without_values

        return store.of_queries([without_values(query) for query in queries])

    def meaning_note(self) -> str | None:
        """Why searches use only words although there is an embedder, or the meaning of only some tools."""
        store = self._vector_store()
        if store is None or (store.is_ready and not store.missing):
            return None
        if store.failure is not None:
            return f"Search uses words only, because the embedder failed: {store.failure}"
        what = f"{store.missing} texts remain" if store.missing else "the embedder is being loaded"
        return f"Search uses words only for now; search by meaning is being prepared: {what}."

    def _listing(self, config: Outlined, kind: Kind) -> Listing | None:
        entry = self._entry(config)
        return entry.listing(kind) if entry is not None else None


def _outdated(listing: Listing) -> Listing:
    return replace(listing, is_outdated=True)


def _without_secrets(said: list[Any]) -> list[Any]:
    """A server's description of itself, without quoted secrets."""
    text = json.dumps(said)
    return said if mask(text) == text else masked(said)
