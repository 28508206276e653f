"""`Catalog`: what each server offers, on disk, so that nothing has to be opened to list or search.

One file per server, named by a keyed hash of its configuration. It is a hint, never the truth: an open session renews
it, and a file that cannot be read counts as not there.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..config.identity import TEMPORARY
from ..config.outline import Outlined
from ..files import user_cache_folder, write_private
from .entry import (
    STALE_AFTER_SECONDS,
    CatalogEntry,
    read_entry,
    tool_hash,
)
from .tools import ServerEntry, ToolEntry

if TYPE_CHECKING:
    from .learning import Learned
    from .recording import CatalogRecords
    from .search import Embedder, ToolSearch
    from .vectors import VectorStore

_LOCK_SECONDS = 0.5

_KEPT_VARIANTS = 16
"""Number of entries that differ only in values and are kept regardless of age."""

_OF_0_1 = re.compile(r"[0-9a-f]{32}\.(json|lock)")
"""Files of Jackfield 0.1, which took entries that differ in values for one server."""

_UNWRITTEN = (0, 0)
"""Stands for a file's stamp if the entry is only in memory."""

Offers = Callable[[Outlined, Mapping[str, Any]], bool]
"""Whether a tool of a server's listing, as it came over the wire, is offered."""

CatalogState = Literal["cold", "known", "stale"]
"""What is known of a server's tools: nothing, since they were never listed; a listing; an old or outdated one."""


