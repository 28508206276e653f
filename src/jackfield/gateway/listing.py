"""What the servers offer as one listing of each kind, from the catalog: nothing is opened to list.

Entries are passed on as they came over the wire, by names that are unique; see `names`. The only other exception are
arguments whose names no model API takes.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, cast

import anyio
from anyio.abc import TaskGroup
from mcp import MCPError
from mcp.types import INVALID_PARAMS

from ..catalog.entry import CatalogEntry, Kind
from ..catalog.overlay import NOTHING, OwnListings, overlaid
from ..config.servers import BaseServerConfig
from ..loops import Changed
from ..names import did_you_mean
from ..plain import as_list, as_table
from ..pool.session_manager import SessionManager
from .catalog_learning import CatalogLearning
from .kept_names import GivenNames, prefixed_uri, read_uri
from .merged_listing import MergedListing, Offers, everything, union
from .relayed_call import Target
from .uris import with_given_interface

LONGEST_TTL_MS = 300_000
"""Listings are said to be fresh for so long at most."""

_MOST_OWN = 100
"""This many listings that one client alone is given are remembered."""

PAGE_ENTRIES = 1000
"""How many entries a page has at most: not every client asks for the next one."""

_KEYS: Mapping[Kind, str] = {
    "tools": "tools",
    "prompts": "prompts",
    "resources": "resources",
    "templates": "resourceTemplates",
}
_WORDS: Mapping[Kind, str] = {
    "tools": "tool",
    "prompts": "prompt",
    "resources": "resource",
    "templates": "resource template",
}
_TOLD: tuple[Kind, ...] = ("tools", "prompts", "resources")
"""Of these clients are told; a change of resource templates is one of resources."""
_INSTRUCTIONS_CHARS = 20_000

_LOOK_SECONDS = 0.2
"""What other processes wrote into the catalog is seen after this time at most."""

SETTLE_SECONDS = 0.05
"""Several changes within this time are one."""


_Seen = tuple[Kind, tuple[tuple[str, str], ...]]
"""A kind, and the digests of what servers list for one client alone."""


class Listings:
    """The listings of one gateway. Enter it while it is used.

    Args:
        manager: Its catalog knows what servers offer.
        configs: The servers.
        names: Those that were given; gives new ones.
        tasks: In which servers are asked that the catalog does not know.
        offers: Says which entries of a server are offered.
    """

    def __init__(
        self,
        manager: SessionManager,
        configs: Sequence[BaseServerConfig],
        names: GivenNames,
        tasks: TaskGroup,
        offers: Offers = everything,
    ) -> None:
        self._manager = manager
        self._configs = list(configs)
        self._tasks = tasks
        self._offers = offers
        self._learning = CatalogLearning(manager, configs, tasks, on_open=self._opened, on_learnt=self._learnt)
        self._names = names
        self._offered: dict[_Seen, tuple[object, MergedListing]] = {}
        self._look_at: dict[_Seen, float] = {}
        """When to look at the catalog again: each server has a file there."""
        self._changed = Changed()
        self._is_settling = False
        self.watch: ListingWatch = ListingWatch(self, self._changed)
        """Notices when listings that clients were given have changed."""

    def __enter__(self) -> Listings:
        self._learning.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._learning.__exit__(*exc)

    # Listing

    async def page(self, kind: Kind, cursor: object = None, own: OwnListings = NOTHING) -> dict[str, Any]:
        """A page of a listing, as the result of a request; waits a while for servers that were never asked.

        Args:
            kind: Of what.
            cursor: As it came from the client; the first page if it is `None`.
            own: What servers list for this client alone.

        Raises:
            MCPError: The cursor is not one of this listing.
        """
        await self._learning.wait_for(kind)
        offered = self._now(kind, own)
        start = 0 if cursor is None else self._start(kind, offered, cursor)
        end = start + PAGE_ENTRIES
        entries = offered.listed[start:end]
        if kind == "tools":
            targets = [offered.targets[str(entry["name"])] for entry in entries]
            entries = [
                with_given_interface(entry, partial(self.given_uri, target.config))
                for entry, target in zip(entries, targets, strict=True)
            ]
        result: dict[str, Any] = {_KEYS[kind]: entries}
        if end < len(offered.listed):
            result["nextCursor"] = _cursor(kind, offered.names[end - 1])
        self.watch.given(kind)
        return {**result, **self._cache_hints(kind, offered)}

    async def complete(self, *kinds: Kind) -> None:
        """Wait a while for servers that were never asked for these kinds."""
        for kind in kinds:
            await self._learning.wait_for(kind)

    def ask_again(self, server_name: str) -> None:
        """Ask a server what it offers that could not be asked before."""
        self._learning.ask_again(server_name)

    def look_again(self) -> None:
        """Another process says that something has changed; see whether the catalog knows of it."""
        self._learnt()

    def digest(self, kind: Kind, own: OwnListings = NOTHING) -> str:
        """The same for the same listing, in whatever order."""
        if kind == "resources":
            # Clients are told of both by the same notification.
            return self._now("resources", own).digest + self._now("templates", own).digest
        return self._now(kind, own).digest

    def is_incomplete(self, kind: Kind) -> bool:
        """Whether there are servers that are yet to be asked, and are worth waiting for."""
        kinds: list[Kind] = ["resources", "templates"] if kind == "resources" else [kind]
        return any(map(self._learning.is_incomplete, kinds))

    def targets(self, kind: Kind, own: OwnListings = NOTHING) -> Mapping[str, Target]:
        """What is known of a kind, by the names that clients use."""
        return self._now(kind, own).targets

    def count(self, *kinds: Kind) -> int:
        """How many entries of these kinds are known."""
        return sum(len(self._now(kind).listed) for kind in kinds)

    def _start(self, kind: Kind, offered: MergedListing, cursor: object) -> int:
        last = _read_cursor(kind, cursor)
        if last is None or last not in offered.targets:
            raise MCPError(INVALID_PARAMS, "Unknown cursor: list again from the beginning.")
        return offered.names.index(last) + 1

    def _cache_hints(self, kind: Kind, offered: MergedListing) -> dict[str, Any]:
        """For how long, and for whom, the listing may be kept."""
        times = [0 if self._learning.unknown(kind) else LONGEST_TTL_MS, *offered.ttl_ms]
        scope = "public" if set(offered.cache_scopes) == {"public"} else "private"
        return {"ttlMs": max(0, min(times)), "cacheScope": scope}

    # Looking up

    async def tool(self, name: str, own: OwnListings = NOTHING) -> Target:
        """The tool of that name. A caller that knows it need not have asked for the listing.

        Args:
            name: As the client has it.
            own: What servers list for this client alone.

        Raises:
            MCPError: There is none.
        """
        return await self._named("tools", name, own)

    async def prompt(self, name: str, own: OwnListings = NOTHING) -> Target:
        """The prompt of that name; as `tool`."""
        return await self._named("prompts", name, own)

    async def template(self, uri_template: str, own: OwnListings = NOTHING) -> Target:
        """The resource template that is listed so, or the resource; as `tool`."""
        found = self._now("templates", own).targets.get(uri_template)
        if found is None and read_uri(uri_template) is None:
            await self._learning.wait_for("templates")
            found = self._now("templates", own).targets.get(uri_template)
        return found or await self.resource(uri_template, own)

    async def resource(self, uri: str, own: OwnListings = NOTHING) -> Target:
        """The resource of that URI, which need not be listed.

        Args:
            uri: As the client has it.
            own: What servers list for this client alone.

        Raises:
            MCPError: It is not known whose it is.
        """
        found = self._listed_resource(uri, own) or self._templated_resource(uri, own)
        if found is None:
            await self._learning.wait_for("resources")
            await self._learning.wait_for("templates")
            found = self._known_resource(uri, own)
        if found is None:
            raise MCPError(INVALID_PARAMS, f"Unknown resource: {uri}", {"uri": uri})
        return found

    def given_uri(self, config: BaseServerConfig, uri: str, own: OwnListings = NOTHING) -> str:
        """What a server's resource is called here."""
        entry = self._manager.catalog.entry(config)
        if entry is not None and "resources" not in entry.capabilities:
            return uri  # Nobody can read it.
        found = self._known_resource(uri, own)
        is_its_own = found is not None and found.config.server_name == config.server_name and found.name == uri
        return uri if is_its_own else prefixed_uri(config.server_name, uri)

    def offers_resource(self, config: BaseServerConfig, uri: str) -> bool:
        """Whether a resource of a server is offered, listed or not."""
        return self._offers(config, {"uri": uri}, "resources")

    def tool_schema(self, name: str) -> Mapping[str, Any] | None:
        """The input schema of the tool of that name, as its server lists it; `None` if it is not known."""
        found = self._now("tools").targets.get(name)
        return None if found is None else as_table(found.raw.get("inputSchema"))

    async def _named(self, kind: Kind, name: str, own: OwnListings) -> Target:
        found = self._now(kind, own).targets.get(name)
        if found is None:
            await self._learning.wait_for(kind)
            found = self._now(kind, own).targets.get(name)
        if found is None:
            word, names = _WORDS[kind], self._now(kind, own).names
            raise MCPError(INVALID_PARAMS, f"Unknown {word}: {name}. {did_you_mean(name, names, word)}".rstrip())
        return found

    def _known_resource(self, uri: str, own: OwnListings) -> Target | None:
        return (
            self._listed_resource(uri, own) or self._templated_resource(uri, own) or self._probable_resource(uri, own)
        )

    def _listed_resource(self, uri: str, own: OwnListings) -> Target | None:
        targets = self._now("resources", own).targets
        # Clients that make URL objects of URIs add the slash of an empty path.
        for form in (uri, uri.removesuffix("/"), f"{uri}/"):
            if form in targets:
                return targets[form]
        reference = read_uri(uri)
        return None if reference is None else self._unlisted(*reference)

    def _templated_resource(self, uri: str, own: OwnListings) -> Target | None:
        """A resource that a template stands for; where several do, the one whose text is the most specific."""
        for template in self._now("templates", own).matching(uri):
            if (found := self._unlisted(template.config.server_name, uri)) is not None:
                return found
        return None

    def _probable_resource(self, uri: str, own: OwnListings) -> Target | None:
        """A resource that nothing is known of but its scheme, if one server alone has that, or has resources at all."""
        scheme = f"{uri.partition(':')[0]}:"
        listed = [*self._now("resources", own).targets.values(), *self._now("templates", own).targets.values()]
        same = {target.config.server_name for target in listed if target.name.startswith(scheme)}
        names = same or {config.server_name for config, entry in self._entries() if "resources" in entry.capabilities}
        return self._unlisted(next(iter(names)), uri) if len(names) == 1 else None

    def _unlisted(self, server_name: str, uri: str) -> Target | None:
        for config in self._configs:
            if config.server_name == server_name and self.offers_resource(config, uri):
                return Target(config, uri, {})
        return None

    # Before anything is open

    def capabilities(self) -> dict[str, Any]:
        """All that any of the servers can do, as far as it is known."""
        known: dict[str, Any] = {"tools": {"listChanged": True}}
        for _, entry in self._entries():
            known = union(known, entry.capabilities)
        for kind in _TOLD:
            if kind in known:
                known[kind] = {**cast("dict[str, Any]", known[kind]), "listChanged": True}
        return known

    def instructions(self) -> str | None:
        """Those of the servers, each with its name where there are several."""
        said = [(config.server_name, entry.instructions) for config, entry in self._entries() if entry.instructions]
        if len(self._configs) == 1:
            return said[0][1] if said else None
        share = _INSTRUCTIONS_CHARS // max(1, len(said))
        parts = [f"# {name}\n{text if len(text) <= share else f'{text[:share]}...'}" for name, text in said]
        return "\n\n".join(parts) or None

    # Inside

    def _entries(self) -> list[tuple[BaseServerConfig, CatalogEntry]]:
        catalog = self._manager.catalog
        return [(config, entry) for config in self._configs if (entry := catalog.entry(config)) is not None]

    def _now(self, kind: Kind, own: OwnListings = NOTHING) -> MergedListing:
        """What the catalog knows of all servers; what another process told it is seen a moment later.

        Args:
            kind: Of what.
            own: What servers list for one client alone.
        """
        its_own = {name: listings for name, listings in own.items() if kind in listings}
        seen: _Seen = kind, tuple((name, its_own[name][kind].digest) for name in sorted(its_own))
        if (known := self._offered.get(seen)) is not None and anyio.current_time() < self._look_at.get(seen, 0.0):
            return known[1]
        self._look_at[seen] = anyio.current_time() + _LOOK_SECONDS
        entries = [(config, overlaid(entry, its_own.get(config.server_name, {}))) for config, entry in self._entries()]
        stamp = [(config.server_name, entry.stamp(kind)) for config, entry in entries]
        if known is None or known[0] != stamp:
            offered = MergedListing.of(kind, entries, self._names, self._offers)
            if its_own:
                self._make_room(seen)
            self._offered[seen] = stamp, offered
            if known is not None and known[1].digest != offered.digest:
                self._changed.set()
        return self._offered[seen][1]

    def _make_room(self, seen: _Seen) -> None:
        """Forget the oldest listings of single clients: one that is still needed is made again."""
        own = [one for one in self._offered if one[1] and one != seen]
        for oldest in own[: max(0, len(own) - _MOST_OWN + 1)]:
            del self._offered[oldest], self._look_at[oldest]

    def _opened(self) -> None:
        """A client makes use of a server: what that tells of itself from now on, the client is told."""
        self.watch.begin()

    def _learnt(self) -> None:
        """The catalog learnt something: compare, once it is all there, what clients have."""
        self._look_at.clear()
        if not self._is_settling:
            self._is_settling = True
            self._tasks.start_soon(self._settle)

    async def _settle(self) -> None:
        await anyio.sleep(SETTLE_SECONDS)
        self._is_settling = False
        self._changed.set()


