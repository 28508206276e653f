"""Figures of calls: how many, how many failed, and how long they took, in total and by minute for the last hour."""

from __future__ import annotations

import math
import time
from collections import Counter, deque
from dataclasses import dataclass, field, replace

MINUTES = 60
"""How far back the figures of a tool reach."""

_SMALLEST_MS = 0.1
_GROWTH = 1.1
"""From one class of durations to the next: a percentile is told to within 5 %."""


@dataclass(frozen=True)
class Figures:
    """Of a server, a tool or a user, since the gateway was started; percentiles are over the last hour."""

    calls: int
    errors: int
    """Completed calls without a result, or with a tool's own error."""
    live: int
    """Running calls."""
    last_at: float
    """When the last call began, in seconds since the epoch."""
    p50_ms: float | None = None
    """`None` if no call ended in the last hour, and of users."""
    p95_ms: float | None = None


@dataclass(frozen=True)
class Minute:
    """The calls of one minute."""

    at: float
    """When it began, in seconds since the epoch."""
    calls: int
    errors: int
    p50_ms: float | None
    p95_ms: float | None


@dataclass(slots=True)
class Totals:
    """Counters since the start."""

    calls: int = 0
    errors: int = 0
    live: int = 0
    last_at: float = 0.0

    def figures(self) -> Figures:
        """The counters as they are now."""
        return Figures(self.calls, self.errors, self.live, self.last_at)


@dataclass(slots=True)
class MinuteTotals:
    """Counters of one minute, and how many calls of it fell into each class of durations."""

    number: int
    calls: int = 0
    errors: int = 0
    durations: Counter[int] = field(default_factory=Counter[int])


class HourlyTotals:
    """The totals of a tool or a server, and its last hour."""

    def __init__(self) -> None:
        self.totals: Totals = Totals()
        self._minutes: deque[MinuteTotals] = deque(maxlen=MINUTES)
        self._percentiles: tuple[int, float | None, float | None] | None = None
        """The minute in which they were computed, and both: pages read all of them twice a second."""

    def add(self, began_at: float, ms: float, is_error: bool) -> None:
        """Count a call that ended."""
        number = int(began_at + ms / 1000) // 60
        if not self._minutes or self._minutes[-1].number < number:
            self._minutes.append(MinuteTotals(number))
        minute = self._minutes[-1]
        minute.calls += 1
        minute.errors += is_error
        minute.durations[_class_of(ms)] += 1
        self._percentiles = None

    def hour(self) -> list[MinuteTotals]:
        """The minutes of the last hour that had calls, oldest first."""
        oldest = minute_now() - MINUTES
        return [minute for minute in self._minutes if minute.number > oldest]

    def figures(self) -> Figures:
        """The totals, with the percentiles of the last hour."""
        now = minute_now()
        if self._percentiles is None or self._percentiles[0] != now:
            durations: Counter[int] = Counter()
            for minute in self.hour():
                durations.update(minute.durations)
            self._percentiles = now, percentile(durations, 0.5), percentile(durations, 0.95)
        _, p50_ms, p95_ms = self._percentiles
        return replace(self.totals.figures(), p50_ms=p50_ms, p95_ms=p95_ms)


def minute_now() -> int:
    """The number of the current minute since the epoch."""
    return int(time.time()) // 60


def _class_of(ms: float) -> int:
    return max(0, math.ceil(math.log(max(ms, _SMALLEST_MS) / _SMALLEST_MS, _GROWTH)))


def percentile(durations: Counter[int], part: float) -> float | None:
    """The duration that this part of the calls stays within, in milliseconds."""
    needed, passed = math.ceil(durations.total() * part), 0
    for number, count in sorted(durations.items()):
        passed += count
        if passed >= needed:
            return _SMALLEST_MS * _GROWTH ** (number - 0.5)
    return None
