"""Rows of the table of programs: desktop and web applications, frameworks, and Jackfield itself."""

from __future__ import annotations

from .table import ALWAYS, CALLS, CALLS_IN_MILLISECONDS, OF_THE_SDK, OURS, Place, Program, Times, Writing

JACKFIELD = Program(
    "Jackfield",
    places=(Place("jackfield.json"), Place("{config}/jackfield/jackfield.json")),
    tables=(("mcpServers",), ("servers",), ("mcp_servers",), ("context_servers",)),
    references=OURS,
    inherits=OF_THE_SDK,
    example="jackfield.json",
    page="../configuration.md",
)

APPS: tuple[Program, ...] = (
    Program(
        "Claude Desktop",
        places=(
            Place("{support}/Claude/claude_desktop_config.json"),
            Place("claude_desktop_config.json", is_found=False),
        ),
        references=frozenset(),
        times={"timeout": CALLS},
        user_writing=Writing("{support}/Claude/claude_desktop_config.json", ("mcpServers",), "standard", ""),
        inherits=OF_THE_SDK,
        example="claude-desktop.json",
        page="https://modelcontextprotocol.io/docs/develop/connect-local-servers",
    ),
    Program(
        "LM Studio",
        places=(Place("~/.lmstudio/mcp.json"), Place("~/.cache/lm-studio/mcp.json")),
        is_assumed=True,
        times={"timeout": CALLS_IN_MILLISECONDS},
        user_writing=Writing("~/.lmstudio/mcp.json", ("mcpServers",), "standard", ""),
        example="lm-studio.json",
        page="https://lmstudio.ai/docs/app/mcp",
    ),
    Program(
        "LibreChat",
        places=(Place("librechat.yaml", is_found=False), Place("librechat.yml", is_found=False)),
        references=frozenset({"${VAR}"}),
        times={
            "timeout": Times(("call_timeout",), ALWAYS),
            "initTimeout": Times(("timeout",), ALWAYS),
        },
        own_keys=frozenset(
            {"chatMenu", "customUserVars", "iconPath", "serverInstructions", "startup", "stderr", "title"}
        ),
        placeholder=r"\{\{\s*[A-Z][A-Z0-9_]*\s*\}\}",
        inherits=OF_THE_SDK,
        example="librechat.yaml",
        page="https://www.librechat.ai/docs/configuration/librechat_yaml/object_structure/mcp_servers",
    ),
)

ANY = Program(
    "",
    places=(Place("mcp.json"),),
    tables=(("mcpServers",), ("servers",), ("mcp_servers",), ("context_servers",), ("amp.mcpServers",)),
    references=OURS,
    times={"timeout": CALLS},
    example="any.json",
)
"""A file whose owner is not known, and what a file is called that no program has a name for."""
