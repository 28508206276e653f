"""What was seen, as the table of `docs/compare.md`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .tasks import GROUPS, TOOLS

HERE = Path(__file__).parent
SEEN = HERE / "seen.json"
PAGE = HERE.parents[1] / "docs" / "compare.md"
TITLES = {"jackfield": "Jackfield", "mcporter": "mcporter", "fastmcp": "FastMCP", "inspector": "MCP Inspector"}
_MARKS = re.compile(r"(<!-- seen -->\n).*(<!-- /seen -->)", re.DOTALL)

Seen = dict[str, dict[str, dict[str, Any]]]


def read_seen() -> Seen:
    """What was seen, by task and command."""
    return json.loads(SEEN.read_text()) if SEEN.exists() else {}


def write_seen(seen: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
    """Record it, a line for each command."""
    tasks: list[str] = []
    for task, by_tool in seen.items():
        lines = [f"  {json.dumps(tool)}: {json.dumps(found, ensure_ascii=False)}" for tool, found in by_tool.items()]
        tasks.append(f" {json.dumps(task)}: {{\n" + ",\n".join(lines) + "\n }")
    SEEN.write_text("{\n" + ",\n".join(tasks) + "\n}\n")


def versions() -> dict[str, str]:
    """The version of each of the other commands."""
    lines = [line.split() for line in (HERE / "versions.txt").read_text().splitlines() if not line.startswith("#")]
    return {tool: re.split("[=@]+", first)[-1] for tool, _, first, *_ in lines}


def cell(found: Mapping[str, Any]) -> str:
    """What a command did, in a word, its exit code, and what it printed."""
    if found["works"] is None:
        return "not offered"
    shows = found["shows"].replace("|", "\\|").replace("`", "'")
    ended = [] if found["exit_code"] is None else [str(found["exit_code"])]
    return ", ".join(["yes" if found["works"] else "**no**", *ended]) + (f"<br>`{shows}`" if shows else "")


def table() -> str:
    """All that the page says between its marks."""
    seen, known = read_seen(), versions()
    titles = " | ".join(f"{TITLES[tool]} {known.get(tool, '')}".strip() for tool in TOOLS)
    lines: list[str] = []
    for group, tasks in GROUPS.items():
        lines += [f"## {group}", "", f"| | {titles} |", f"|---|{'---|' * len(TOOLS)}"]
        lines += [f"| {task.text} | {' | '.join(cell(seen[task.name][tool]) for tool in TOOLS)} |" for task in tasks]
        lines.append("")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with the table in it."""
    return _MARKS.sub(lambda marks: f"{marks[1]}\n{table()}\n{marks[2]}", page)


def write_page() -> None:
    """Write it."""
    PAGE.write_text(written(PAGE.read_text()))
