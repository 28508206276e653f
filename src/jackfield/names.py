"""Misspelt names: the known names that were probably meant, for hints and for searches."""

from __future__ import annotations

from collections.abc import Iterable

_LEAST = 0.5
"""How much like what was written a name has to be."""
_FAR = 0.2
"""A name that is so much less like it than the nearest is not meant."""


def normal(name: str) -> str:
    """A name without case and separators."""
    return "".join(char for char in name.lower() if char.isalnum())


def nearest(name: str, names: Iterable[str], count: int = 3) -> list[str]:
    """The names most like `name`, best first; case and separators do not count."""
    by_normal: dict[str, list[str]] = {}
    for candidate in names:
        by_normal.setdefault(normal(candidate), []).append(candidate)
    if same := by_normal.get(normal(name)):
        return same[:count]
    import difflib

    wanted = normal(name)
    matches = difflib.get_close_matches(wanted, by_normal, n=count, cutoff=_LEAST)
    likeness = {match: difflib.SequenceMatcher(None, match, wanted).ratio() for match in matches}
    matches = [match for match in matches if likeness[match] >= likeness[matches[0]] - _FAR]
    return [candidate for match in matches for candidate in by_normal[match]][:count]


def did_you_mean(name: str, names: Iterable[str], what: str) -> str:
    """A hint that names the nearest of `names`, or else all of them."""
    known = list(names)
    if not known:
        return f"No {what}s are known."
    close = nearest(name, known)
    if close:
        return "Did you mean " + " or ".join(repr(match) for match in close) + "?"
    shown = ", ".join(known[:12]) + (f", ... ({len(known)} in all)" if len(known) > 12 else "")
    return f"Known {what}s: {shown}."
