"""Names each cell of a table by its column, so that a phone can show a row as a list."""

from __future__ import annotations

import re
from html import escape, unescape

_TABLE = re.compile(r"<table>(.*?)</table>", re.DOTALL)
_ROW = re.compile(r"<tr>(.*?)</tr>", re.DOTALL)
_HEAD = re.compile(r"<th(?=[ >])[^>]*>(.*?)</th>", re.DOTALL)
_CELL = re.compile(r"<td(?=[ >])")
_TAG = re.compile(r"<[^>]*>")


def with_columns(html: str) -> str:
    """A page's content, whose tables keep their meaning however they are laid out."""
    return _TABLE.sub(lambda table: f'<table role="table">{_rows(table[1])}</table>', html)


def _rows(table: str) -> str:
    names = [" ".join(unescape(_TAG.sub("", head)).split()) for head in _HEAD.findall(table)]

    def row(match: re.Match[str]) -> str:
        columns = iter(names)

        def cell(_: re.Match[str]) -> str:
            name = next(columns, "")
            return '<td role="cell"' + (f' data-column="{escape(name)}"' if name else "")

        content = re.sub(r"<th(?=[ >])", '<th role="columnheader"', match[1])
        return f'<tr role="row">{_CELL.sub(cell, content)}</tr>'

    return _ROW.sub(row, table)
