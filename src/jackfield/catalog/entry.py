"""`CatalogEntry`: what the catalog knows of one server, and how it is read from its file."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from ..plain import as_list, as_table

SCHEMA_VERSION = 1
STALE_AFTER_SECONDS = 7 * 24 * 3600.0

Kind = Literal["tools", "prompts", "resources", "templates"]
"""What a server can list; `templates` are those of resources."""
KINDS: tuple[Kind, ...] = ("tools", "prompts", "resources", "templates")
NAMED_BY: Mapping[Kind, str] = {"tools": "name", "prompts": "name", "resources": "uri", "templates": "uriTemplate"}
"""The field that an entry of a listing is known by."""

CAPABILITIES: Mapping[Kind, str] = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "templates": "resources",
}
"""The capability that a server declares if it has some."""
_LISTED_ON_THE_WIRE = ("tools", "resources", "resourceTemplates", "prompts")


@dataclass(frozen=True)
class RawListing:
    """A listing as it came over the wire, all pages of it."""

    entries: Sequence[Mapping[str, Any]] = ()
    ttl_ms: int | None = None
    """The shortest time that a page is fresh for; `None` if none says how long."""
    cache_scope: str | None = None
    """`public` if all pages say so."""

    @classmethod
    def of(cls, pages: Sequence[Mapping[str, Any]]) -> RawListing:
        """The pages as one listing."""
        entries = [entry for page in pages for key in _LISTED_ON_THE_WIRE for entry in as_list(page.get(key))]
        times = [int(time) for page in pages if isinstance(time := page.get("ttlMs"), int | float)]
        scopes = {page.get("cacheScope") for page in pages}
        scope = "public" if scopes == {"public"} else "private" if scopes - {None} else None
        return cls(entries, min(times, default=None), scope)

    def named(self, names: Iterable[str]) -> RawListing:
        """The first entry of each of these names."""
        first: dict[object, Mapping[str, Any]] = {}
        for entry in self.entries:
            first.setdefault(entry.get("name"), entry)
        return replace(self, entries=[first[name] for name in names if name in first])


@dataclass(frozen=True)
class Listing:
    """What a server offers of one kind."""

    entries: Sequence[Mapping[str, Any]] = ()
    """As they came over the wire."""
    ttl_ms: int | None = None
    """How long the server says that it is fresh; `None` if it does not."""
    cache_scope: str | None = None
    """`public` or `private`, if the server says so."""
    listed_at: float = 0.0
    """Seconds since the epoch."""
    is_outdated: bool = False
    """The server said that it changed, and was not asked since."""
    digest: str = ""
    """The same for the same entries, in whatever order."""

    @property
    def is_stale(self) -> bool:
        """Whether it was listed long ago."""
        return time.time() - self.listed_at > STALE_AFTER_SECONDS

    @classmethod
    def of(
        cls,
        entries: Sequence[Mapping[str, Any]],
        *,
        ttl_ms: int | None = None,
        cache_scope: str | None = None,
        listed_at: float | None = None,
    ) -> Listing:
        """A listing that was just fetched."""
        at = time.time() if listed_at is None else listed_at
        return cls(list(entries), ttl_ms, cache_scope, at, digest=hash_of(sorted(map(hash_of, entries))))


@dataclass(frozen=True)
class CatalogEntry:
    """Cached data of one server."""

    schema_version: int = SCHEMA_VERSION
    server_name: str = ""
    server_info: Mapping[str, Any] = field(default_factory=dict[str, Any])
    instructions: str | None = None
    capabilities: Mapping[str, Any] = field(default_factory=dict[str, Any])
    protocol_version: str = ""
    """Which one the server spoke last; empty: it is to be asked."""
    version_learnt_at: float = 0.0
    """When it was asked for that, in seconds since the epoch."""
    tools: Sequence[Mapping[str, Any]] = ()
    """As they came over the wire."""
    listing_hash: str = ""
    fetched_at: float = 0.0
    """Seconds since the epoch; 0: never."""
    open_seconds: float | None = None
    """How long opening took last."""
    accepted: Mapping[str, str] = field(default_factory=dict[str, str])
    """For each tool the hash of what the user accepted; at first what came first."""
    is_outdated: bool = False
    """The server said that its tools changed, and was not asked since."""
    failure: str | None = None
    """Why it could not be opened last, if it could not."""
    failed_at: float = 0.0
    listings: Mapping[str, Listing] = field(default_factory=dict[str, Listing])
    """What was listed besides tools, by kind; of tools what is known of the listing itself."""

    def stamp(self, kind: Kind) -> object:
        """Another one whenever something of a listing has changed."""
        known = self.listings.get(kind)
        if known is None:
            return self.listing_hash if kind == "tools" else None
        return known.digest, known.ttl_ms, known.cache_scope

    def knows(self, kind: Kind) -> bool:
        """Whether it is known what the server offers of a kind, if only that it declares none."""
        return self.listing(kind) is not None or (self.fetched_at > 0 and CAPABILITIES[kind] not in self.capabilities)

    def listing(self, kind: Kind) -> Listing | None:
        """What the server offers of a kind; `None` if it was never listed."""
        known = self.listings.get(kind)
        if kind != "tools":
            return known
        if not self.fetched_at:
            return None
        return replace(
            known or Listing.of(self.tools),
            entries=self.tools,
            listed_at=self.fetched_at,
            is_outdated=self.is_outdated,
        )

    @property
    def known_version(self) -> str:
        """The protocol version that the server last spoke; empty if unknown or too old."""
        return self.protocol_version if time.time() - self.version_learnt_at < STALE_AFTER_SECONDS else ""

    @property
    def about(self) -> str:
        """Its title and instructions."""
        title = str(self.server_info.get("title") or self.server_info.get("name") or "")
        return f"{title} {self.server_info.get('description') or ''} {(self.instructions or '')[:1000]}".strip()

    @cached_property
    def changed(self) -> list[str]:
        """Tools that are not as they were accepted."""
        return [
            name
            for tool in self.tools
            if (name := str(tool["name"])) in self.accepted and self.accepted[name] != tool_hash(tool)
        ]


def hash_of(value: object) -> str:
    """A short hash of plain data."""
    # Imported here: it takes as long as all else that a call on a kept session reads here.
    import hashlib

    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def tool_hash(tool: Mapping[str, Any]) -> str:
    """A hash of a tool's definition; a field that is null counts as not there."""
    return hash_of({name: value for name, value in tool.items() if value is not None})


