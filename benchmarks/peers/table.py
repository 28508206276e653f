"""The tables of `docs/migrating.md` and `README.md`, made of what `run.py` saw and of public issues."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OURS = "jackfield_manager"
SEEN = Path(__file__).parent / "seen.json"


@dataclass(frozen=True)
class Peer:
    """A column."""

    title: str
    environment: str


PEERS = {
    "ag2_manager": Peer("AG2's manager", "ag2_manager"),
    "langchain_adapters": Peer("LangChain, `get_tools()`", "langchain_adapters"),
    "langchain_session": Peer("LangChain, `session()`", "langchain_adapters"),
    "autogen_workbench": Peer("`McpWorkbench`", "autogen_workbench"),
    "mcp_use_client": Peer("`mcp-use`", "mcp_use_client"),
    "fastmcp_client": Peer("`fastmcp.Client`", "fastmcp_client"),
}


def read_seen() -> dict[str, dict[str, list[dict[str, Any]]]]:
    """What was seen, by claim and driver."""
    return json.loads(SEEN.read_text())


def write_pages() -> None:
    pass
