"""`MergedListing`: what all servers of a gateway offer of one kind, at one time. Pure but for new names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from mcp import UriTemplate
from mcp.shared.uri_template import InvalidUriTemplate

from ..adapters.model_schema import described, has_invalid_names, model_schema
from ..catalog.entry import NAMED_BY, CatalogEntry, Kind, hash_of
from ..config.servers import BaseServerConfig
from ..plain import as_table
from .kept_names import GivenNames
from .relayed_call import Target

Offers = Callable[[BaseServerConfig, Mapping[str, Any], Kind], bool]
"""Whether an entry of a server's listing is offered."""


def everything(config: BaseServerConfig, entry: Mapping[str, Any], kind: Kind) -> bool:
    """All is offered."""
    return True


@dataclass(frozen=True)
class MergedListing:
    """What is offered of one kind."""

    listed: list[dict[str, Any]]
    """As clients see it."""
    targets: Mapping[str, Target]
    """By the names that clients use."""
    digest: str
    """The same for the same listing, in whatever order."""
    ttl_ms: Sequence[int]
    """How long the servers say that their listings are fresh, as far as they say so."""
    cache_scopes: Sequence[str]
    """Who may be shown them, as the servers say; `private` if one does not."""

    @classmethod
    def of(
        cls,
        kind: Kind,
        entries: Sequence[tuple[BaseServerConfig, CatalogEntry]],
        names: GivenNames,
        offers: Offers,
    ) -> MergedListing:
        """What servers offer, as the catalog knows it.

        Args:
            kind: Of what.
            entries: What the catalog knows of each server.
            names: The names that were given; gives new ones.
            offers: Says what is offered.
        """
        found: dict[tuple[str, str], Target] = {}
        ttl_ms: list[int] = []
        scopes: list[str] = []
        name_key = NAMED_BY[kind]
        for config, entry in entries:
            listing = entry.listing(kind)
            if listing is None:
                continue
            for raw in listing.entries:
                own = str(raw[name_key])
                if (kind != "tools" or config.lets_in(own)) and offers(config, raw, kind):
                    found.setdefault((config.server_name, own), Target(config, own, raw))
            if listing.entries:
                scopes.append(listing.cache_scope or "private")
                if listing.ttl_ms is not None:
                    ttl_ms.append(listing.ttl_ms)
        given = names.of(kind, list(found))
        listed = [_shown(kind, name, target.raw) for name, target in zip(given, found.values(), strict=True)]
        targets = dict(zip(given, found.values(), strict=True))
        return cls(listed, targets, hash_of(sorted(map(hash_of, listed))), ttl_ms, scopes)

    @cached_property
    def names(self) -> list[str]:
        """The names, in the order of the listing."""
        return list(self.targets)

    def matching(self, uri: str) -> Iterator[Target]:
        """The templates that a URI may be made from, the most specific first."""
        for template, target in self._parsed:
            if template.match(uri) is not None:
                yield target

    @cached_property
    def _parsed(self) -> list[tuple[UriTemplate, Target]]:
        parsed: list[tuple[UriTemplate, Target]] = []
        for target in self.targets.values():
            try:
                parsed.append((UriTemplate.parse(target.name), target))
            except (InvalidUriTemplate, ValueError):
                continue
        return sorted(parsed, key=lambda one: _plain_chars(one[1].name), reverse=True)


def _plain_chars(template: str) -> int:
    """How much of a template is not a variable."""
    depth = plain = 0
    for char in template:
        depth += (char == "{") - (char == "}")
        plain += depth == 0
    return plain


def _shown(kind: Kind, name: str, raw: Mapping[str, Any]) -> dict[str, Any]:
    """An entry as clients see it: as it came, by the name that it has here."""
    if kind != "tools":
        return {**raw, NAMED_BY[kind]: name}
    schema = as_table(raw.get("inputSchema"))
    if not has_invalid_names(schema):
        return {**raw, "name": name}
    shown = model_schema(schema)
    listed = {**raw, "name": name, "inputSchema": shown.schema}
    if shown.note:
        listed["description"] = described(str(raw.get("description") or raw.get("title") or raw["name"]), shown)
    return listed


def union(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """What either of two tables says; of two plain values the first that is true, or else the first."""
    both = dict(one)
    for key, value in other.items():
        known = both.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            both[key] = union(cast("Mapping[str, Any]", known), cast("Mapping[str, Any]", value))
        else:
            both[key] = known or value
    return both
