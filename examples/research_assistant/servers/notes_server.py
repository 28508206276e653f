"""NotesServer: notebooks that live as long as their session. Run: python notes_server.py streamable-http [--port N]

Both eras of the protocol work. With the handshake (2025-11-25) a connection is a session, whose database is kept
in the connection's state and closed by its exit stack: the SDK unwinds that on DELETE, when the session was idle for
half an hour, when an SSE stream ends, and when the server stops. The protocol of 2026-07-28 has no sessions: there
`open_notebook` hands out a handle, and the other tools take it as `notebook`. Nobody says when a handle is done with,
so that only the hundred used last are kept. Over stdio the process is the session, in both eras.
"""

from __future__ import annotations

import functools
import json
import secrets
import sqlite3
from collections import OrderedDict

from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from mcp.types import ToolAnnotations
from per_session import connection_of
from pydantic import BaseModel

from serving import run

server = MCPServer("NotesServer", instructions="Open a notebook, then add notes to it.", log_level="WARNING")
READ_ONLY = ToolAnnotations(read_only_hint=True, idempotent_hint=True)


class Note(BaseModel):
    id: int
    text: str
    tags: list[str]


class OpenedNotebook(BaseModel):
    name: str
    notebook: str | None
    message: str


class Notes:
    """A database of notes in memory, and which of its notebooks is open."""

    def __init__(self) -> None:
        self.name: str | None = None
        self.database = sqlite3.connect(":memory:", check_same_thread=False)
        self.database.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, notebook TEXT, text TEXT, tags TEXT)")

    def add(self, text: str, tags: list[str]) -> int | None:
        """Write a note into the open notebook; returns its number."""
        row = (self.name, text, json.dumps(tags))
        return self.database.execute("INSERT INTO notes (notebook, text, tags) VALUES (?, ?, ?)", row).lastrowid

    def all(self) -> list[Note]:
        """The open notebook's notes, oldest first."""
        rows = self.database.execute("SELECT id, text, tags FROM notes WHERE notebook = ? ORDER BY id", (self.name,))
        return [Note(id=number, text=text, tags=json.loads(tags)) for number, text, tags in rows]

    def close(self) -> None:
        """Drop the database with all notes."""
        self.database.close()


MAX_HANDLES = 100
by_handle: OrderedDict[str, Notes] = OrderedDict()
"""The notes of clients without a session, the one used last at the end."""

STATE_KEY = "notes"


@functools.cache
def process_notes() -> Notes:
    """The notes of the only client on stdio, where each request of 2026-07-28 is a connection of its own."""
    return Notes()


def session_notes(ctx: Context) -> Notes | None:
    """The notes of the caller's session, made when first asked for; `None` if there is no session."""
    if ctx.headers is None:
        return process_notes()
    connection = connection_of(ctx)
    if connection is None:
        return None
    if STATE_KEY not in connection.state:
        notes = connection.state[STATE_KEY] = Notes()
        connection.exit_stack.callback(notes.close)
    return connection.state[STATE_KEY]


def opened(ctx: Context, handle: str | None) -> Notes:
    """The notes of that handle, or else of the caller's session, with a notebook open."""
    if handle is not None:
        if handle not in by_handle:
            raise ToolError(f"There is no notebook {handle!r} (any more). Call open_notebook first.")
        by_handle.move_to_end(handle)
        return by_handle[handle]
    notes = session_notes(ctx)
    if notes is None:
        raise ToolError("No notebook is open. Call open_notebook first, and give the handle it returns as notebook.")
    if notes.name is None:
        raise ToolError("No notebook is open. Call open_notebook first.")
    return notes


# The tools are coroutines, so that they run one after another: SQLite would mix up numbers of notes between threads.


@server.tool()
async def open_notebook(name: str, ctx: Context) -> OpenedNotebook:
    """Open a notebook: a new one, or one that this session opened before.

    Args:
        name: Any name; what is in it is seen by this session only.
    """
    notes = session_notes(ctx)
    if notes is not None:
        notes.name = name
        return OpenedNotebook(name=name, notebook=None, message=f"Opened notebook {name!r} for this session.")
    handle = secrets.token_hex(8)
    by_handle[handle] = notes = Notes()
    notes.name = name
    if len(by_handle) > MAX_HANDLES:
        by_handle.popitem(last=False)[1].close()
    message = f"Opened notebook {name!r}. Give notebook={handle!r} to the other tools."
    return OpenedNotebook(name=name, notebook=handle, message=message)


@server.tool()
async def add_note(text: str, ctx: Context, tags: list[str] | None = None, notebook: str | None = None) -> str:
    """Write a note into the open notebook.

    Args:
        text: What to write down.
        tags: Words to file it under.
        notebook: The handle that open_notebook returned, if it did.
    """
    if not text.strip():
        raise ToolError("The note is empty. Give its text.")
    notes = opened(ctx, notebook)
    return f"Note {notes.add(text, tags or [])} is in {notes.name!r}."


@server.tool(annotations=READ_ONLY)
async def list_notes(ctx: Context, notebook: str | None = None) -> list[Note]:
    """All notes of the open notebook.

    Args:
        notebook: The handle that open_notebook returned, if it did.
    """
    return opened(ctx, notebook).all()


@server.tool(annotations=READ_ONLY)
async def search_notes(query: str, ctx: Context, notebook: str | None = None) -> list[Note]:
    """Notes of the open notebook that have all words of the query in their text or tags.

    Args:
        query: Words to look for.
        notebook: The handle that open_notebook returned, if it did.
    """
    words = query.lower().split()
    return [
        note
        for note in opened(ctx, notebook).all()
        if words and all(word in " ".join([note.text, *note.tags]).lower() for word in words)
    ]


@server.tool(annotations=READ_ONLY)
async def notebook_summary(ctx: Context, notebook: str | None = None) -> str:
    """How many notes the open notebook has, and their tags.

    Args:
        notebook: The handle that open_notebook returned, if it did.
    """
    notes = opened(ctx, notebook)
    tags = sorted({tag for note in notes.all() for tag in note.tags})
    return f"{notes.name}: {len(notes.all())} notes; tags: {', '.join(tags) or 'none'}"


if __name__ == "__main__":
    run(server, "streamable-http")
