"""A router's recent searches: what a call that succeeds tells of the words that led to it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence

from ..catalog.search import Hit

_MOST = 24
_SECONDS = 600.0


class RecentSearches:
    """The last queries, and what each found."""

    def __init__(self) -> None:
        self._queries: deque[tuple[float, str, set[str]]] = deque(maxlen=_MOST)

    def add(self, found: Mapping[str, Sequence[Hit]]) -> None:
        """Remember what some queries found."""
        for query, hits in found.items():
            self._queries.append((time.monotonic(), query, {hit.tool.reference for hit in hits}))

    def led_to(self, reference: str) -> list[str]:
        """The queries that a call of a tool answers: those that found it, or else the last one. Each is told once for
        each tool."""
        recent = [one for one in self._queries if time.monotonic() - one[0] < _SECONDS]
        leading = [one for one in recent if reference in one[2]]
        told = f"told {reference}"
        if not leading:
            leading = [one for one in recent[-1:] if not any(told in each[2] for each in recent)]
        for one in leading:
            one[2].discard(reference)
            one[2].add(told)
        return [query for _, query, _ in leading]
