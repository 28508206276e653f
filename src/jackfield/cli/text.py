"""Text for people: safe for terminals; times, counts, and wording that several commands share."""

from __future__ import annotations

_UNITS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def printable(text: str, keep: str = "") -> str:
    """The text with control characters replaced: what a server wrote must not steer the terminal.

    Args:
        text: Anything.
        keep: Characters that may stay, such as line ends.
    """
    return "".join(char if char.isprintable() or char in keep else "?" for char in text)


def one_cell(text: str) -> str:
    """The text in one line without tabs, so that a line stays a row."""
    return printable(" ".join(text.split()))


def ago(seconds: float) -> str:
    """How long ago something was: `3 h ago`."""
    return f"{span(seconds)} ago" if seconds >= 1 else "just now"


def span(seconds: float) -> str:
    """A time span in its largest unit: `3 h`."""
    for size, unit in _UNITS:
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return "0 s"


def duration(seconds: float) -> str:
    """A time span: `1.9 s`, `25 ms`."""
    return f"{seconds * 1000:.0f} ms" if seconds < 0.1 else f"{seconds:.1f} s"


def count(number: int, one: str, many: str = "") -> str:
    """A number of things: `1 tool`, `3 tools`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def state_lost(server_name: str) -> str:
    """The note that a session was reopened."""
    return f"The session of {server_name} was lost and reopened: the server's state for it was lost."
