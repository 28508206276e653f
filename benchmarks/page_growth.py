"""The part of the page on how cost grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import Cell, Results, Row
from .tables import duration, noted, number, table, times


@dataclass(frozen=True)
class Part:
    """One kind of growth.

    Args:
        title: Of the section.
        picture: The name of its picture.
        shows: What the picture shows.
        text: What was measured.
        tables: Its subjects in the results, and what each measured.
    """

    title: str
    picture: str
    shows: str
    text: str
    tables: dict[str, str]


GROWTH = (
    Part(
        "With servers",
        "servers",
        "Seconds and memory against the number of servers.",
        "Opened at once until the tools of all are listed; and one call by the router, which opens the server that it "
        "needs, and no other. Memory is that of the client's process.",
        {"growth_servers": "time", "growth_servers_memory": "memory, MB"},
    ),
    Part(
        "With tools",
        "tools",
        "Seconds to list, seconds to find, and tokens in the prompt against the number of tools.",
        "A server of so many tools is opened and listed; one is searched for among so many, by words and meaning; and "
        "so many tokens stand in the prompt.",
        {"growth_tools": "to open and list", "growth_tools_find": "to find one", "growth_tools_tokens": "tokens"},
    ),
    Part(
        "With sessions",
        "sessions",
        "Seconds and memory against the number of sessions.",
        "Sessions with one server over HTTP, opened at once, one a user, until each had a result; then a call on each "
        "at once. The server is one process, the same for all, and part of the time is its own. Memory is the "
        "client's.",
        {
            "growth_sessions": "until each had a result",
            "growth_sessions_call": "a call on each",
            "growth_sessions_memory": "memory, MB",
        },
    ),
    Part(
        "With what is answered",
        "payload",
        "Seconds a call against the bytes that it answers.",
        "A call on an open session that answers so many bytes.",
        {"growth_payload_stdio": "over stdio", "growth_payload_HTTP": "over HTTP"},
    ),
)

TITLES = {
    "raw": "raw SDK",
    "jackfield": "Jackfield",
    "jackfield_routed": "Jackfield, routed",
    "fastmcp": "`fastmcp.Client`",
    "jackfield_meaning": "Jackfield",
    "eager": "all definitions",
    "routed": "the router's tools",
    "answer": "an answer",
}


def growth(results: Results) -> str:
    """All four."""
    if not results.of("growth_servers"):
        return ""
    parts = ["## How cost grows"]
    for part in GROWTH:
        picture = f"![{part.shows}](images/benchmarks/{part.picture}.svg)"
        tables = [growing(what, results.of(subject)) for subject, what in part.tables.items()]
        parts += [f"### {part.title}", part.text, picture, *tables]
    return "\n\n".join(part for part in parts if part)


def growing(what: str, rows: Sequence[Row]) -> str:
    """A table with a column for each size; what has a ratio to the raw SDK shows that."""
    if not rows:
        return ""
    lines: list[list[str]] = []
    notes: list[str] = []
    for name, title in TITLES.items():
        cells = [row.cells.get(name, Cell()) for row in rows]
        if any(cell.value for cell in cells):
            lines.append([title, *(_shown(cell, f"{title}: {cell.note}", name, rows[0].unit, notes) for cell in cells)])
    below = " ".join(f"({place}) {note}." for place, note in enumerate(notes, 1))
    return "\n\n".join(part for part in (table([what, *(row.name for row in rows)], lines), below) if part)


def _shown(cell: Cell, note: str, name: str, unit: str, notes: list[str]) -> str:
    if cell.note:
        return f"- {noted(note, notes)}"
    if unit != "s":
        return number(cell.value.median) if cell.value and unit == "MB" else _whole(cell)
    # What has no ratio, for the raw SDK could not do it, is shown in seconds.
    return times(cell.ratio) if cell.ratio else duration(cell.value)


def _whole(cell: Cell) -> str:
    return f"{cell.value.median:,.0f}" if cell.value else "-"
