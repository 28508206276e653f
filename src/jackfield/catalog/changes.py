"""`CatalogDiff`: what changed in a server's tools between two listings. Of no interest to a call."""

from __future__ import annotations

from dataclasses import dataclass, field

from .entry import CatalogEntry, tool_hash


@dataclass(frozen=True)
class CatalogDiff:
    """What changed in a server's tools since they were listed before."""

    server_name: str
    added: list[str] = field(default_factory=list[str])
    removed: list[str] = field(default_factory=list[str])
    changed: list[str] = field(default_factory=list[str])
    """Tools whose description or schema differs from the accepted one: a changed tool can be an attack."""

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def difference(server_name: str, before: CatalogEntry | None, after: CatalogEntry | None) -> CatalogDiff:
    """Changes in a server's tools between two listings; empty if one of them is unknown."""
    if before is None or after is None or not before.fetched_at:
        return CatalogDiff(server_name)
    known, listed = ({str(tool["name"]): tool_hash(tool) for tool in entry.tools} for entry in (before, after))
    return CatalogDiff(
        server_name,
        added=[name for name in listed if name not in known],
        removed=[name for name in known if name not in listed],
        changed=[name for name in after.changed if known.get(name) != listed[name]],
    )
