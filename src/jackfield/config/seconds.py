"""Times in seconds: above which bound they can only be meant in milliseconds. Knows no models."""

from __future__ import annotations

FIVE_MINUTES = 300.0
HOUR = 3600.0
SIX_HOURS = 6 * HOUR
WEEK = 7 * 24 * HOUR

_IN_WORDS = {FIVE_MINUTES: "five minutes", HOUR: "an hour", SIX_HOURS: "six hours", WEEK: "a week"}


def implausible(seconds: float, longest: float) -> str | None:
    """What is odd about a time in seconds; `None` if it is at most `longest`, which is one of those above."""
    return f"{seconds:.12g} s is over {_IN_WORDS[longest]}: is it milliseconds?" if seconds > longest else None


def from_milliseconds(value: object) -> object:
    """A number of milliseconds, perhaps as text, in seconds; anything else as it is, for the models to refuse."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return value
    try:
        return float(value) / 1000
    except (ValueError, OverflowError):
        return value
