"""Misspelt names: the known names that were probably meant, for hints and for searches."""

from __future__ import annotations

from collections.abc import Iterable


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

    matches = difflib.get_close_matches(normal(name), by_normal, n=count, cutoff=0.5)
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
