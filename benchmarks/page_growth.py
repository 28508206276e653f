"""The section of the page on how cost grows."""

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
        "All servers opened concurrently, until the tools of all are listed; and one call through the router, which "
        "opens only the server that it needs. Memory is that of the client's process.",
        {"growth_servers": "time", "growth_servers_memory": "memory, MB"},
    ),
    Part(
        "With tools",
        "tools",
        "Seconds to list, seconds to find, and tokens in the prompt against the number of tools.",
        "The time to open and list a server with this many tools, the time to find one of them by words and meaning, "
        "and the tokens in the prompt.",
        {"growth_tools": "to open and list", "growth_tools_find": "to find one", "growth_tools_tokens": "tokens"},
    ),
    Part(
        "With sessions",
        "sessions",
        "Seconds and memory against the number of sessions.",
        "Sessions with one server over HTTP, one per user, opened concurrently until each has a result; then one call "
        "on each, concurrently. The server is one process, the same for all clients, and accounts for part of the "
        "time. Memory is that of the client's process.",
        {
            "growth_sessions": "until each has a result",
            "growth_sessions_call": "a call on each",
            "growth_sessions_memory": "memory, MB",
        },
    ),
    Part(
        "With the size of results",
        "payload",
        "Seconds per call against the size of the result in bytes.",
        "A call on an open session with a result of this size.",
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
    "answer": "a search result",
}


def growth(results: Results) -> str:
    """All four kinds of growth."""
    if not results.of("growth_servers"):
        return ""
    parts = ["## How cost grows"]
    for part in GROWTH:
        picture = f"![{part.shows}](images/benchmarks/{part.picture}.svg)"
        tables = [growing(what, results.of(subject)) for subject, what in part.tables.items()]
        parts += [f"### {part.title}", part.text, picture, *tables]
    return "\n\n".join(part for part in parts if part)


def growing(what: str, rows: Sequence[Row]) -> str:
    """A table with a column for each size; cells show the ratio to the raw SDK if there is one."""
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
    # Without a ratio, because the raw SDK could not do it, the cell shows seconds.
    return times(cell.ratio) if cell.ratio else duration(cell.value)


def _whole(cell: Cell) -> str:
    return f"{cell.value.median:,.0f}" if cell.value else "-"
