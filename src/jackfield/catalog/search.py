"""Search over the tools of many servers, with none of them open."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..errors import normal
from .ranking import (
    SERVER_FIELDS,
    SERVER_SHARE,
    TOOL_FIELDS,
    WordIndex,
    asked_words,
    joined,
    parameters,
    spelled_out,
)

Embedder = Callable[[list[str]], Sequence[Sequence[float]]]
"""Vectors of texts, of length 1: their dot product says how alike they are."""

ABSTAIN_BELOW = 0.1
"""Fraction of the best possible score below which a tool is not returned."""

EMBEDDING_SHARE = 1.0
"""Weight of semantic similarity relative to words."""


@dataclass(frozen=True)
class ToolEntry:
    """A tool as the catalog knows it. The schema is the server's own, as it came over the wire."""

    server_name: str
    name: str
    description: str = ""
    title: str | None = None
    input_schema: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)
    output_schema: Mapping[str, Any] | None = field(default=None, repr=False)
    annotations: Mapping[str, Any] = field(default_factory=dict[str, Any], repr=False)

    @classmethod
    def of(cls, server_name: str, tool: Mapping[str, Any]) -> ToolEntry:
        """The entry of a tool as it came over the wire."""
        return cls(
            server_name=server_name,
            name=str(tool["name"]),
            description=str(tool.get("description") or ""),
            title=tool.get("title"),
            input_schema=tool.get("inputSchema") or {},
            output_schema=tool.get("outputSchema"),
            annotations=tool.get("annotations") or {},
        )

    @property
    def reference(self) -> str:
        """`server.tool`, by which it is called."""
        return f"{self.server_name}.{self.name}"


@dataclass(frozen=True)
class ServerEntry:
    """Searchable data of one server."""

    name: str
    about: str
    """Its title, description and instructions."""
    tools: Sequence[ToolEntry]


@dataclass(frozen=True)
class Hit:
    """A tool that was found."""

    tool: ToolEntry
    score: float
    """Fraction of the best possible score for this query, 0 to about 1."""


class ToolSearch:
    """An index over the tools of some servers.

    Args:
        servers: Their tools.
        vectors: The tools' vectors in order, if an embedder is used.
    """

    def __init__(self, servers: Sequence[ServerEntry], vectors: Sequence[Sequence[float]] | None = None) -> None:
        self.tools: list[ToolEntry] = [tool for server in servers for tool in server.tools]
        self._server_of = [number for number, server in enumerate(servers) for _ in server.tools]
        abouts = {server.name: server.about for server in servers}
        self._index = WordIndex([_tool_document(tool, abouts[tool.server_name]) for tool in self.tools], TOOL_FIELDS)
        self._servers = WordIndex([_server_document(server) for server in servers], SERVER_FIELDS)
        self._vectors: Any = None
        if vectors is not None:
            import numpy

            self._vectors = numpy.array(vectors)
        self._by_normal: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        for number, tool in enumerate(self.tools):
            for form in (tool.name, tool.reference):
                self._by_name.setdefault(form, []).append(number)
            for form in {normal(tool.name), normal(tool.reference)}:
                self._by_normal.setdefault(form, []).append(number)

    def find(
        self,
        query: str,
        limit: int = 5,
        *,
        servers: Sequence[str] | None = None,
        query_vector: Sequence[float] | None = None,
        abstain_below: float = ABSTAIN_BELOW,
    ) -> list[Hit]:
        """The best tools for a query, best first; empty if nothing matches.

        Args:
            query: A tool's name or reference in any spelling, or a task in words.
            limit: Maximum number of tools.
            servers: Search only these.
            query_vector: The query's vector, if the tools have vectors.
            abstain_below: Minimum score of a match.
        """
        wanted = None if servers is None else set(servers)
        scores = self._scores(query, query_vector)
        # A name that is meant comes before whatever else fits.
        scores |= dict.fromkeys(self._named(query), math.inf)
        good = (
            (score, -number)
            for number, score in scores.items()
            if score >= abstain_below and (wanted is None or self.tools[number].server_name in wanted)
        )
        return [Hit(self.tools[-number], min(score, 1.0)) for score, number in heapq.nlargest(limit, good)]

    def _named(self, query: str) -> list[int]:
        return self._by_name.get(query) or self._by_normal.get(normal(query), [])

    def _scores(self, query: str, query_vector: Sequence[float] | None) -> dict[int, float]:
        asked = asked_words(query)
        by_words = self._index.scores(asked)
        of_servers = self._servers.scores(asked)
        best = (self._index.best_possible(asked) + SERVER_SHARE * self._servers.best_possible(asked)) or 1.0
        scores = {
            number: (score + SERVER_SHARE * of_servers.get(self._server_of[number], 0.0)) / best
            for number, score in by_words.items()
        }
        if query_vector is None or self._vectors is None:
            return scores
        alike: list[float] = (self._vectors @ query_vector).tolist()
        return {
            number: (scores.get(number, 0.0) + EMBEDDING_SHARE * max(0.0, likeness)) / (1 + EMBEDDING_SHARE)
            for number, likeness in enumerate(alike)
        }


def embedded_texts(server: ServerEntry, tool: ToolEntry) -> tuple[str, str]:
    """The texts of a tool for an embedder: its description and its parameters."""
    name = spelled_out(tool.name)
    takes = joined(part for pair in parameters(tool.input_schema) for part in (spelled_out(pair[0]), pair[1]))
    return (
        joined([spelled_out(server.name), name, tool.description[:500], server.about[:100]]),
        joined([name, takes[:400]]),
    )


def _tool_document(tool: ToolEntry, about_server: str) -> dict[str, str]:
    given = list(parameters(tool.input_schema))
    return {
        "name": joined([tool.name, tool.title]),
        "server": tool.server_name,
        "about_server": about_server,
        "description": tool.description,
        "parameters": " ".join(name for name, _ in given),
        "about_parameters": " ".join(about for _, about in given),
    }


def _server_document(server: ServerEntry) -> dict[str, str]:
    return {
        "server": server.name,
        "about_server": server.about,
        "names": " ".join(tool.name for tool in server.tools),
        "descriptions": " ".join(tool.description for tool in server.tools),
    }
