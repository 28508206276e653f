"""Calls of a server that the catalog knows are made without the SDK, and look the same as with it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from jackfield import SessionConfig
from jackfield.cli import direct, targets
from jackfield.cli.direct import wire

from ..conftest import eventually, strays
from .conftest import PYTHON, Command, Done, everything, unruly_entry
from .test_imports import HEAVY, PROBE

CALLS: list[tuple[str, ...]] = [
    ("call", "everything.add", "a=1", "b=2"),
    ("call", "everything.media", "--output", "raw"),
    ("call", "everything.picture", "--output", "raw"),
    ("call", "everything.receipt", "customer=Ada", "--json"),
    ("call", "everything.fail", "why=no"),
    ("call", "everything.fail", "why=no", "--output", "raw"),
    ("call", "everything.preferences", "size=large"),
    ("read", "everything", "notes://today", "--output", "raw"),
    ("read", "everything", "notz://today"),
    ("read", "everything"),
    ("prompt", "everything", "summarize", "topic=x", "--output", "raw"),
    ("prompt", "everything"),
    ("call", "unruly.flood", "bytes=300000"),
    ("call", "unruly.crash", "code=3"),
    ("call", "unruly.sleep", "seconds=60", "--timeout", "3"),
    ("read", "unruly", "x:y"),
    ("prompt", "unruly", "x"),
]
FULL = {"MCP_SESSION_CALL_TIMEOUT": "120"}
"""A setting of its own is for the library's session."""


@pytest.fixture
def known(here: Callable[..., Done], jackfield: Command) -> Callable[..., Done]:
    """The command in this process, with servers that it has listed."""
    jackfield.configure_user(everything=everything(), unruly=unruly_entry("--last-words", "I go", "--stderr", "early"))
    assert here("refresh", "--quiet").exit_code == 0
    return here


def test_both_ways_look_the_same(known: Callable[..., Done], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    class Noted(direct.DirectSession):
        def close(self) -> None:
            made.append("direct")
            super().close()

    monkeypatch.setattr(direct, "DirectSession", Noted)
    for line in CALLS:
        shown = []
        for environment in ({}, FULL):
            with monkeypatch.context() as patch:
                for name, value in environment.items():
                    patch.setenv(name, value)
                done = known(*line)
                # Which of two bounds that are almost the same ends it, and is named, is a matter of chance.
                said = re.sub(r"within [\d.]+ s\b", "within N s", done.stderr).replace("Not completed within N s: ", "")
                shown.append((done.exit_code, done.stdout, said))
        assert shown[0] == shown[1], line
    assert len(made) == len(CALLS)


def test_nothing_heavy_is_imported_for_a_call(known: Callable[..., Done], jackfield: Command) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "call", "unruly.add", "a=1", "b=2"],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=True,
    )  # fmt: skip
    assert done.stdout == "3\n"
    assert not HEAVY & set(done.stderr.splitlines()[-1].split())


def test_what_is_not_as_usual_is_left_to_the_library(known: Callable[..., Done], jackfield: Command) -> None:
    # A server that was replaced by one of another era; one whose listing has a flaw; one that exits at once.
    file = jackfield.remembered("unruly")
    file.write_text(file.read_text().replace('"protocol_version":"2025-11-25"', '"protocol_version":"2026-07-28"'))
    assert known("call", "unruly.add", "a=1", "b=2").stdout == "3\n"
    assert '"protocol_version":"2025-11-25"' in file.read_text(), "it is known now as it is"
    (jackfield.project / "flaw.py").write_text(FLAWED)
    jackfield.configure_user(flawed={"command": PYTHON, "args": ["-S", str(jackfield.project / "flaw.py")]})
    assert known("refresh", "--quiet").exit_code == 0
    assert known("call", "flawed.good").stdout == "fine\n"
    (jackfield.project / "flaw.py").write_text("import sys; sys.exit('I am broken')")
    broken = known("call", "flawed.good")
    assert broken.exit_code == 4
    assert "I am broken" in broken.stderr


FLAWED = """
import json, sys

SERVER = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "f", "version": "1"}}
RESULTS = {
    "initialize": SERVER,
    "tools/list": {"tools": [{"name": "good", "inputSchema": {"type": "object"}}, {"name": 5}]},
    "tools/call": {"content": [{"type": "text", "text": "fine"}]},
}


def send(**message):
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message.get("method") in RESULTS:
        print("noise", flush=True)
        send(id=99, method="ping")
        send(id=message["id"], result=RESULTS[message["method"]])
    elif "method" in message:
        send(id=message["id"], error={"code": -32601, "message": "no"})
"""


def test_ctrl_c_cancels_the_call_and_ends_the_server(jackfield: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(unruly=unruly_entry("--log", str(log)))
    assert jackfield("call", "unruly.count").stdout == "1\n"
    terminal: Any = jackfield.spawn("call", "unruly.sleep", "seconds=60")
    assert eventually(lambda: "run sleep" in log.read_text(), 60)
    terminal.sendintr()
    terminal.read()
    terminal.wait()
    terminal.close()
    assert (terminal.exitstatus, strays()) == (130, [])
    assert "cancelled" in log.read_text()


def test_its_settings_are_the_defaults_of_the_models() -> None:
    settings = SessionConfig()
    assert (
        settings.timeout,
        settings.call_timeout,
        settings.close_timeout,
    ) == (wire.OPEN_SECONDS, wire.CALL_SECONDS, wire.CLOSE_SECONDS)
    assert (
        settings.max_message_bytes,
        settings.max_pages,
        settings.max_stderr_bytes,
    ) == (wire.MAX_MESSAGE_BYTES, wire.MAX_PAGES, wire.MAX_STDERR_BYTES)
    from mcp.types import version

    assert set(targets.HANDSHAKE_VERSIONS) == set(version.HANDSHAKE_PROTOCOL_VERSIONS)
    assert set(targets.MODERN_VERSIONS) == set(version.MODERN_PROTOCOL_VERSIONS)
    assert targets.HANDSHAKE_VERSIONS[0] == version.LATEST_HANDSHAKE_VERSION
