"""`refresh`: what changed since the servers were asked last, and what was accepted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import PYTHON, Command, golden_layouts, unruly_entry

SCRUBS = (
    (r"(?m) +(?:\d+ ms|\d+\.\d s)$", "  TIME"),
    (r"(?m)\t(?:\d+ ms|\d+\.\d s)$", "\tTIME"),
    (r"CHANGES +TIME", "CHANGES  TIME"),
)
"""How long it took, and how wide that column is for it."""


@pytest.fixture
def one(jackfield: Command) -> Command:
    jackfield.configure_user(s=unruly_entry(), gone={"command": "no-such-command"})
    return jackfield


def rewritten(run: Command, change: dict[str, str]) -> None:
    """What was accepted of some tools, another than what the server says."""
    file = run.remembered("s")
    data = json.loads(file.read_text())
    data["accepted"] |= change
    data["tools"] = [tool for tool in data["tools"] if tool["name"] != "add"]
    file.write_text(json.dumps(data))


def test_layouts(one: Command) -> None:
    golden_layouts(one, "refresh", "refresh", exit_code=4, scrubs=SCRUBS, with_progress=False)


def test_as_data(one: Command) -> None:
    done = one("refresh", "--json")
    assert done.exit_code == 4
    gone, s = sorted(done.json, key=lambda item: item["name"])
    assert gone["error"]["code"] == "start_failed"
    assert (s["tools"], s["added"], s["changed"], s["error"]) == (9, [], [], None)
    assert s["seconds"] > 0
    assert one("refresh", "s", "--json").exit_code == 0


def test_what_changed_is_told_until_it_is_accepted(one: Command) -> None:
    one("refresh", "s")
    rewritten(one, {"echo": "another"})
    done = one("refresh", "s", "--json")
    assert (done.json[0]["added"], done.json[0]["changed"]) == (["add"], ["echo"])
    assert "changed since you accepted them: echo" in one("refresh", "s").stderr
    assert "changed since accepted" in one("list", "s").stdout
    assert one("refresh", "s", "--accept", "--json").json[0]["accepted"] == ["echo"]
    assert one("refresh", "s", "--json").json[0]["changed"] == []


def test_unknown_servers(one: Command) -> None:
    done = one("refresh", "x", "s")
    assert done.exit_code == 2
    assert "no server 'x'" in done.stderr


def test_nothing_configured(jackfield: Command) -> None:
    done = jackfield("refresh")
    assert (done.exit_code, done.stdout) == (0, "")
    assert "No server is configured" in done.stderr


def test_a_full_disk_keeps_nobody_from_asking(one: Command, tmp_path: Path) -> None:
    import subprocess

    # A limit on the size of files stands for a disk that is full.
    limited = ["bash", "-c", 'ulimit -f 0; trap "" XFSZ; "$@" | cat', "bash"]
    # Coverage would want to write its own file.
    plain = {name: value for name, value in one.environment.items() if not name.startswith("COVERAGE_")}
    # -B: no half of a compiled module is to be left behind.
    line = [*limited, PYTHON, "-B", "-m", "jackfield", "refresh", "s", "--json"]
    done = subprocess.run(line, capture_output=True, text=True, env=plain, cwd=one.project, check=False)
    assert json.loads(done.stdout)[0]["error"] is None, done.stderr
    assert "Traceback" not in done.stderr
