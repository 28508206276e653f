"""`CatalogEntry`: what the catalog knows of one server, and how it is read from its file."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import Any, cast

SCHEMA_VERSION = 1
STALE_AFTER_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class CatalogDiff:
    """What changed in a server's tools since they were listed before."""

    server_name: str
    added: Sequence[str] = ()
    removed: Sequence[str] = ()
    changed: Sequence[str] = ()
    """Tools whose description or schema differs from the accepted one: a changed tool can be an attack."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


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
            if (name := str(tool["name"])) in self.accepted and self.accepted[name] != hash_of(tool)
        ]


def difference(server_name: str, before: CatalogEntry | None, after: CatalogEntry | None) -> CatalogDiff:
    """Changes in a server's tools between two listings; empty if one of them is unknown."""
    if before is None or after is None or not before.fetched_at:
        return CatalogDiff(server_name)
    known, listed = ({str(tool["name"]): hash_of(tool) for tool in entry.tools} for entry in (before, after))
    return CatalogDiff(
        server_name,
        added=[name for name in listed if name not in known],
        removed=[name for name in known if name not in listed],
        changed=[name for name in after.changed if known.get(name) != listed[name]],
    )


def hash_of(value: object) -> str:
    """A short hash of plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def read_entry(path: Path) -> CatalogEntry | None:
    """An entry, or `None` if the file is truncated, corrupt or of another version."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(data, dict):
        return None
    values = cast("dict[str, Any]", data)
    names = {one.name for one in fields(CatalogEntry)}
    if values.get("schema_version") != SCHEMA_VERSION or not names >= set(values):
        return None
    tools: object = values.get("tools")
    if not isinstance(tools, list) or not all(
        isinstance(tool, dict) and "name" in tool for tool in cast("list[Any]", tools)
    ):
        return None
    if not isinstance(values.get("protocol_version", ""), str) or not isinstance(
        values.get("version_learnt_at", 0.0), int | float
    ):
        return None
    return CatalogEntry(**values)
