"""Full-text search over records of a JSON-lines file, with SQLite's FTS5 in memory."""

from __future__ import annotations

import difflib
import json
import re
import sqlite3
from pathlib import Path
from typing import Any

from mcp.server.mcpserver.exceptions import ToolError

DATA = Path(__file__).parent.parent / "data"


class TextIndex:
    """Records by key, found by the words in them.

    Args:
        file_name: A file of `data/`, one JSON object a line.
        key: The field that names a record.
        weights: The fields to search, and how much a word in each counts.
    """

    def __init__(self, file_name: str, key: str, weights: dict[str, float]) -> None:
        lines = (DATA / file_name).read_text(encoding="utf-8").splitlines()
        records = [json.loads(line) for line in lines if line]
        self.records: dict[str, dict[str, Any]] = {record[key]: record for record in records}
        self._weights = ", ".join(str(weight) for weight in weights.values())
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(
            f"CREATE VIRTUAL TABLE texts USING fts5(key UNINDEXED, {', '.join(weights)}, tokenize='porter')"
        )
        marks = ", ".join("?" * (len(weights) + 1))
        rows = [(name, *(_text(record[field]) for field in weights)) for name, record in self.records.items()]
        self._database.executemany(f"INSERT INTO texts VALUES ({marks})", rows)

    def search(self, query: str, limit: int) -> list[dict[str, Any]]:
        """The records that have the most telling of the query's words, best first."""
        # Each word in quotes: what a person types is no FTS5 expression.
        words = " OR ".join(f'"{word}"' for word in re.findall(r"\w+", query))
        if not words:
            return []
        found = self._database.execute(
            f"SELECT key FROM texts WHERE texts MATCH ? ORDER BY bm25(texts, 0, {self._weights}) LIMIT ?",
            (words, limit),
        )
        return [self.records[key] for (key,) in found]

    def get(self, key: str) -> dict[str, Any]:
        """One record.

        Raises:
            ToolError: There is none of that name; says which are like it.
        """
        if key in self.records:
            return self.records[key]
        by_lower = {name.lower(): name for name in self.records}
        if key.lower() in by_lower:
            return self.records[by_lower[key.lower()]]
        close = [by_lower[name] for name in difflib.get_close_matches(key.lower(), by_lower, n=3, cutoff=0.4)]
        raise ToolError(f"There is no {key!r}." + (f" Did you mean {' or '.join(map(repr, close))}?" if close else ""))


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(_text, value))
    return " ".join(map(_text, value.values())) if isinstance(value, dict) else str(value)
