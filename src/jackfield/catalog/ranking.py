"""Ranking of tools by words: BM25F over name, server, description and parameters.

Source: Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.6.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, Self, cast

from ..plain import as_list, as_table
from .words import camel_parts, related, synonyms, words, worth


@dataclass(frozen=True)
class Field:
    """How one part of a document counts."""

    weight: float
    length_share: float
    """0: its length does not matter; 1: long ones count wholly less."""
    has_phrases: bool = False
    """Whether neighbouring words of it are kept, to be found as a phrase."""


# How these were chosen, and what each adds, is in benchmarks/routing/README.md.
TOOL_FIELDS = {
    "name": Field(2.0, 0.3, has_phrases=True),
    "server": Field(1.5, 0.3),
    "about_server": Field(0.2, 0.7),
    "description": Field(1.5, 0.7, has_phrases=True),
    "parameters": Field(0.5, 0.7),
    "about_parameters": Field(0.3, 0.7, has_phrases=True),
}
SERVER_FIELDS = {
    "server": Field(2.0, 0.3),
    "about_server": Field(1.0, 0.5),
    "names": Field(1.0, 0.5),
    "descriptions": Field(0.5, 0.7),
}
SATURATION = 1.2
SERVER_SHARE = 0.6
"""How much it counts that the server as a whole fits."""
PHRASE_SHARE = 0.5
"""Weight of two neighbouring words of the query that a tool has next to each other, too."""
NAME_SHARE = 0.2
"""How much more a tool scores whose name the query has in full, if that is several words."""
SYNONYM_SHARE = 0.4
RELATED_SHARE = 0.25
RELATED_INSTEAD_SHARE = 0.5
"""That of a related word if no tool has the query's own."""
START_SHARE = 0.4
"""That of a word with the same beginning, such as another form that stemming does not know."""
TYPO_SHARE = 0.6
_TYPO_LENGTH = 5
_START_LENGTH = 5
_OTHER_END = 2
_LENGTH_DIFFERENCE = 6


class WordIndex:
    """An inverted index over documents of several fields.

    Args:
        documents: Each a text for each field.
        fields: How the fields count.
    """

    def __init__(self, documents: Sequence[Mapping[str, str]], fields: Mapping[str, Field]) -> None:
        self.size: int = len(documents)
        frequencies: dict[str, dict[int, float]] = {}
        phrases: dict[str, set[int]] = {}
        for name, field in fields.items():
            split = [words(document.get(name, "")) for document in documents]
            filled = sum(bool(tokens) for tokens in split)
            average = sum(map(len, split)) / filled if filled else 1.0
            for number, tokens in enumerate(split):
                scale = field.weight / (1 - field.length_share + field.length_share * len(tokens) / average)
                for token in tokens:
                    of_token = frequencies.setdefault(token, {})
                    of_token[number] = of_token.get(number, 0.0) + scale
                if field.has_phrases:
                    for pair in pairwise(tokens):
                        phrases.setdefault(" ".join(pair), set()).add(number)
        self._phrases: Mapping[str, Collection[int]] = phrases
        self._scores: dict[str, dict[int, float]] = {}
        for token, of_token in frequencies.items():
            rarity = self._rarity(len(of_token))
            self._scores[token] = {
                number: rarity * frequency / (SATURATION + frequency) for number, frequency in of_token.items()
            }

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """An index from what `written` returned.

        Raises:
            LookupError, TypeError, ValueError: It is something else.
        """
        index = cls([], {})
        index.size = int(data["size"])
        index._scores = {word: dict(zip(*pair, strict=True)) for word, pair in data["scores"].items()}
        index._phrases = {
            str(phrase): [int(number) for number in numbers] for phrase, numbers in data["phrases"].items()
        }
        return index

    def written(self) -> dict[str, Any]:
        """All of it as plain data."""
        scores = {word: [list(of), [round(score, 5) for score in of.values()]] for word, of in self._scores.items()}
        phrases = {phrase: sorted(numbers) for phrase, numbers in self._phrases.items()}
        return {"size": self.size, "scores": scores, "phrases": phrases}

    def _rarity(self, count: int) -> float:
        return math.log(1 + (self.size - count + 0.5) / (count + 0.5))

    @cached_property
    def _near(self) -> Mapping[str, Sequence[str]]:
        """The words by their form without one letter; built when a query has a word that no document has."""
        near: dict[str, list[str]] = {}
        for token in self._scores:
            if len(token) >= _TYPO_LENGTH:
                for form in _without_one(token):
                    near.setdefault(form, []).append(token)
        return near

    @cached_property
    def _starting(self) -> Mapping[str, Sequence[str]]:
        """The words by their first letters."""
        starting: dict[str, list[str]] = {}
        for token in self._scores:
            if len(token) >= _START_LENGTH - 1:
                starting.setdefault(token[: _START_LENGTH - 1], []).append(token)
        return starting

    def scores(self, asked: Sequence[str]) -> dict[int, float]:
        """The documents that have any of the words, or what stands for them, with their scores."""
        found: dict[int, float] = {}
        for word in asked:
            own, weight = self._scores.get(word, {}), worth(word)
            for number, score in own.items():
                found[number] = found.get(number, 0.0) + weight * score
            instead: dict[int, float] = {}
            for other, share in self._stand_ins(word, asked):
                for number, score in self._scores.get(other, {}).items():
                    if share * score > instead.get(number, 0.0):
                        instead[number] = share * score
            for number, score in instead.items():
                if (beyond := score - own.get(number, 0.0)) > 0:
                    found[number] = found.get(number, 0.0) + weight * beyond
        return found

    def phrase_scores(self, asked: Sequence[str]) -> dict[int, float]:
        """The documents that have neighbouring words of a query next to each other, too.

        Args:
            asked: The query's words in order.
        """
        found: dict[int, float] = {}
        for phrase in dict.fromkeys(pairwise(asked)):
            if documents := self._phrases.get(" ".join(phrase)):
                score = PHRASE_SHARE * self._rarity(len(documents))
                for number in documents:
                    found[number] = found.get(number, 0.0) + score
        return found

    def best_of(self, word: str) -> float:
        """The most that a word scores in any document; if none has it, about what a rare one would."""
        if word in self._scores:
            return max(self._scores[word].values())
        return math.log(1 + (self.size + 0.5) / 0.5)

    def best_possible(self, asked: Sequence[str]) -> float:
        """Approximate score of a document that has every word of the query."""
        return sum(worth(word) * self.best_of(word) for word in asked)

    def share_known(self, asked: Sequence[str]) -> float:
        """The share of a query's words that any document has."""
        total = sum(map(worth, asked))
        return sum(worth(word) for word in asked if word in self._scores) / total if total else 1.0

    def _stand_ins(self, word: str, asked: Sequence[str]) -> Iterator[tuple[str, float]]:
        is_known = word in self._scores
        for others, share in (
            (synonyms().get(word, ()), SYNONYM_SHARE),
            (related().get(word, ()), RELATED_SHARE if is_known else RELATED_INSTEAD_SHARE),
            (self._alike_at_start(word), START_SHARE),
            (() if is_known else self._one_letter_away(word), TYPO_SHARE),
        ):
            for other in others:
                if other not in asked:
                    yield other, share

    def _alike_at_start(self, word: str) -> Iterator[str]:
        for other in self._starting.get(word[: _START_LENGTH - 1], ()):
            longest = max(_START_LENGTH, min(len(word), len(other)) - _OTHER_END)
            is_alike = other.startswith(word[:longest]) or word.startswith(other[:longest])
            if is_alike and other != word and abs(len(other) - len(word)) <= _LENGTH_DIFFERENCE:
                yield other

    def _one_letter_away(self, word: str) -> set[str]:
        if len(word) < _TYPO_LENGTH:
            return set()
        return {token for form in _without_one(word) for token in self._near.get(form, ())}


