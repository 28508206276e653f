"""What was measured: figures with their spread, in rows, in one file of results."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Figure:
    """A median, and the middle half of what was measured."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        """Of one value or more."""
        if len(values) == 1:
            return cls(_rounded(values[0]), _rounded(values[0]), _rounded(values[0]), 1)
        low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(_rounded(middle), _rounded(low), _rounded(high), len(values))


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


@dataclass(frozen=True)
class Cell:
    """What one contestant has in a row.

    Args:
        value: In the row's unit; nothing where it cannot do it.
        ratio: To the base of the row, round by round: our raw SDK.
        own: To the raw SDK of its own environment, where that is another.
        note: Why there is no value, or what is to be known of it.
    """

    value: Figure | None = None
    ratio: Figure | None = None
    own: Figure | None = None
    note: str = ""


@dataclass(frozen=True)
class Row:
    """One thing that was measured, of all who can do it.

    Args:
        subject: The group that it belongs to.
        name: What was measured.
        unit: Of the values: `s`, or a word.
        at: Where it stands on the axis, for what grows.
    """

    subject: str
    name: str
    unit: str
    cells: dict[str, Cell]
    at: float | None = None


@dataclass
class Results:
    """One run."""

    about: dict[str, Any]
    rows: list[Row] = field(default_factory=list[Row])

    def of(self, subject: str) -> list[Row]:
        """The rows of a group."""
        return [row for row in self.rows if row.subject == subject]

    def row(self, subject: str, name: str) -> Row:
        """One row."""
        return next(row for row in self.of(subject) if row.name == name)

    def write(self, path: Path = RESULTS) -> None:
        """As JSON, a line for each cell."""
        rows: list[str] = []
        for row in self.rows:
            head = {"subject": row.subject, "name": row.name, "unit": row.unit, "at": row.at}
            cells = [f"   {json.dumps(name)}: {json.dumps(_compact(cell))}" for name, cell in row.cells.items()]
            rows.append(f"  {json.dumps(head)[:-1]},\n   " + '"cells": {\n' + ",\n".join(cells) + "}}")
        about = json.dumps(self.about, indent=1)
        path.write_text('{"about": ' + about + ',\n "rows": [\n' + ",\n".join(rows) + "\n ]}\n")

    @classmethod
    def read(cls, path: Path = RESULTS) -> Results:
        """What was written."""
        data = json.loads(path.read_text())
        rows = [
            Row(
                row["subject"],
                row["name"],
                row["unit"],
                {name: _cell(cell) for name, cell in row["cells"].items()},
                row["at"],
            )
            for row in data["rows"]
        ]
        return cls(data["about"], rows)


def _compact(cell: Cell) -> dict[str, Any]:
    return {key: value for key, value in asdict(cell).items() if value}


def _cell(data: Mapping[str, Any]) -> Cell:
    figures = {key: Figure(**data[key]) for key in ("value", "ratio", "own") if key in data}
    return Cell(**figures, note=data.get("note", ""))


def ratio(values: Sequence[float], base: Sequence[float]) -> Figure:
    """Of what was measured to what the base took in the same round."""
    return Figure.of([value / other for value, other in zip(values, base, strict=False)])


def row_of(
    subject: str,
    name: str,
    samples: Mapping[str, Sequence[float]],
    *,
    base: str = "",
    own: Mapping[str, str] | None = None,
    notes: Mapping[str, str] | None = None,
    unit: str = "s",
    at: float | None = None,
) -> Row:
    """A row of what was measured round by round.

    Args:
        subject: The group.
        name: What was measured.
        samples: By contestant, one value a round.
        base: The contestant that all are compared with.
        own: By contestant, the one of its own environment that it is compared with.
        notes: Of those that have no value, why.
        unit: Of the values.
        at: Where it stands on the axis.
    """
    cells: dict[str, Cell] = {}
    for contestant, values in samples.items():
        other = (own or {}).get(contestant, "")
        cells[contestant] = Cell(
            Figure.of(values),
            ratio(values, samples[base]) if base and base in samples and base != contestant else None,
            ratio(values, samples[other]) if other and other in samples and other != base else None,
        )
    cells |= {contestant: Cell(note=note) for contestant, note in (notes or {}).items() if contestant not in cells}
    return Row(subject, name, unit, cells, at)
