"""The options of `jackfield serve`, in the order of its help."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

ServersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        help="Configured servers; all if omitted. Or one that is not configured: a URL, or a command in quotes.",
        metavar="[SERVER]...",
    ),
]
StdioOption = Annotated[
    bool,
    typer.Option(
        "--stdio",
        help="Serve the program that started this process, over a pipe. With --http: serve the server that a command "
        "starts.",
    ),
]
HttpOption = Annotated[
    str | None,
    typer.Option("--http", help="Serve at this address; a port alone means this machine only.", metavar="[HOST:]PORT"),
]
SseOption = Annotated[
    str | None, typer.Option("--sse", help="Serve the server at this URL, which uses SSE.", metavar="URL")
]
HeaderOption = Annotated[
    list[str] | None,
    typer.Option(
        "--header", help="Send this header to the server at a URL; ${VAR} is replaced.", metavar="'NAME: VALUE'"
    ),
]

# What is offered

AllToolsOption = Annotated[
    bool, typer.Option("--all-tools", help="Offer all tools directly instead of find_tools and call_tool.")
]
ResourcesOption = Annotated[
    bool | None,
    typer.Option(
        "--resources/--no-resources",
        help="Offer resources and prompts directly, or have models find and read them by tools. By default, they are "
        "offered directly if there are at most 50.",
    ),
]
IncludeOption = Annotated[
    list[str] | None,
    typer.Option(
        "--include",
        help="Offer only what matches, such as 'notes.*': tools, prompts, resources by URI. Can be repeated.",
        metavar="PATTERN",
    ),
]
ExcludeOption = Annotated[
    list[str] | None,
    typer.Option("--exclude", help="Do not offer what matches. Can be repeated.", metavar="PATTERN"),
]
ReadOnlyOption = Annotated[bool, typer.Option("--read-only", help="Offer only tools that are annotated as read-only.")]
AllowOption = Annotated[
    list[str] | None,
    typer.Option("--allow", help="With --read-only: offer these tools as well.", metavar="PATTERN"),
]

# What is approved and recorded

AskOption = Annotated[
    list[str] | None,
    typer.Option(
        "--ask",
        help="Have the client's user approve each call of these tools; 'destructive': for all tools not annotated as "
        "safe.",
        metavar="PATTERN",
    ),
]
NoAskOption = Annotated[
    list[str] | None,
    typer.Option("--no-ask", help="With --ask destructive: not for these tools.", metavar="PATTERN"),
]
HookOption = Annotated[
    list[str] | None,
    typer.Option(
        "--hook",
        help="Run this CallHook around each call: it can stop or change it, and see the result. Repeat for more.",
        metavar="FILE.py:NAME",
    ),
]
AuditOption = Annotated[
    Path | None,
    typer.Option("--audit", help="Write a line of JSON for each call, with secrets masked.", metavar="FILE"),
]
AuditSizeOption = Annotated[
    int | None,
    typer.Option("--audit-size", help="Rotate that file beyond this size; 10 by default.", metavar="MB", min=1),
]
AuditFilesOption = Annotated[
    int | None,
    typer.Option("--audit-files", help="Number of renamed files to keep; 5 by default.", metavar="NUMBER", min=0),
]

# Clients and their sessions

ReconnectOption = Annotated[
    float | None,
    typer.Option(
        "--reconnect-timeout",
        help="Seconds after which a client whose stream broke is disconnected; 30 by default.",
        metavar="SECONDS",
    ),
]
SessionIdleOption = Annotated[
    float | None,
    typer.Option(
        "--session-idle",
        help="Seconds after which a client that sends nothing is disconnected; 1800 by default.",
        metavar="SECONDS",
    ),
]
KeepAliveOption = Annotated[
    list[str] | None,
    typer.Option(
        "--keep-alive",
        help="Keep a client's session with this server open as long as the client is connected, even if unused.",
        metavar="SERVER",
    ),
]

# The page

WebClientOption = Annotated[
    str | None,
    typer.Option(
        "--web-client-id",
        help="With --web and --auth-issuer: let people sign in to the page there, as this public OAuth client.",
        metavar="ID",
    ),
]
WebOption = Annotated[
    bool,
    typer.Option(
        "--web", help="Also serve a page that shows sessions, calls and errors, and on which tools can be tried."
    ),
]
