"""Figures as the page shows them: cells, tables, and who is ahead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from .arena import OURS, PEERS, RAW, Contestant
from .figures import Cell, Figure, Row

RAW_1 = Contestant("raw_langchain_adapters", "raw SDK 1.x", "", "")
"""The older line of the SDK, in one of the environments that have it."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """In Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float) -> str:
    """With as many digits as say something."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"


def times(figure: Figure | None) -> str:
    """A ratio with its spread."""
    if figure is None:
        return "-"
    if figure.count == 1:
        return f"**{number(figure.median)}**"
    return f"**{number(figure.median)}** ({number(figure.low)} to {number(figure.high)})"


def duration(figure: Figure | None) -> str:
    """Seconds, as a person says them, with their spread."""
    if figure is None:
        return "-"
    unit, factor = ("s", 1.0) if figure.median >= 1 else ("ms", 1e3) if figure.median >= 1e-3 else ("µs", 1e6)
    value = f"{number(figure.median * factor)} {unit}"
    if figure.count == 1:
        return value
    return f"{value} ({number(figure.low * factor)} to {number(figure.high * factor)})"


def own(cell: Cell) -> Figure | None:
    """The ratio to the raw SDK of its own environment, which for ours is the only one there is."""
    return cell.own or cell.ratio


def short(row: Row) -> str:
    """A heading for a kind of call."""
    return row.name.replace(", one after another", "").replace(" answered", "")


def to_own_base(rows: Sequence[Row], titles: Sequence[str], contestants: Sequence[Contestant]) -> str:
    """A line for each contestant: to the raw SDK of its environment; the raw SDK itself in seconds. Notes below."""
    notes: list[str] = []
    first = [RAW.title, *(duration(row.cells[RAW.name].value) for row in rows)]
    others = [
        [one.title, *(_cell(one, row, notes, own) for row in rows)] for one in contestants if takes_part(one, rows)
    ]
    below = " ".join(f"({place}) {note}." for place, note in enumerate(notes, 1))
    return "\n\n".join(part for part in (table(["", *titles], [first, *others]), below) if part)


def to_one_base(rows: Sequence[Row], titles: Sequence[str], contestants: Sequence[Contestant]) -> str:
    """A line for each contestant: all to our raw SDK, so that they can be compared with one another."""
    lines = [
        [one.title, *(_cell(one, row, None, lambda cell: cell.ratio) for row in rows)]
        for one in contestants
        if takes_part(one, rows)
    ]
    return table(["", *titles], lines)


def takes_part(contestant: Contestant, rows: Sequence[Row]) -> bool:
    """Whether it was there."""
    return any(contestant.name in row.cells for row in rows)


def _cell(contestant: Contestant, row: Row, notes: list[str] | None, ratio: Callable[[Cell], Figure | None]) -> str:
    cell = row.cells.get(contestant.name, Cell())
    if cell.value is None and cell.note and notes is not None:
        return f"- {noted(f'{contestant.title}: {cell.note}', notes)}"
    return times(ratio(cell))


def noted(text: str, notes: list[str]) -> str:
    """The mark of a note below the table."""
    text = text.replace("NotImplementedError: ", "").rstrip(".")
    if text not in notes:
        notes.append(text)
    return f"({notes.index(text) + 1})"


def ahead(rows: Sequence[Row], names: Mapping[str, str], of: str = OURS.name) -> dict[str, list[str]]:
    """By row: who takes less time than ours where the middle halves do not overlap, and how much less; least first."""
    found: dict[str, list[str]] = {}
    for row in rows:
        ours = row.cells.get(of, Cell()).value
        shares: list[tuple[float, str]] = []
        for name, title in names.items():
            theirs = row.cells.get(name, Cell()).value
            if ours and theirs and theirs.high < ours.low:
                shares.append((theirs.median / ours.median, title))
        if shares:
            found[row.name] = [f"{title} {number(share)}" for share, title in sorted(shares)]
    return found


def verdict(rows: Sequence[Row]) -> str:
    """A list of the clients that are faster than Jackfield."""
    names = {RAW.name: "the raw SDK", RAW_1.name: "the raw SDK 1.x", **{one.name: one.title for one in PEERS}}
    return ahead_of("Jackfield", ahead(rows, names))


def ahead_of(what: str, found: Mapping[str, Sequence[str]]) -> str:
    """The sentence, and its list."""
    if not found:
        return f"**Faster than {what}**, beyond the spread: nobody."
    lines = "\n".join(f"- {name}: {', '.join(who)}" for name, who in found.items())
    return f"**Faster than {what}**, beyond the spread (their time as a fraction of Jackfield's):\n\n{lines}"
