"""The words of queries and of tools' texts, as they are compared, and what may stand for a word."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any, cast

from ..extras import load

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
def stemmed(word: str) -> str:
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
                yield stemmed(word)


def camel_parts(name: str) -> list[str]:
    """A name, split at changes of case."""
    return _CAMEL.findall(name)


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
    return _others("synonyms.txt")


@cache
def verbs() -> frozenset[str]:
    """The verbs of `synonyms.txt`, which say what is to be done, but not with what."""
    lines = itertools.takewhile(lambda line: line != "--", _lines("synonyms.txt"))
    return frozenset(word for line in lines for word in words(line))


@cache
def related() -> Mapping[str, frozenset[str]]:
    """For each word the others of its groups in `related.txt`: of the same subject, but not the same thing."""
    return _others("related.txt")


def _others(file: str) -> Mapping[str, frozenset[str]]:
    others: dict[str, set[str]] = {}
    for line in _lines(file):
        group = set(words(line))
        for word in group:
            others.setdefault(word, set()).update(group - {word})
    return {word: frozenset(group) for word, group in others.items()}


def _lines(file: str) -> Iterator[str]:
    text = files("jackfield.catalog").joinpath(file).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))


TALK_WORTH = 0.35
GENERAL_WORTH = 0.65


@cache
def worths() -> Mapping[str, float]:
    """The worth of the words in `everyday.txt`."""
    worths: dict[str, float] = {}
    worth = TALK_WORTH
    for line in _lines("everyday.txt"):
        if line == "--":
            worth = GENERAL_WORTH
            continue
        for word in words(line):
            worths.setdefault(word, worth)
    return worths


def worth(word: str) -> float:
    """How much a query's word says of which tool is meant, however rare it is among the tools: 0 to 1.

    Few descriptions have the words of conversation, which would make them count as telling ones.
    """
    return worths().get(word, 1.0)
