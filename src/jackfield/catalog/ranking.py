"""Ranking of tools by words: BM25F over name, server, description and parameters.

Source: Robertson, Zaragoza, "The Probabilistic Relevance Framework: BM25 and Beyond" (2009), section 3.6.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from importlib.resources import files
from typing import Any, cast

from ..extras import load
from ..plain import as_table

_WORD = re.compile(r"[^\W_]+")
_CAMEL = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+|[^\WA-Za-z\d_]+")
_IDEOGRAPHS = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")
_URL = re.compile(r"https?://\S+")
# A path, or a file's name: what it is called says little of which tool is wanted, that it is a file says much.
_PATH = re.compile(r"(?<!\w)(?:[A-Za-z]:[\\/]|~?/|\.{1,2}/)[\w./\\~-]+|\b[\w-]+\.[a-z]{2,4}\d?\b")

_STOP_WORDS = frozenset(
    """
    a an and any are as at be been being but by can could did do does for from had has have how i if in into is it
    its let may me my of on or our please shall should so some such than that the their them then there these they
    this those to us using via was we were what when where which who will with would you your
    """.split()  # noqa: SIM905 - a list of them would be a page long
)


@cache
def _stemmer() -> Any:
    # Imported when the first text is split.
    return load("Stemmer", "Stemmer")("english")


@lru_cache(maxsize=65536)
def _stemmed(word: str) -> str:
    return cast("str", _stemmer().stemWord(word))


@lru_cache(maxsize=4096)
def words(text: str) -> tuple[str, ...]:
    """The text's words as they are compared: split at case and separators, folded, stemmed; no stop words.

    Scripts without spaces give pairs of neighbouring characters.
    """
    return tuple(_split(text))


def _split(text: str) -> Iterator[str]:
    for chunk in _WORD.findall(unicodedata.normalize("NFKC", text)):
        for part in _CAMEL.findall(chunk):
            if _IDEOGRAPHS.fullmatch(part):
                yield from [part] if len(part) == 1 else [part[i : i + 2] for i in range(len(part) - 1)]
            elif (word := part.lower()) not in _STOP_WORDS:
                yield _stemmed(word)


def without_values(query: str) -> str:
    """A query in which paths and addresses are replaced by their kind, since their names do not describe a tool."""

    def kind(match: re.Match[str]) -> str:
        name = re.split(r"[/\\]", match[0])[-1]
        return f" file {name.rpartition('.')[2] if '.' in name else ''} "

    return _PATH.sub(kind, _URL.sub(" url ", query))


def asked_words(query: str) -> list[str]:
    """The words of a query, each once."""
    return list(dict.fromkeys(words(without_values(query))))


@cache
def synonyms() -> Mapping[str, frozenset[str]]:
    """For each word the others of its groups in `synonyms.txt`."""
    others: dict[str, set[str]] = {}
    text = files("jackfield.catalog").joinpath("synonyms.txt").read_text(encoding="utf-8")
    for line in text.splitlines():
        if line and not line.startswith("#"):
            group = set(words(line))
            for word in group:
                others.setdefault(word, set()).update(group - {word})
    return {word: frozenset(group) for word, group in others.items()}


@dataclass(frozen=True)
class Field:
    """How one part of a document counts."""

    weight: float
    length_share: float
    """0: its length does not matter; 1: long ones count wholly less."""


# How these were chosen, and what cross-validation says of them, stands in benchmarks/routing/README.md.
TOOL_FIELDS = {
    "name": Field(2.0, 0.3),
    "server": Field(1.5, 0.3),
    "about_server": Field(0.5, 0.7),
    "description": Field(0.75, 0.7),
    "parameters": Field(0.5, 0.7),
    "about_parameters": Field(0.3, 0.7),
}
SERVER_FIELDS = {
    "server": Field(2.0, 0.3),
    "about_server": Field(1.0, 0.5),
    "names": Field(1.0, 0.5),
    "descriptions": Field(0.5, 0.7),
}
SATURATION = 1.2
SERVER_SHARE = 0.5
"""How much it counts that the server as a whole fits."""
SYNONYM_SHARE = 0.4
TYPO_SHARE = 0.6
_TYPO_LENGTH = 5


class WordIndex:
    """An inverted index over documents of several fields.

    Args:
        documents: Each a text for each field.
        fields: How the fields count.
    """

    def __init__(self, documents: Sequence[Mapping[str, str]], fields: Mapping[str, Field]) -> None:
        self.size: int = len(documents)
        frequencies: dict[str, dict[int, float]] = {}
        for name, field in fields.items():
            split = [words(document.get(name, "")) for document in documents]
            filled = sum(bool(tokens) for tokens in split)
            average = sum(map(len, split)) / filled if filled else 1.0
            for number, tokens in enumerate(split):
                scale = field.weight / (1 - field.length_share + field.length_share * len(tokens) / average)
                for token in tokens:
                    of_token = frequencies.setdefault(token, {})
                    of_token[number] = of_token.get(number, 0.0) + scale
        self._scores: dict[str, dict[int, float]] = {}
        for token, of_token in frequencies.items():
            rarity = math.log(1 + (self.size - len(of_token) + 0.5) / (len(of_token) + 0.5))
            self._scores[token] = {
                number: rarity * frequency / (SATURATION + frequency) for number, frequency in of_token.items()
            }

    @cached_property
    def _near(self) -> Mapping[str, Sequence[str]]:
        """The words by their form without one letter; built when a query has a word that no document has."""
        near: dict[str, list[str]] = {}
        for token in self._scores:
            if len(token) >= _TYPO_LENGTH:
                for form in _without_one(token):
                    near.setdefault(form, []).append(token)
        return near

    def scores(self, asked: Sequence[str]) -> dict[int, float]:
        """The documents that have any of the words, or what stands for them, with their scores."""
        found: dict[int, float] = {}
        for word in asked:
            own = self._scores.get(word, {})
            for number, score in own.items():
                found[number] = found.get(number, 0.0) + score
            instead: dict[int, float] = {}
            for other, share in self._stand_ins(word, asked):
                for number, score in self._scores.get(other, {}).items():
                    if share * score > instead.get(number, 0.0):
                        instead[number] = share * score
            for number, score in instead.items():
                if (beyond := score - own.get(number, 0.0)) > 0:
                    found[number] = found.get(number, 0.0) + beyond
        return found

    def best_possible(self, asked: Sequence[str]) -> float:
        """Approximate score of a document that has every word of the query."""
        unknown = math.log(1 + (self.size + 0.5) / 0.5) / 2
        return sum(max(self._scores[word].values()) if word in self._scores else unknown for word in asked)

    def _stand_ins(self, word: str, asked: Sequence[str]) -> Iterator[tuple[str, float]]:
        for other in synonyms().get(word, ()):
            if other not in asked:
                yield other, SYNONYM_SHARE
        if word not in self._scores and len(word) >= _TYPO_LENGTH:
            for other in self._one_letter_away(word):
                yield other, TYPO_SHARE

    def _one_letter_away(self, word: str) -> set[str]:
        return {token for form in _without_one(word) for token in self._near.get(form, ())}


def _without_one(word: str) -> list[str]:
    """The word, and it without each one of its letters: two words that share a form differ by one letter."""
    return [word, *(word[:at] + word[at + 1 :] for at in range(len(word)))]


def parameters(schema: object) -> Iterator[tuple[str, str]]:
    """Names and descriptions of a tool's parameters, including nested objects."""
    for name, inner in as_table(as_table(schema).get("properties")).items():
        about = as_table(inner).get("description")
        yield name, about if isinstance(about, str) else ""
        yield from parameters(inner)


def spelled_out(name: str) -> str:
    """A name as words: `getUserID` is `get user id`."""
    return " ".join(part.lower() for part in _CAMEL.findall(name))


def joined(parts: Iterable[str | None]) -> str:
    """The parts that there are, as one text."""
    return " ".join(part for part in parts if part)
