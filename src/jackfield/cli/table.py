"""Tables for people on a terminal: columns as wide as needed, and one that is truncated if there is not enough room."""

from __future__ import annotations

from collections.abc import Sequence

from .text import one_cell

_GAP = "  "
_LEAST = 12
_CUT = "..."


def drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, squeeze: int, right: Sequence[int], color: bool
) -> str:
    """The table as text of at most `width` columns, unless the terminal is narrower than any table.

    Args:
        columns: The headings.
        rows: The cells, in plain text.
        width: Columns of the terminal.
        squeeze: Number of the column that is cut first.
        right: Numbers of the columns that are set to the right.
        color: Whether headings are set off.
    """
    from rich.cells import cell_len, set_cell_size

    cells = [list(columns), *([one_cell(cell) for cell in row] for row in rows)]
    # One endless name must not take the room of all other columns.
    most = max(_LEAST, width // 3)
    widths = [max(cell_len(row[number]) for row in cells) for number in range(len(columns))]
    widths = [one if number == squeeze else min(one, most) for number, one in enumerate(widths)]
    others = [number for number in range(len(columns)) if number != squeeze]
    room = width - len(_GAP) * len(others)
    least = min(widths[squeeze], _LEAST)
    while sum(widths[number] for number in others) > room - least:
        widest = max(others, key=widths.__getitem__)
        if widths[widest] <= _LEAST:
            break
        widths[widest] -= 1
    rest = room - sum(widths[number] for number in others)
    widths[squeeze] = min(widths[squeeze], max(rest, _LEAST))

    def fitted(text: str, number: int) -> str:
        space = widths[number]
        if cell_len(text) > space:
            return set_cell_size(text, space - len(_CUT)) + _CUT
        blank = " " * (space - cell_len(text))
        return blank + text if number in right else text + blank

    lines = [_GAP.join(fitted(cell, number) for number, cell in enumerate(row)).rstrip() for row in cells]
    if color:
        lines[0] = f"\x1b[1m{lines[0]}\x1b[0m"
    return "\n".join(lines)