class NameIndex:
    """Names of several words, to see which of them a query has.

    Args:
        names: Each as its words.
        index: Says how rare they are.
    """

    def __init__(self, names: Sequence[Sequence[str]], index: WordIndex) -> None:
        self._shares: dict[str, list[tuple[int, float]]] = {}
        for number, name in enumerate(names):
            weights = {word: index.best_of(word) for word in name}
            total = sum(weights.values())
            for word, weight in weights.items() if len(weights) > 1 else ():
                self._shares.setdefault(word, []).append((number, weight / total))

    def shares(self, asked: Sequence[str]) -> dict[int, float]:
        """The share of each name that the query has, where it has two words of it or more."""
        first: dict[int, float] = {}
        found: dict[int, float] = {}
        for word in asked:
            for number, share in self._shares.get(word, ()):
                if number in first:
                    found[number] = found.get(number, first[number]) + share
                else:
                    first[number] = share
        return found


def _without_one(word: str) -> list[str]:
    """The word, and it without each one of its letters: two words that share a form differ by one letter."""
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def parameters(schema: object) -> Iterator[tuple[str, str]]:
    """Names and descriptions of a tool's parameters, including nested objects."""
    for name, inner in as_table(as_table(schema).get("properties")).items():
        about = as_table(inner).get("description")
        yield name, about if isinstance(about, str) else ""
        yield from parameters(inner)


def allowed_values(schema: object) -> Iterator[str]:
    """The words that a tool's parameters take as values, including nested objects and lists."""
    if isinstance(schema, Mapping):
        for name, inner in as_table(cast("object", schema)).items():
            if name == "enum":
                yield from (value for value in as_list(inner) if isinstance(value, str))
            else:
                yield from allowed_values(inner)
    elif isinstance(schema, list):
        for inner in as_list(cast("object", schema)):
            yield from allowed_values(inner)


def spelled_out(name: str) -> str:
    """A name as words: `getUserID` is `get user id`."""
    return " ".join(part.lower() for part in camel_parts(name))


def joined(parts: Iterable[str | None]) -> str:
    """The parts that there are, as one text."""
    return " ".join(part for part in parts if part)