class Catalog:
    """Stores on disk what servers offer.

    Args:
        folder: Where the files are; `JACKFIELD_CACHE_DIR`, or else the user's cache directory, if omitted.
        embedder: Maps texts to vectors, for semantic search in addition to words.
        in_memory: Write nothing to disk; the data exists as long as this object.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        embedder: Embedder | None = None,
        in_memory: bool = False,
    ) -> None:
        self._in_memory = in_memory
        self.given_folder: Path | None = None if folder is None else Path(folder)
        """The folder that it was made with."""
        self._folder = self.given_folder
        self.embedder = embedder
        self._loaded: dict[Path, tuple[tuple[int, int], CatalogEntry]] = {}
        self._searches: dict[tuple[object, ...], ToolSearch] = {}
        self._store: VectorStore | None = None
        self._learned: Learned | None = None

    def __repr__(self) -> str:
        return f"<Catalog {str(self.folder)!r}>"

    @property
    def folder(self) -> Path:
        """The folder of its files."""
        if self._folder is None:
            self._folder = user_cache_folder() / "catalog"
        return self._folder

    @property
    def learned(self) -> Learned:
        """The words of queries, and the tools that were called after them."""
        if self._learned is None:
            from .learning import Learned

            self._learned = Learned(self.folder / "learned.json")
        return self._learned

    @property
    def inside(self) -> CatalogRecords:
        """For Jackfield's own layers, not for programs: it may change with any release."""
        from .recording import CatalogRecords

        return CatalogRecords(self.entry, self._change, lambda: self._vector_store)

    # Reading. What searches is imported by the first search: a call needs none of it.

    def entry(self, config: Outlined) -> CatalogEntry | None:
        """The entry of a server; `None` if there is none or its file cannot be read."""
        path = self._path(config)
        try:
            status = path.stat()
        except OSError:
            held = self._loaded.get(path)
            return held[1] if held is not None and held[0] == _UNWRITTEN else None
        stamp = (status.st_mtime_ns, status.st_size)
        held = self._loaded.get(path)
        if held is None or held[0] != stamp:
            entry = read_entry(path)
            if entry is None:
                return None
            held = self._loaded[path] = (stamp, entry)
        entry = held[1]
        return entry if entry.server_name == config.server_name else replace(entry, server_name=config.server_name)

    def state(self, config: Outlined) -> CatalogState:
        """The state of a server's listing: `cold`: never listed; `stale`: listed long ago, or reported as changed
        since; otherwise `known`. `is_broken` says whether the server could be opened."""
        entry = self.entry(config)
        if entry is None or not entry.fetched_at:
            return "cold"
        return "stale" if entry.is_outdated or time.time() - entry.fetched_at > STALE_AFTER_SECONDS else "known"

    def is_broken(self, config: Outlined) -> bool:
        """Whether the last attempt to open the server failed, as its entry's `failure` says. Its tools may be known."""
        entry = self.entry(config)
        return entry is not None and entry.failure is not None

    def is_listed(self, config: Outlined) -> bool:
        """Whether the server's tools were ever listed successfully."""
        entry = self.entry(config)
        return entry is not None and entry.fetched_at > 0

    def tools(self, config: Outlined, offers: Offers | None = None) -> list[ToolEntry]:
        """The tools of a server that pass its configuration's `include` and `exclude`, and `offers`, if given."""
        entry = self.entry(config)
        return [] if entry is None else _tools(config, entry, offers)

    def search(self, configs: Sequence[Outlined], offers: Offers | None = None) -> ToolSearch:
        """An index over the tools of these servers, as in `tools()`; rebuilt only if a listing changed."""
        from .index_file import indexed
        from .search import ToolSearch, embedded_texts

        entries = [(config, entry) for config in configs if (entry := self.entry(config)) is not None]
        of_servers = tuple(
            (config.server_name, f"{entry.listing_hash}{config.include}{config.exclude}") for config, entry in entries
        )
        key = (of_servers, offers)
        search = self._searches.get(key)
        if search is None:
            servers = [
                ServerEntry(config.server_name, entry.about, _tools(config, entry, offers)) for config, entry in entries
            ]
            self._searches.clear()
            # What a function lets in cannot be told from one program to the next.
            is_kept = offers is None and self._is_on_disk(entries)
            search = indexed(self.folder, servers, of_servers) if is_kept else ToolSearch(servers)
            self._searches[key] = search
        store = self._vector_store
        if store is not None and search.vectors_of != (store, store.generation):
            views = [embedded_texts(server, tool) for server in search.servers for tool in server.tools]
            generation = store.generation
            search.use_vectors(store.of_tools(views), (store, generation))
        elif store is not None:
            store.start()
        return search

    def _is_on_disk(self, entries: Sequence[tuple[Outlined, CatalogEntry]]) -> bool:
        return not any(self._path(config).name.startswith(TEMPORARY) for config, _ in entries)

    @property
    def _vector_store(self) -> VectorStore | None:
        if self.embedder is None:
            return None
        if self._store is None or self._store.embedder is not self.embedder:
            from .vectors import VectorStore

            self._store = VectorStore(self.folder, self.embedder)
        return self._store

    def wait_for_meaning(self, timeout: float = 600.0) -> bool:
        """Wait until the embedder is loaded and has a vector of each tool that was searched; returns whether it has.

        Blocks its thread; in async code use `asyncio.to_thread`.
        """
        store = self._vector_store
        return True if store is None else store.wait(timeout)

    # Writing

    def accept(self, config: Outlined) -> list[str]:
        """Accept the server's current tools; returns the names of those that had changed."""
        entry = self.entry(config)
        changed = entry.changed if entry is not None else []
        if changed:
            self._change(
                config,
                lambda entry: replace(
                    entry or CatalogEntry(),
                    accepted={str(tool["name"]): tool_hash(tool) for tool in (entry.tools if entry else ())},
                ),
            )
        return changed

    def forget(self, config: Outlined) -> None:
        """Remove a server's entry."""
        self._loaded.pop(path := self._path(config), None)
        with contextlib.suppress(OSError):
            path.unlink()

    def _path(self, config: Outlined) -> Path:
        prefix = TEMPORARY if self._in_memory else ""
        return self.folder / f"{prefix}{config.catalog_key}.json"

    def _change(self, config: Outlined, change: Callable[[CatalogEntry | None], CatalogEntry]) -> CatalogEntry:
        """Read, change and write one file, alone among all processes."""
        from filelock import FileLock, Timeout

        path = self._path(config)
        if path.name.startswith(TEMPORARY):
            # No other process would find it again.
            self._loaded[path] = _UNWRITTEN, change(self.entry(config))
            return self._loaded[path][1]
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(path.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600):
                if not path.exists():
                    self._make_room(path)
                entry = change(self.entry(config))
                write_private(path, json.dumps(asdict(entry), ensure_ascii=False, separators=(",", ":")))
                return entry
        except (OSError, Timeout) as error:
            # It is a hint: a full disk or a read-only home must not keep anybody from calling tools.
            import logging

            logging.getLogger("jackfield").debug(
                "[MCP][%s] The catalog could not be written: %s", config.server_name, error
            )
            return change(self.entry(config))

    def _make_room(self, new: Path) -> None:
        """Remove files that a new one makes obsolete: older values of the same entry, and files of Jackfield 0.1."""
        variants: list[tuple[float, Path]] = []
        for path in self.folder.iterdir():
            with contextlib.suppress(OSError):  # gone meanwhile
                if _OF_0_1.fullmatch(path.name):
                    path.unlink()
                elif path.suffix == ".json" and path.name.partition("-")[0] == new.name.partition("-")[0]:
                    variants.append((path.stat().st_mtime, path))
        for modified, path in sorted(variants, reverse=True)[_KEPT_VARIANTS - 1 :]:
            if time.time() - modified > STALE_AFTER_SECONDS:
                for file in (path, path.with_suffix(".lock")):
                    file.unlink(missing_ok=True)


def _tools(config: Outlined, entry: CatalogEntry, offers: Offers | None) -> list[ToolEntry]:
    return [
        ToolEntry.of(entry.server_name, tool)
        for tool in entry.tools
        if config.lets_in(str(tool["name"])) and (offers is None or offers(config, tool))
    ]
