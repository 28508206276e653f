"""What was called after which words: a small file that lifts tools which served similar queries before.

It has words of queries and names of tools, no arguments and no results; it stays on this machine, and is readable only
by the user. `JACKFIELD_LEARN=0` turns it off.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ..files import write_private
from ..masking import mask
from ..plain import as_table
from .words import asked_words, without_values, worth

logger: logging.Logger = logging.getLogger("jackfield")

_SCHEMA_VERSION = 1
_HALF_LIFE_SECONDS = 30 * 24 * 3600.0
_MOST_TOOLS = 500
_MOST_WORDS = 40
_MOST_COUNT = 20.0
_LEAST_COUNT = 0.05
_LOCK_SECONDS = 0.5
_CERTAIN_AFTER = 1.0
"""A word that led to a tool once, and to no other, says half as much as one that always did."""

# What may be a secret or a name: quoted texts, assignments, what has digits, and long words.
_VALUES = re.compile(
    r"""
    "[^"]*" | (?<!\w)'[^']*' | \w*(?:pass|token|secret|key)\w*\s*[:=]\s*\S+ | \S*[:=@]\S+ | \S*\d\S* | \S{21,}
    """,
    re.VERBOSE | re.IGNORECASE,
)

# A mail address or an assignment, as a whole: what is within it must not pass for a file's name. URLs stay, and count
# as "url".
_ADDRESSES = re.compile(r"(?<!\S)(?!https?://)\S*[=@]\S*")

Counts = dict[str, tuple[float, float]]
"""For each word how often it led to a tool, and when last, in seconds since the epoch."""


class Learned:
    """Which words led to which tools.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stamp: tuple[int, int] | None = None
        self._tools: dict[str, Counts] = {}

    @property
    def is_on(self) -> bool:
        """Whether calls are remembered and count."""
        return os.environ.get("JACKFIELD_LEARN", "1").strip().lower() not in ("0", "false", "no", "off")

    def learn(self, queries: Sequence[str], reference: str) -> None:
        """Remember that a tool was called successfully after these queries."""
        texts = [_VALUES.sub(" ", without_values(_ADDRESSES.sub(" ", mask(query)))) for query in queries]
        words = {word for text in texts for word in asked_words(text) if worth(word) == 1.0}
        if not self.is_on or not words:
            return
        now = time.time()

        def more(tools: dict[str, Counts]) -> None:
            counts = {word: (_aged(*count, now), count[1]) for word, count in tools.pop(reference, {}).items()}
            for word in words:
                counts[word] = min(counts.get(word, (0.0, now))[0] + 1.0, _MOST_COUNT), now
            best = sorted(counts.items(), key=lambda one: -one[1][0])[:_MOST_WORDS]
            # The one that was used last is the last to go.
            tools[reference] = {word: count for word, count in best if count[0] >= _LEAST_COUNT}
            for oldest in list(tools)[:-_MOST_TOOLS]:
                del tools[oldest]

        self._change(more)

    def shares(self, asked: Sequence[str]) -> dict[str, float]:
        """For each tool that such words led to, how far they did: 0 to 1.

        Args:
            asked: The query's words.
        """
        telling = [word for word in asked if worth(word) == 1.0]
        if not telling or not self.is_on:
            return {}
        now = time.time()
        tools = self._read()
        aged = {
            reference: {word: _aged(*counts[word], now) for word in telling if word in counts}
            for reference, counts in tools.items()
        }
        totals = {word: sum(counts.get(word, 0.0) for counts in aged.values()) for word in telling}
        return {
            reference: sum(count / (totals[word] + _CERTAIN_AFTER) for word, count in counts.items()) / len(telling)
            for reference, counts in aged.items()
            if counts
        }

    def forget(self) -> bool:
        """Remove the file; returns whether there was one."""
        self._tools, self._stamp = {}, None
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _read(self) -> dict[str, Counts]:
        try:
            status = self._path.stat()
        except OSError:
            self._tools, self._stamp = {}, None
            return self._tools
        stamp = (status.st_mtime_ns, status.st_size)
        if stamp != self._stamp:
            self._tools, self._stamp = _parsed(self._path), stamp
        return self._tools

    def _change(self, change: Callable[[dict[str, Counts]], None]) -> None:
        from filelock import FileLock, Timeout

        with contextlib.suppress(OSError, Timeout):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with FileLock(self._path.with_suffix(".lock"), timeout=_LOCK_SECONDS, mode=0o600):
                tools = dict(self._read())
                change(tools)
                data = {"schema_version": _SCHEMA_VERSION, "tools": tools}
                write_private(self._path, json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _aged(count: float, since: float, now: float) -> float:
    """A count as it is worth now."""
    return count * 0.5 ** (max(0.0, now - since) / _HALF_LIFE_SECONDS)


def _parsed(path: Path) -> dict[str, Counts]:
    """The file's content; empty if it cannot be read or is of another version."""
    try:
        data = as_table(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}
    if data.get("schema_version") != _SCHEMA_VERSION:
        return {}
    return {reference: _counts(counts) for reference, counts in as_table(data.get("tools")).items()}


def _counts(data: object) -> Counts:
    counts: Counts = {}
    pairs: Mapping[str, object] = as_table(data)
    for word, pair in pairs.items():
        match pair:
            case [int() | float() as count, int() | float() as since]:
                counts[word] = float(count), float(since)
            case _:
                pass
    return counts
