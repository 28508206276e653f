"""Search over the tools of many servers, with none of them open."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import accumulate, islice, pairwise
from typing import Any

from ..names import normal
from .learning import Learned
from .ranking import (
    NAME_SHARE,
    SERVER_FIELDS,
    SERVER_SHARE,
    TOOL_FIELDS,
    NameIndex,
    WordIndex,
    allowed_values,
    joined,
    parameters,
    spelled_out,
)
from .tools import ServerEntry, ToolEntry
from .words import asked_words, verbs, without_values, words, worth

Embedder = Callable[[list[str]], Sequence[Sequence[float]]]
"""Vectors of texts, of length 1: their dot product says how alike they are."""

WEAK_BELOW = 0.05
WEAK_BELOW_WITH_MEANING = 0.15
"""Scores below which a hit is marked as a weak match."""

CLOSE_SHARE = 0.3
"""A tool of another server takes the last place if it scores at least this share of what would stand there."""

_VARIED_FROM = 4
_LEAST_KNOWN = 0.1
_MOST_VALUES = 40

MEANING_SHARE = 0.33
"""What a standard deviation above the average likeness counts, relative to the best match by words."""

LEARNED_SHARE = 1.5
"""What it counts that all words of the query led to a tool before, relative to the best match."""

HINT_SHARE = 0.5
"""How much more the tools of a server count that a hint names. More would let wrong hints cost right tools."""

PROVEN_SHARE = 0.2
"""A tool that this share of the query led to before is not a weak match: half of its words, once, are 0.25."""

_LEAST_LIKENESS = 0.1
"""Below it a tool that has no word of the query does not match."""


@dataclass(frozen=True)
class Hit:
    """A tool that was found."""

    tool: ToolEntry
    score: float
    """How well it matches, 0 to 1: the fraction of what its words could score; with an embedder, the average of that,
    its likeness, and that of its server's tools."""
    is_weak: bool = False
    """Whether it may well not be what is wanted."""


