"""Cuts a whole task, given as one query, into its steps, so that each finds its own tools. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..catalog.words import asked_words, worth

_BETWEEN = re.compile(
    r"""
    \s*[\r\n]+\s*                                  # lines
    | (?<=[\w)"'][\w)"'][.!?;])\s+(?=[A-Z0-9"'(*-])        # sentences
    | ;\s+
    | ,?\s+(?:and\s+)?(?:then|afterwards|after\s+that|finally|lastly)\s*,?\s+
    """,
    re.VERBOSE | re.IGNORECASE,
)
_NUMBER = re.compile(r"^\s*(?:\(?\d{1,2}[.):]|[-*\u2022])\s+")
_LINKED = re.compile(r"^(?:and|then|next|first(?:ly)?|finally|lastly|afterwards|after that)\b[,\s]*", re.IGNORECASE)
_LEAST_WORDS = 2
_LEAST_WORDS_OF_ALL = 8


def steps_of(task: str, most: int) -> Sequence[str]:
    """The steps of a task in order; the task itself if it is short or has only one.

    Args:
        task: What is to be done, in words.
        most: How many steps at most; what follows belongs to the last one.
    """
    if _telling(task) < _LEAST_WORDS_OF_ALL:
        return [task]
    parts = [_LINKED.sub("", _NUMBER.sub("", part)).strip(" ,") for part in _BETWEEN.split(task)]
    steps = [part for part in parts if _telling(part) >= _LEAST_WORDS]
    if len(steps) > most:
        steps = [*steps[: most - 1], " ".join(steps[most - 1 :])]
    return steps if len(steps) > 1 else [task]


def _telling(text: str) -> int:
    """How many words say what is wanted."""
    return sum(worth(word) == 1.0 for word in asked_words(text))
