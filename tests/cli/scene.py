"""A project and a user with some servers, known to the catalog, for golden outputs."""

from __future__ import annotations

import json
from typing import Any

from .conftest import Command


def tool(
    name: str, description: str = "", *required: str, annotations: dict[str, Any] | None = None, **properties: Any
) -> dict[str, Any]:
    """A tool as over the wire."""
    schema = {"type": "object", "properties": properties, "required": list(required)}
    return {"name": name, "description": description, "inputSchema": schema, "annotations": annotations or {}}


TEXT = {"type": "string"}
FILES = [
    tool(
        "read_file",
        "Read a file.\n\nIt must lie within the allowed folders.",
        "path",
        annotations={"readOnlyHint": True},
        path={**TEXT, "description": "Of the file."},
        limit={"type": "integer", "default": 100, "description": "How many lines at most."},
        encoding={"enum": ["utf-8", "latin-1"]},
    ),
    tool(
        "write_file",
        "Write a file.",
        "path",
        "text",
        annotations={"destructiveHint": True},
        path=TEXT,
        text=TEXT,
        append={"type": "boolean"},
    ),
    tool(
        "list_folder",
        "List what is in a folder, with sizes and times, sorted by name; "
        "hidden files are left out unless they are asked for.",
        path=TEXT,
    ),
]
TRACKER = [
    tool("create_issue", "Open an issue in the tracker.", "title", title=TEXT, labels={"type": "array", "items": TEXT}),
    tool("search_issues", "Search issues by words.", "query", annotations={"readOnlyHint": True}, query=TEXT),
]


def set_up(run: Command) -> None:
    """Write the files and fill the catalog."""
    run.configure(
        files={
            "command": "npx",
            "args": ["-y", "@example/files", "."],
            "env": {"TOKEN": "${FILES_TOKEN}", "MODE": "ro"},
        },
        tracker={
            "type": "http",
            "url": "https://tracker.example/mcp?key=s3cret",
            "headers": {"Authorization": "s3cret"},
        },
    )
    run.configure_user(
        browser={"command": "browser-server", "session": {"timeout": 60}},
        mail={"url": "https://mail.example/sse"},
        tracker={"url": "https://other.example/mcp"},
    )
    cursor = run.home / ".cursor" / "mcp.json"
    cursor.parent.mkdir()
    cursor.write_text(json.dumps({"mcpServers": {"slip": {"command": "x", "arg": ["y"]}}}))
    run.accept("files")
    run.remember(
        "files",
        FILES,
        server_info={"name": "files", "title": "Files", "version": "1.2"},
        instructions="Use absolute paths.\nAsk before you write.",
        protocol_version="2025-11-25",
        open_seconds=1.9,
    )
    run.remember("tracker", TRACKER, server_info={"name": "tracker"}, open_seconds=0.4)
    run.remember(
        "mail", listed_ago=None, failure="unavailable: Server 'mail' at https://mail.example/sse cannot be reached."
    )
