"""Finding out which era a server speaks, and remembering it."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Scripted

from jackfield import JackfieldError, MCPClientSessionManager, SessionConfig
from jackfield.catalog.store import Catalog

QUICK = SessionConfig(probe_timeout=0.05)
MODERN = {"supportedVersions": ["2026-07-28"], "capabilities": {"tools": {}}}


async def opened(config: Any, catalog: Catalog) -> str:
    async with MCPClientSessionManager(catalog=catalog) as manager, manager.open_session(config) as session:
        assert (await session.call_tool("work")).text == "worked"
        return session.protocol_version


UNANSWERED = [
    ("stdio handshake", None),
    ("stdio handshake", "exit"),
    ("http handshake", "hang"),
    ("http handshake", "cut"),
]


@pytest.mark.parametrize(("line", "question"), UNANSWERED)
async def test_a_server_that_does_not_answer_the_question(
    scripted: Scripted, tmp_path: Path, line: str, question: str | None
) -> None:
    config = scripted({"server/discover": question}, line=line, session=QUICK)
    catalog = Catalog(tmp_path / "catalog")
    for _ in range(2):
        assert await opened(config, catalog) == "2025-11-25"
    # The second opening knew.
    assert scripted.asked.count("server/discover") == 1
    assert scripted.asked.count("initialize") == 2


async def test_a_slow_server_of_the_newer_protocol_is_not_taken_for_an_older_one(
    scripted: Scripted, tmp_path: Path
) -> None:
    # It answers the question late, and does not know the handshake.
    config = scripted({"server/discover": [{"late": MODERN}, MODERN]}, line="stdio modern", session=QUICK)
    catalog = Catalog(tmp_path)
    assert await opened(config, catalog) == "2026-07-28"
    entry = catalog.entry(config)
    assert entry is not None
    assert entry.known_version == "2026-07-28"


@pytest.mark.parametrize("line", ["stdio modern", "http modern"])
async def test_a_refused_handshake_waits_for_the_answer_to_the_question(scripted: Scripted, line: str) -> None:
    # Nothing tells which of the two answers comes first.
    slow = {"late": MODERN} if line.startswith("stdio") else {"after": "initialize", **MODERN}
    config = scripted({"server/discover": [slow, MODERN]}, line=line, session=QUICK)
    assert await opened(config, Catalog(os.devnull)) == "2026-07-28"


async def test_a_server_that_was_renewed_is_asked_again(scripted: Scripted, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    config = scripted({}, line="stdio modern", session=QUICK)
    catalog.inside.record_version(config, "2025-11-25")
    assert await opened(config, catalog) == "2026-07-28"
    assert scripted.asked[:2] == ["initialize", "server/discover"]
    entry = catalog.entry(config)
    assert entry is not None
    assert entry.known_version == "2026-07-28"


async def test_what_is_known_is_forgotten(scripted: Scripted, tmp_path: Path) -> None:
    catalog = Catalog(tmp_path)
    config = scripted({"initialize": "exit"}, session=QUICK)
    catalog.inside.record_version(config, "2025-11-25")
    [file] = tmp_path.glob("*.json")
    entry = json.loads(file.read_text())
    for change in ({"version_learnt_at": time.time() - 8 * 24 * 3600}, {"protocol_version": ["2025-11-25"]}):
        file.write_text(json.dumps(entry | change))
        found = catalog.entry(config)
        assert found is None or found.known_version == ""
    catalog.inside.record_version(config, "2025-11-25")
    with pytest.raises(JackfieldError):
        await opened(config, catalog)
    found = catalog.entry(config)
    assert found is not None
    assert found.known_version == ""


async def test_a_server_that_answers_nothing_is_told_of_the_setting(scripted: Scripted) -> None:
    settings = SessionConfig(probe_timeout=0.05, timeout=0.5, retry_attempts=0)
    config = scripted({"server/discover": None, "initialize": None}, session=settings)
    with pytest.raises(JackfieldError, match='protocol="handshake"'):
        await opened(config, Catalog(os.devnull))


async def test_a_server_that_ends_before_it_reads_is_started_once(unruly: Any) -> None:
    config = unruly("--exit", "3", session=SessionConfig(retry_attempts=0))
    with pytest.raises(JackfieldError, match="exited with code 3"):
        await opened(config, Catalog(os.devnull))