class ToolSearch:
    """An index over the tools of some servers.

    Args:
        servers: Their tools.
        vectors: The tools' vectors in order, if an embedder is used.
        indexes: What `indexes` of an earlier one over the same servers was, which spares making them.
    """

    def __init__(
        self,
        servers: Sequence[ServerEntry],
        vectors: Sequence[Sequence[float]] | None = None,
        *,
        indexes: tuple[WordIndex, WordIndex] | None = None,
    ) -> None:
        self.tools: list[ToolEntry] = [tool for server in servers for tool in server.tools]
        self._server_of = [number for number, server in enumerate(servers) for _ in server.tools]
        ends = list(accumulate(len(server.tools) for server in servers))
        self._spans = [slice(start, end) for start, end in pairwise([0, *ends])]
        abouts = {server.name: server.about for server in servers}
        if indexes is None:
            documents = [_tool_document(tool, abouts[tool.server_name]) for tool in self.tools]
            of_servers = [_server_document(server) for server in servers]
            indexes = WordIndex(documents, TOOL_FIELDS), WordIndex(of_servers, SERVER_FIELDS)
        self.indexes: tuple[WordIndex, WordIndex] = indexes
        self._index, self._servers = indexes
        self._names = NameIndex([words(tool.name) for tool in self.tools], self._index)
        self.servers = servers
        self.vectors_of: object = None
        """What the vectors were last asked of."""
        self._vectors: Any = None
        self.use_vectors(vectors, None)
        self._servers_by_normal: dict[str, list[int]] = {}
        for number, server in enumerate(servers):
            self._servers_by_normal.setdefault(normal(server.name), []).append(number)
        self._by_normal: dict[str, list[int]] = {}
        self._by_name: dict[str, list[int]] = {}
        for number, tool in enumerate(self.tools):
            for form in (tool.name, tool.reference):
                self._by_name.setdefault(form, []).append(number)
            for form in {normal(tool.name), normal(tool.reference)}:
                self._by_normal.setdefault(form, []).append(number)

    def use_vectors(self, vectors: Sequence[Sequence[float]] | None, source: object) -> None:
        """Search by meaning, too, or no more.

        Args:
            vectors: The tools' vectors in order.
            source: Kept as `vectors_of`.
        """
        self.vectors_of = source
        self._vectors = None
        if vectors is not None:
            import numpy

            self._vectors = numpy.array(vectors)

    def find(
        self,
        query: str,
        limit: int = 5,
        *,
        servers: Sequence[str] | None = None,
        server_hint: str | None = None,
        query_vector: Sequence[float] | None = None,
        learned: Learned | None = None,
    ) -> list[Hit]:
        """The best tools for a query, best first; empty only if no word and no meaning matches at all.

        Args:
            query: A tool's name or reference in any spelling, or a task in words.
            limit: Maximum number of tools.
            servers: Search only these.
            server_hint: The name of a server, or words about it: what matches there counts more. What is best without
                the hint stays among the hits.
            query_vector: The query's vector, if the tools have vectors.
            learned: Lifts what served similar queries before.
        """
        wanted = None if servers is None else set(servers)
        by_words = self._word_scores(query)
        likeness = self._likeness(query_vector)
        ranks = by_words if likeness is None else self._with_meaning(by_words, likeness)
        shares = {} if learned is None else learned.shares(asked_words(query))
        if shares:
            unit = max(by_words.values(), default=1.0) if likeness is None else 1.0
            ranks = self._lifted(ranks, shares, unit)
        # A name that is meant comes before whatever else fits.
        named = dict.fromkeys(self._named(query), math.inf)
        ranked = [
            (rank, -number)
            for number, rank in (ranks | named if named else ranks).items()
            if rank > 0 and (wanted is None or self.tools[number].server_name in wanted)
        ]
        best_without_hint = max(ranked, default=(0.0, 0))
        if server_hint:
            ranked = self._hinted(ranked, server_hint)
        best = [(-number, rank) for rank, number in heapq.nlargest(limit, ranked)]
        if len(best) == limit >= _VARIED_FROM:
            self._vary(best, ranked)
        rank, number = best_without_hint
        if server_hint and len(best) > 1 and all(other != -number for other, _ in best):
            best[-1] = -number, rank
        scores = {number: by_words.get(number, 0.0) for number, _ in best}
        if likeness is not None:
            scores = {number: self._score_with_meaning(number, score, likeness) for number, score in scores.items()}
        scores = {number: 1.0 if number in named else min(score, 1.0) for number, score in scores.items()}
        least = WEAK_BELOW if likeness is None else WEAK_BELOW_WITH_MEANING
        weak = {number for number, score in scores.items() if score < least}
        if likeness is None:
            weak |= self._verbs_only(query, scores.keys() - named.keys())
        weak = {number for number in weak if shares.get(self.tools[number].reference, 0.0) < PROVEN_SHARE}
        return [Hit(self.tools[number], score, is_weak=number in weak) for number, score in scores.items()]

    def _verbs_only(self, query: str, found: Set[int]) -> Set[int]:
        """Those of some tools that have at most verbs of the query, such as `list` of "list pods"."""
        objects = [word for word in asked_words(query) if worth(word) == 1.0 and word not in verbs()]
        return found - self._index.scores(objects).keys() if objects else set()

    def _score_with_meaning(self, number: int, by_words: float, likeness: Any) -> float:
        of_server = likeness[self._spans[self._server_of[number]]]
        return (by_words + max(0.0, float(likeness[number])) + max(0.0, float(of_server.mean()))) / 3

    def _vary(self, best: list[tuple[int, float]], ranked: Sequence[tuple[float, int]]) -> None:
        """Give the last place to another server if all are of one, and one scores nearly as well."""
        only = self._server_of[best[0][0]]
        if any(self._server_of[number] != only for number, _ in best):
            return
        rank, number = max((one for one in ranked if self._server_of[-one[1]] != only), default=(0.0, 0))
        if rank > CLOSE_SHARE * best[-1][1]:
            best[-1] = -number, rank

    def _named(self, query: str) -> list[int]:
        return self._by_name.get(query) or self._by_normal.get(normal(query), [])

    def _lifted(self, ranks: dict[int, float], shares: Mapping[str, float], unit: float) -> dict[int, float]:
        """The ranks with those of tools that served similar queries raised."""
        lifted = dict(ranks)
        for reference, share in shares.items():
            for number in self._by_name.get(reference, ()):
                lifted[number] = lifted.get(number, 0.0) + LEARNED_SHARE * unit * share
        return lifted

    def _hinted(self, ranked: Sequence[tuple[float, int]], hint: str) -> list[tuple[float, int]]:
        """The ranks with those of the hint's servers raised: the one that it names, else those that its words match."""
        shares = dict.fromkeys(self._servers_by_normal.get(normal(hint), ()), 1.0)
        if not shares:
            matches = self._servers.scores(asked_words(hint))
            most = max(matches.values(), default=1.0)
            shares = {number: score / most for number, score in matches.items()}
        return [
            (rank * (1.0 + HINT_SHARE * shares.get(self._server_of[-number], 0.0)), number) for rank, number in ranked
        ]

    def _likeness(self, query_vector: Sequence[float] | None) -> Any:
        """How alike each tool and the query are, if both have vectors: an array."""
        return None if query_vector is None or self._vectors is None else self._vectors @ query_vector

    def _with_meaning(self, by_words: Mapping[int, float], likeness: Any) -> dict[int, float]:
        """Words and meaning, each in units of its own for this query, so that they add up."""
        spread = float(likeness.std()) or 1.0
        deviations = ((likeness - likeness.mean()) * (MEANING_SHARE / spread)).clip(0.0)
        deviations[likeness < _LEAST_LIKENESS] = 0.0
        ranks: dict[int, float] = {number: deviations[number] for number in deviations.nonzero()[0].tolist()}
        best = max(by_words.values(), default=1.0) or 1.0
        for number, score in by_words.items():
            ranks[number] = float(ranks.get(number, 0.0)) + score / best
        return ranks

    def _word_scores(self, query: str) -> dict[int, float]:
        asked = asked_words(query)
        of_servers = self._servers.scores(asked)
        shares = [SERVER_SHARE * of_servers.get(number, 0.0) for number in range(self._servers.size)]
        server_of = self._server_of
        scores = {number: score + shares[server_of[number]] for number, score in self._index.scores(asked).items()}
        for number, score in self._index.phrase_scores(words(without_values(query))).items():
            scores[number] = scores.get(number, 0.0) + score
        for number, share in self._names.shares(asked).items():
            if number in scores:
                scores[number] *= 1.0 + NAME_SHARE * share
        best = (self._index.best_possible(asked) + SERVER_SHARE * self._servers.best_possible(asked)) or 1.0
        # What no tool has words for is asked for less likely than what all words are known of.
        scale = max(self._index.share_known(asked), _LEAST_KNOWN) / best
        return {number: score * scale for number, score in scores.items()}


def embedded_texts(server: ServerEntry, tool: ToolEntry) -> tuple[str, str]:
    """The texts of a tool for an embedder: what it does, and its parameters; twice the same if it takes none."""
    name = spelled_out(tool.name)
    does = joined([spelled_out(server.name), name, tool.description[:500], server.about[:100]])
    takes = joined(part for pair in parameters(tool.input_schema) for part in (spelled_out(pair[0]), pair[1]))
    return does, joined([name, takes[:400]]) if takes else does


def _tool_document(tool: ToolEntry, about_server: str) -> dict[str, str]:
    given = list(parameters(tool.input_schema))
    values = islice(allowed_values(tool.input_schema), _MOST_VALUES)
    return {
        "name": joined([tool.name, tool.title]),
        "server": tool.server_name,
        "about_server": about_server,
        "description": tool.description,
        "parameters": " ".join(name for name, _ in given),
        "about_parameters": " ".join([*(about for _, about in given), *values]),
    }


def _server_document(server: ServerEntry) -> dict[str, str]:
    return {
        "server": server.name,
        "about_server": server.about,
        "names": " ".join(tool.name for tool in server.tools),
        "descriptions": " ".join(tool.description for tool in server.tools),
    }