class ListingWatch:
    """Which listings are not those any more that clients were given.

    Args:
        listings: The present ones.
        changed: Set when they change.
    """

    def __init__(self, listings: Listings, changed: Changed) -> None:
        self._listings = listings
        self._changed = changed
        self.digest: Callable[[Kind, OwnListings], str] = listings.digest
        """The same for the same listing, as clients see it, with what is listed for one of them alone."""
        self.is_incomplete: Callable[[Kind], bool] = listings.is_incomplete
        """Whether a listing waits for servers that are yet to be asked."""
        self._given: dict[Kind, str] = {}
        self._elsewhere: dict[Kind, str] = {}
        """What clients were told of by another instance of the gateway."""
        self._is_begun = False
        self._due: dict[Kind, None] = {}

    def heard(self, kind: Kind, digest: str) -> bool:
        """Another instance says that this is the listing now; whether clients here are to be told."""
        if not (self._is_begun or kind in self._given) or digest in (self._given.get(kind), self._elsewhere.get(kind)):
            return False
        self._elsewhere[kind] = digest
        return True

    def given(self, kind: Kind) -> None:
        """A client has the present listing of a kind; that of templates counts to resources."""
        kind = told_as(kind)
        digest = self.digest(kind, NOTHING)
        if self._given.setdefault(kind, digest) != digest:
            # Another client has the one before.
            self._given[kind] = digest
            if self._elsewhere.pop(kind, None) != digest:
                self._due[kind] = None

    def begin(self) -> None:
        """A client is to be told of changes from now on, also of what it has not listed yet."""
        self._is_begun = True
        self._differ()

    async def changes(self) -> list[Kind]:
        """Wait until there are some; those, of which clients count as told then."""
        await self._changed.until(self._differ)
        due, self._due = list(self._due), {}
        return due

    def _differ(self) -> bool:
        for kind in _TOLD if self._is_begun else list(self._given):
            # What is about to be known is not a change, and gets its names all at once.
            if not self.is_incomplete(kind):
                self.given(kind)
        return bool(self._due)


def told_as(kind: Kind) -> Kind:
    """Of what clients are told when a listing of this kind has changed: templates count to resources."""
    return "resources" if kind == "templates" else kind


def _cursor(kind: Kind, last: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([kind, last]).encode()).decode()


def _read_cursor(kind: Kind, cursor: object) -> str | None:
    """The name of the last entry before a page."""
    try:
        parts = as_list(json.loads(base64.urlsafe_b64decode(str(cursor).encode())))
    except (ValueError, binascii.Error):
        return None
    return parts[1] if len(parts) == 2 and parts[0] == kind and isinstance(parts[1], str) else None
