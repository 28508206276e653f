"""Cached knowledge about servers and tools, as data and for people."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError, UnknownToolError
from ..names import did_you_mean, nearest
from .output import shown_path
from .text import count

if TYPE_CHECKING:
    from ..catalog.entry import CatalogEntry
    from ..catalog.tools import ToolEntry
    from .servers import Servers


def server_facts(servers: Servers, name: str) -> dict[str, Any]:
    """Cached knowledge about a server.

    `state` is that of the catalog (`cold`, `known`, `stale`), or `untrusted`, or `invalid`. `is_broken` says whether
    the last attempt to open the server failed, `is_valid` whether it can be used as it is configured, with the
    variables that are set now.
    """
    found = servers.found(name)
    facts: dict[str, Any] = {
        "name": name,
        "transport": None,
        "address": None,
        "tools": None,
        "state": "invalid",
        "is_broken": False,
        "problem": None,
        "is_valid": False,
        "listed_at": None,
        "open_seconds": None,
        "file": str(found.source.path),
        "program": found.source.program,
        "scope": found.source.scope,
        "trust": servers.store.trust(found),
    }
    try:
        outline = found.outline(os.environ)
        facts["is_valid"] = True
    except ConfigError as error:
        facts["problem"] = problem_text(error)
        try:
            outline = found.outline(None)  # without the variables that are not set
        except ConfigError as unset_aside:
            return {**facts, "problem": problem_text(unset_aside)}
    catalog = servers.catalog
    entry, state = catalog.entry(outline), catalog.state(outline)
    facts |= {"transport": outline.transport, "address": outline.address, "state": state}
    facts["is_broken"] = catalog.is_broken(outline)
    if entry is not None:
        facts["problem"] = facts["problem"] or entry.failure
        if entry.fetched_at:
            facts |= {"tools": len(catalog.tools(outline)), "listed_at": entry.fetched_at}
        facts["open_seconds"] = entry.open_seconds
    if facts["trust"] != "trusted":
        facts["state"] = "untrusted"
    return facts


def state_text(facts: Mapping[str, Any]) -> str:
    """What is known of a server, and whether it failed, for people."""
    return f"{facts['state']}, broken" if facts["is_broken"] else str(facts["state"])


def problem_text(error: ConfigError) -> str:
    """What is wrong with an entry, without the file and the server, which are shown next to it."""
    if error.problem is None:
        return error.message
    return f"key {error.key!r}: {error.problem}" if error.key else error.problem


def wrong_entries(number: int) -> str:
    """How many entries are wrong, as `list` and `config check` say it."""
    return f"{count(number, 'entry is', 'entries are')} wrong."


def short_transport(transport: str | None) -> str:
    """A transport's name for people."""
    return {"streamable-http": "http", None: "?"}.get(transport, transport or "?")


def tool_facts(tool: ToolEntry, entry: CatalogEntry | None) -> dict[str, Any]:
    """Cached knowledge about a tool, without its schemas."""
    from ..json_schema import signature

    return {
        "reference": tool.reference,
        "server": tool.server_name,
        "name": tool.name,
        "signature": signature(tool.name, tool.input_schema),
        "title": tool.title,
        "description": tool.description,
        "annotations": dict(tool.annotations),
        "marks": tool_marks(tool, entry),
    }


def tool_marks(tool: ToolEntry, entry: CatalogEntry | None) -> list[str]:
    """What to know of a tool before it is called. The first two are the server's claims."""
    marks: list[str] = []
    if tool.annotations.get("readOnlyHint"):
        marks.append("read-only")
    elif tool.annotations.get("destructiveHint"):
        marks.append("destructive")
    if entry is not None and tool.name in entry.changed:
        marks.append("changed since accepted")
    return marks


def server_marks(entry: CatalogEntry | None) -> list[str]:
    """What to know of a server before a tool of it is called."""
    if entry is None:
        return []
    if entry.failure is not None:
        from .text import ago

        return [f"failed {ago(time.time() - entry.failed_at)}: {entry.failure}"]
    return []


def first_line(description: str) -> str:
    """The first line of a tool's description."""
    return description.strip().partition("\n")[0]


def resolve_tool(servers: Servers, reference: str) -> ToolEntry:
    """The tool that `SERVER.TOOL` names, by the catalog: exactly, else by case and separators.

    Raises:
        UnknownToolError: There is none, or its server was never listed; the hint says what to do.
        UnknownServerError: It names no server.
    """
    from ..routing.references import References

    outlines = servers.outlines()
    tools = [tool for outline in outlines for tool in servers.catalog.tools(outline)]
    references = References(tools, servers.names)
    server = references.server_of(reference)
    if server is not None and server_facts(servers, server)["tools"] is None:
        facts = server_facts(servers, server)
        if facts["state"] == "invalid":
            servers.outline(server)  # says what is wrong
        raise UnknownToolError(
            f"The tools of {server!r} are not known yet.",
            server_name=server,
            sent=False,
            hint=f"To ask it: jackfield refresh {server}",
        )
    names = [*servers.names, *(form for tool in tools for form in (tool.reference, tool.name))]
    is_near = bool(nearest(reference, names, 1))
    if not servers.names or (server is None and "." in reference and not is_near):
        servers.found(reference.partition(".")[0])
    try:
        return references.tool(reference)
    except UnknownToolError as error:
        if error.candidates:
            raise
        what = "tool" if "." in reference else "server or tool"
        if server is not None and (own := [tool.reference for tool in tools if tool.server_name == server]):
            names, is_near = own, True
        hint = did_you_mean(reference, names, "name") if is_near else "Look for it: jackfield find WORDS"
        raise UnknownToolError(
            f"There is no {what} {reference!r}.", server_name=server, sent=False, hint=hint
        ) from None


def unlisted_note(servers: Servers, names: Sequence[str]) -> str | None:
    """Which servers a search leaves out because nothing is known of them."""
    catalog, notes = servers.catalog, list[str]()
    outlines = [outline for outline in servers.outlines() if outline.server_name in names]
    unknown = [outline for outline in outlines if not catalog.is_listed(outline)]
    if cold := [outline.server_name for outline in unknown if not catalog.is_broken(outline)]:
        notes.append(f"Not searched, because never listed: {_some(cold)}. To ask them: jackfield refresh")
    if broken := [outline.server_name for outline in unknown if catalog.is_broken(outline)]:
        again = f"jackfield refresh {broken[0]}" if len(broken) == 1 else "jackfield refresh"
        notes.append(
            f"Not searched, because they could not be opened: {_some(broken)}. To see why and try again: {again}"
        )
    return "\n".join(notes) or None


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")


def where(facts: Mapping[str, Any]) -> str:
    """The state of a server, for people."""
    from pathlib import Path

    return shown_path(Path(facts["file"]))
