"""NotesServer: a notebook that lives as long as its session. Run: python notes_server.py streamable-http [--port N]

With the handshake protocol (2025-11-25) an HTTP client has a session id, and each session a notebook of its
own. The protocol of 2026-07-28 has no sessions: there `open_notebook` hands out a handle, and the other tools
take it as `notebook`. Notebooks are kept in memory, and only the last hundred.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections import OrderedDict

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel
from serving import run

server = MCPServer("NotesServer", instructions="Open a notebook, then add notes to it.", log_level="WARNING")


class Notebook:
    """Notes in an SQLite database of their own."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, text TEXT, tags TEXT)")


class Note(BaseModel):
    id: int
    text: str
    tags: list[str]


MAX_NOTEBOOKS = 100
notebooks: OrderedDict[str, Notebook] = OrderedDict()
"""By session id and by handle."""


def session_of(ctx: Context) -> str | None:
    """What stays the same for all calls of one session; `None` for an HTTP client without one."""
    if ctx.headers is None:
        return "the only client on this stdio"
    return ctx.headers.get("mcp-session-id")


def notebook_of(ctx: Context, handle: str | None) -> Notebook:
    """The caller's open notebook."""
    notebook = notebooks.get(handle or session_of(ctx) or "")
    if notebook is None:
        known = "Call open_notebook first" + (
            "." if session_of(ctx) else ", and give the handle it returns as notebook."
        )
        raise ToolError(f"No notebook is open. {known}")
    return notebook


def keep(name: str, notebook: Notebook) -> None:
    """Remember a notebook, and forget the oldest if there are too many."""
    notebooks[name] = notebook
    if len(notebooks) > MAX_NOTEBOOKS:
        notebooks.popitem(last=False)


@server.tool()
def open_notebook(name: str, ctx: Context) -> str:
    """Open a new, empty notebook."""
    notebook = Notebook(name)
    if session := session_of(ctx):
        keep(session, notebook)
        return f"Opened notebook {name!r} for this session."
    handle = secrets.token_hex(4)
    keep(handle, notebook)
    return f"Opened notebook {name!r}. Give notebook={handle!r} to the other tools."


@server.tool()
def add_note(text: str, ctx: Context, tags: list[str] | None = None, notebook: str | None = None) -> str:
    """Write a note into the open notebook."""
    opened = notebook_of(ctx, notebook)
    cursor = opened.database.execute("INSERT INTO notes (text, tags) VALUES (?, ?)", (text, ",".join(tags or [])))
    return f"Note {cursor.lastrowid} is in {opened.name!r}."


@server.tool()
def list_notes(ctx: Context, notebook: str | None = None) -> list[Note]:
    """All notes of the open notebook."""
    rows = notebook_of(ctx, notebook).database.execute("SELECT id, text, tags FROM notes ORDER BY id")
    return [Note(id=number, text=text, tags=[tag for tag in tags.split(",") if tag]) for number, text, tags in rows]


@server.tool()
def search_notes(query: str, ctx: Context, notebook: str | None = None) -> list[Note]:
    """Notes that have all words of the query."""
    words = query.lower().split()
    return [note for note in list_notes(ctx, notebook) if all(word in note.text.lower() for word in words)]


@server.tool()
def notebook_summary(ctx: Context, notebook: str | None = None) -> str:
    """How many notes the open notebook has, and their tags."""
    notes = list_notes(ctx, notebook)
    tags = sorted({tag for note in notes for tag in note.tags})
    return f"{notebook_of(ctx, notebook).name}: {len(notes)} notes; tags: {', '.join(tags) or 'none'}"


if __name__ == "__main__":
    run(server, "streamable-http")