def read_entry(path: Path) -> CatalogEntry | None:
    """An entry; `None` if the file is truncated, corrupt or of another schema. Fields of newer versions are ignored."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    values = as_table(data)
    if values.get("schema_version") != SCHEMA_VERSION or not _are_entries(values.get("tools"), "tools"):
        return None
    if not isinstance(values.get("protocol_version", ""), str) or not isinstance(
        values.get("version_learnt_at", 0.0), int | float
    ):
        return None
    names = {one.name for one in fields(CatalogEntry)}
    known: dict[str, Any] = {name: value for name, value in values.items() if name in names}
    known["listings"] = _read_listings(values.get("listings"))
    return CatalogEntry(**known)


def _read_listings(data: object) -> dict[str, Listing]:
    names = {one.name for one in fields(Listing)}
    found: dict[str, Listing] = {}
    for kind in KINDS:
        values = as_table(as_table(data).get(kind))
        if not _are_entries(values.get("entries"), kind) or not isinstance(values.get("digest"), str):
            continue
        is_readable = (
            isinstance(values.get("ttl_ms"), int | None)
            and isinstance(values.get("cache_scope"), str | None)
            and isinstance(values.get("listed_at", 0.0), int | float)
        )
        if is_readable:
            found[kind] = Listing(**{name: value for name, value in values.items() if name in names})
    return found


def _are_entries(value: object, kind: Kind) -> bool:
    return isinstance(value, list) and all(
        isinstance(as_table(entry).get(NAMED_BY[kind]), str) for entry in as_list(cast("object", value))
    )
