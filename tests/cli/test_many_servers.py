"""Listing servers takes work in proportion to their number: counted, not timed."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from jackfield.cli.known import server_facts
from jackfield.cli.output import Output
from jackfield.cli.servers import load_servers

PER_SERVER = 900
"""Calls of functions for one server; 628 when this was written."""


def calls(file: Path) -> int:
    """How many functions are called to list the servers of a file."""
    count = 0

    def on_event(frame: FrameType, event: str, argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    servers = load_servers([file], Output())
    before = sys.getprofile()
    sys.setprofile(on_event)
    try:
        facts = [server_facts(servers, name) for name in servers.names]
    finally:
        sys.setprofile(before)
    assert all(one["is_valid"] for one in facts)
    return count


def test_the_work_grows_with_the_servers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("JACKFIELD_CACHE_DIR", str(tmp_path / "cache"))
    counts: dict[int, int] = {}
    for number in (1, 50, 100, 200):
        entries = {
            f"server-{index}": {"command": "npx", "args": ["-y", f"pkg-{index}"], "env": {"HOME_DIR": "${HOME}"}}
            for index in range(number)
        }
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps({"mcpServers": entries}))
        counts[number] = calls(file)
    first, second = counts[100] - counts[50], counts[200] - counts[100]
    assert second <= 2.1 * first, counts
    assert second / 100 < PER_SERVER, counts
