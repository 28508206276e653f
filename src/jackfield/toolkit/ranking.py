"""Orders tools of a toolkit by what is to be done, as `find_tools` does."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest

from ..catalog.search import Hit, ToolSearch
from ..catalog.tools import ServerEntry, ToolEntry
from .tool import Tool

Origin = tuple[str, str]
"""The name of a server, and its own name of a tool."""

Ranking = Callable[[Sequence[str], int], Sequence[Origin]]
"""Given tasks in a few words each, and how many tools for each at most: the tools, best first."""


def ranking_by_words(tools: Iterable[Tool]) -> Ranking:
    """The ranking of some tools, by words alone."""
    entries: dict[str, list[ToolEntry]] = {}
    for tool in tools:
        entry = ToolEntry(tool.server_name, tool.original_name, tool.description, input_schema=tool.input_schema)
        entries.setdefault(tool.server_name, []).append(entry)
    index = ToolSearch([ServerEntry(name, "", of_server) for name, of_server in entries.items()])

    def ranked(queries: Sequence[str], limit: int) -> Sequence[Origin]:
        return origins({query: index.find(query, limit) for query in queries})

    return ranked


def origins(found: Mapping[str, Sequence[Hit]]) -> list[Origin]:
    """The tools that were found for some queries, each once: the best of each query, then the second best."""
    by_place = chain.from_iterable(zip_longest(*found.values()))
    return list(dict.fromkeys((hit.tool.server_name, hit.tool.name) for hit in by_place if hit is not None))
