"""Word indexes on disk, so that a short-lived program does not make them for each search.

A file for each set of servers; one that does not fit, is damaged or comes from another version counts as not there.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from pathlib import Path

from .._version import __version__
from ..files import write_private
from ..plain import as_table
from . import ranking
from .entry import hash_of
from .ranking import WordIndex
from .search import ToolSearch
from .tools import ServerEntry

_FROM_TOOLS = 100
"""Fewer are indexed as quickly as a file is read."""

_KEPT = 8
_PREFIX = "index-"


def indexed(folder: Path, servers: Sequence[ServerEntry], listings: object) -> ToolSearch:
    """A search over some servers, by the indexes on disk if they are there.

    Args:
        folder: Where they are.
        servers: The servers.
        listings: Identifies what they offer, as plain data.
    """
    if sum(len(server.tools) for server in servers) < _FROM_TOOLS:
        return ToolSearch(servers)
    weights = [repr((ranking.TOOL_FIELDS, ranking.SERVER_FIELDS, ranking.SATURATION)), __version__]
    path = folder / f"{_PREFIX}{hash_of([listings, weights])}.json"
    if (indexes := _read(path, servers)) is not None:
        return ToolSearch(servers, indexes=indexes)
    search = ToolSearch(servers)
    with contextlib.suppress(OSError):
        of_tools, of_servers = search.indexes
        data = {"tools": of_tools.written(), "servers": of_servers.written()}
        write_private(path, json.dumps(data, ensure_ascii=False, separators=(",", ":")))
        _remove_old(folder)
    return search


def _read(path: Path, servers: Sequence[ServerEntry]) -> tuple[WordIndex, WordIndex] | None:
    try:
        data = as_table(json.loads(path.read_text(encoding="utf-8")))
        of_tools, of_servers = WordIndex.read(as_table(data["tools"])), WordIndex.read(as_table(data["servers"]))
    except (OSError, LookupError, TypeError, ValueError, AttributeError):
        return None
    counts = sum(len(server.tools) for server in servers), len(servers)
    return (of_tools, of_servers) if (of_tools.size, of_servers.size) == counts else None


def _remove_old(folder: Path) -> None:
    """Keep the files that were written last."""
    files = sorted(folder.glob(f"{_PREFIX}*.json"), key=lambda path: path.stat().st_mtime)
    for path in files[:-_KEPT]:
        path.unlink(missing_ok=True)
