"""What `find_tools` answers, in lines that cost a model few tokens. Pure."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Literal

from ..catalog.tools import ToolEntry
from ..errors import one_line
from ..json_schema import signature

if TYPE_CHECKING:
    from ..catalog.entry import CatalogEntry

Detail = Literal["signature", "schema"]

_LINE_TOKENS = 32.0
_SIGNATURE_TOKENS = 17.0
_SUMMARY_TOKENS = 6.0
_QUERY_TOKENS = 14.0
"""Estimated; see `_weight`. Five hits with their query stay below 200 tokens."""

_NAMED_SERVERS = 10
_NAMED_REASONS = 3
_FAILURE_CHARS = 70
_ABOUT_CHARS = 80
_READ_CHARS = 2000
"""Of what a server says of itself or of a tool, so much is looked at."""

_REASON_CHARS = 200
"""Of all reasons together why servers could not be opened: each answer repeats them."""


def answer_to(query: str, lines: Sequence[str]) -> str:
    """The lines for a query, or that there are none."""
    shown = query if _weight(query) <= _QUERY_TOKENS else _cut(query, _QUERY_TOKENS) + "..."
    if not lines:
        return f'"{shown}": no tool matches. Try other words.'
    return "\n".join([f'"{shown}":', *lines])


def server_line(name: str, entry: CatalogEntry | None, count: int) -> str:
    """A server in one line: how many tools it has, and what it says that it is."""
    about = one_line(entry.about if entry is not None else "", _READ_CHARS)
    about = about if len(about) <= _ABOUT_CHARS else f"{about[: _ABOUT_CHARS - 3].rstrip()}..."
    tools = f"{count} tool" if count == 1 else f"{count} tools"
    return f"{name} ({tools}): {about}" if about else f"{name} ({tools})"


def unlisted(servers: Sequence[str]) -> str:
    """Which servers were not searched, because nothing is known of them."""
    shown = ", ".join(servers[:_NAMED_SERVERS]) + (", ..." if len(servers) > _NAMED_SERVERS else "")
    return f"Not searched, their tools were never listed: {shown}. To see a server's tools, pass it as server."


def failing(servers: Sequence[tuple[str, CatalogEntry]], wait: float) -> str:
    """Which servers were not searched because they could not be opened, and why.

    Args:
        servers: Their names, and what the catalog knows of each.
        wait: Seconds until a search asks one of them again.
    """
    limit = _REASON_CHARS // min(max(1, len(servers)), _NAMED_REASONS)
    told = [f"{name} ({_failure(entry, limit)})" for name, entry in servers[:_NAMED_REASONS]]
    shown = "; ".join([*told, *(name for name, _ in servers[_NAMED_REASONS:_NAMED_SERVERS])])
    more = "; ..." if len(servers) > _NAMED_SERVERS else ""
    when = f", not before {max(1, round(wait))} s from now" if wait > 0 else ""
    return (
        f"Not searched, not listed yet: {shown}{more}. A server is tried again when you pass it as "
        f"server or call one of its tools, and when a search finds nothing{when}."
    )


def _failure(entry: CatalogEntry, limit: int = _FAILURE_CHARS) -> str:
    """When and why a server could not be opened."""
    minutes = max(0, round((time.time() - entry.failed_at) / 60))
    reason = one_line(entry.failure or "")
    cut = "..." if len(reason) > limit else ""
    return f"failed {minutes} min ago: {reason[:limit]}{cut}"


def tool_line(
    tool: ToolEntry,
    entry: CatalogEntry | None,
    *,
    is_open: bool,
    is_weak: bool = False,
    detail: Detail = "signature",
) -> str:
    """A tool in one line, or with its whole schema.

    Args:
        tool: The tool.
        entry: What the catalog knows of its server.
        is_open: Whether its server is open.
        is_weak: Whether it may well not be what was searched for.
        detail: Which of the two.
    """
    all_marks = [*(["weak match"] if is_weak else []), *_marks(tool, entry, is_open=is_open)]
    marks = " ".join(f"[{mark}]" for mark in all_marks)
    if detail == "schema":
        schema = json.dumps(tool.input_schema, ensure_ascii=False)
        return f"{tool.reference} {marks}\n  {one_line(tool.description, _READ_CHARS)}\n  {schema}".replace(" \n", "\n")
    shown = signature(tool.reference, tool.input_schema)
    if _weight(shown) > _SIGNATURE_TOKENS:
        shown = f"{_cut(shown, _SIGNATURE_TOKENS)}...)"
    room = max(_SUMMARY_TOKENS, _LINE_TOKENS - _weight(shown) - _weight(marks))
    summary = tool.description.strip().partition("\n")[0]
    if _weight(summary) > room:
        summary = _cut(summary, room) + "..."
    return " ".join(part for part in (f"{shown}: {summary}" if summary else shown, marks) if part)


def _marks(tool: ToolEntry, entry: CatalogEntry | None, *, is_open: bool) -> list[str]:
    """What to know of a tool before it is called."""
    marks: list[str] = []
    if is_open:
        marks.append("open")
    elif entry is not None and entry.failure is not None:
        marks.append(_failure(entry))
    elif entry is not None and entry.open_seconds:
        marks.append(f"not started ~{entry.open_seconds:.1f}s")
    else:
        marks.append("not started")
    if entry is not None and tool.name in entry.changed:
        marks.append("changed since accepted")
    if tool.annotations.get("readOnlyHint"):
        marks.append("read-only")
    elif tool.annotations.get("destructiveHint"):
        marks.append("destructive")
    return marks


def _weight(text: str) -> float:
    """About how many tokens a text is."""
    return sum(map(_weight_of, text))


@cache
def _weight_of(char: str) -> float:
    if not char.isascii():
        return 1.0
    return 0.1 if char == " " else 0.24 if char.islower() else 0.45 if char.isalnum() else 0.55


def _cut(text: str, tokens: float) -> str:
    """The beginning of a text, about that many tokens long."""
    for at, char in enumerate(text):
        tokens -= _weight_of(char)
        if tokens < 0:
            return text[:at].rstrip(" ,(:")
    return text
