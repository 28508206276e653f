"""Tables for people on a terminal."""

from __future__ import annotations

import io
from collections.abc import Sequence

from .output import one_cell


def drawn(
    columns: Sequence[str], rows: Sequence[Sequence[str]], width: int, squeeze: int, right: Sequence[int], color: bool
) -> str:
    """The table as text of at most `width` columns; the column `squeeze` gives way first.

    Args:
        columns: The headings.
        rows: The cells, in plain text.
        width: Columns of the terminal.
        squeeze: Number of the column that is cut first.
        right: Numbers of the columns that are set to the right.
        color: Whether headings are set off.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, name in enumerate(columns):
        table.add_column(
            name,
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if number == squeeze else None,
            # One endless name must not take the room of all other columns.
            max_width=None if number == squeeze else max(12, width // 3),
            justify="right" if number in right else "left",
        )
    for row in rows:
        table.add_row(*(Text(one_cell(cell), overflow="ellipsis", no_wrap=True) for cell in row))
    file = io.StringIO()
    console = Console(
        file=file, width=width, force_terminal=color, no_color=not color, color_system="standard" if color else None,
        highlight=False, legacy_windows=False,
    )  # fmt: skip
    console.print(table)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())
