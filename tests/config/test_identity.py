"""What a server is remembered by: every value tells servers apart, and no name gives a value away."""

from __future__ import annotations

import json
import logging
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import quick_python

from jackfield import Catalog, StdioConfig
from jackfield.config.files import Source
from jackfield.config.mcp_config import read_server

VARIABLES = {"TOKEN": "s3cret", "OTHER": "0ther", "DIR": "/data"}


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


PROJECT = Source(Path("f"), "", "given", Path("/project"))


def named(entry: dict[str, Any], name: str = "s", **variables: str) -> str:
    return read_server(name, entry, PROJECT, {**VARIABLES, **variables}).catalog_key


STDIO: dict[str, Any] = {
    "command": "run",
    "args": ["--key=${TOKEN}"],
    "env": {"A": "1", "B": "${TOKEN}"},
    "cwd": "${DIR}",
}
HTTP: dict[str, Any] = {"url": "https://u:${TOKEN}@h/${DIR}?key=one&other=${TOKEN}", "headers": {"X-Who": "one"}}


@pytest.mark.parametrize(
    ("entry", "change"),
    [
        (STDIO, {"env": {"A": "2", "B": "${TOKEN}"}}),
        (STDIO, {"env": {"A": "1", "B": "${OTHER}"}}),
        (STDIO, {"env": {"A": "1"}}),
        (STDIO, {"args": ["--key=${OTHER}"]}),
        (STDIO, {"args": []}),
        (STDIO, {"cwd": "/else"}),
        (STDIO, {"command": "other"}),
        (STDIO, {"protocol": "handshake"}),
        (HTTP, {"headers": {"X-Who": "two"}}),
        (HTTP, {"headers": {"X-Which": "one"}}),
        (HTTP, {"url": HTTP["url"].replace("=one", "=two")}),
        (HTTP, {"url": HTTP["url"].replace("key", "kez")}),
        (HTTP, {"url": HTTP["url"].replace("u:", "v:")}),
        (HTTP, {"url": HTTP["url"].replace("@h", "@i")}),
        (HTTP, {"type": "sse"}),
        (HTTP, {"auth": {"client_id": "night-shift"}}),
        (HTTP, {"auth": {"grant": "client_credentials", "client_id": "night-shift", "client_secret": "x"}}),
    ],
    ids=str,
)
def test_all_that_an_entry_says_tells_servers_apart(entry: dict[str, Any], change: dict[str, Any]) -> None:
    assert named(entry) != named({**entry, **change})


@pytest.mark.parametrize("entry", [STDIO, HTTP], ids=["stdio", "http"])
def test_so_do_the_values_of_variables_but_not_names_and_settings(entry: dict[str, Any]) -> None:
    base = named(entry)
    assert base != named(entry, TOKEN="an0ther-t0ken")
    assert base != named(entry, DIR="/another")
    assert base == named({**entry, "session": {"timeout": 3}, "include": ["x"]}, "another name")


@pytest.mark.parametrize(
    ("entry", "volatile"),
    [
        ({"command": "run", "args": ["--key=${TOKEN}"]}, "TOKEN"),
        ({"command": "run", "env": {"B": "${TOKEN}"}}, "B"),
        ({"command": "run", "env": {"B": "x-${env:TOKEN}"}}, "token"),
        ({"url": "https://h/mcp", "headers": {"Authorization": "Bearer ${TOKEN}"}}, "authorization"),
        ({"url": "https://h/mcp?a=1&key=${TOKEN}&b=2"}, "key"),
        ({"url": "https://h/${TOKEN}/mcp"}, "TOKEN"),
    ],
    ids=str,
)
def test_values_that_are_volatile_do_not(entry: dict[str, Any], volatile: str) -> None:
    entry = {**entry, "volatile": [volatile]}
    assert named(entry) == named(entry, TOKEN="renewed")
    assert named({**entry, "volatile": []}) != named({**entry, "volatile": []}, TOKEN="renewed")


def test_the_key_is_the_users_own_and_survives(state: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    base = named(STDIO)
    (key,) = state.glob("*.key")
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert in_another_process() == {base}
    key.chmod(0o644)
    assert in_another_process() == {base}
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / "of another user"))
    assert named(STDIO) != base


CODE = """
import json, sys
from pathlib import Path
from jackfield.config.mcp_config import read_server
from jackfield.config.files import Source
sys.stdin.read()
entry, variables = map(json.loads, sys.argv[1:])
print(read_server("s", entry, Source(Path("f"), "", "given", Path("/project")), variables).catalog_key)
"""


def in_another_process(number: int = 1) -> set[str]:
    """The names that so many processes say at the same time."""
    command = [quick_python(), "-c", CODE, json.dumps(STDIO), json.dumps(VARIABLES)]
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(number)]
    for process in processes:
        assert process.stdin
        process.stdin.close()
        process.stdin = None
    said = {process.communicate(timeout=60)[0].strip() for process in processes}
    assert [process.returncode for process in processes] == [0] * number
    return said


def test_processes_that_need_it_for_the_first_time_at_once_agree() -> None:
    assert in_another_process(6) == {named(STDIO)}


@pytest.mark.parametrize("content", [b"", b"\xff", b"abcd", b"no key at all"])
def test_one_that_is_damaged_is_replaced(state: Path, content: bytes) -> None:
    state.mkdir()
    (state / "catalog.key").write_bytes(content)
    base = named(STDIO)
    assert in_another_process() == {base}


@pytest.mark.parametrize("problem", ["unreadable", "no folder"])
def test_without_a_key_that_can_be_used_a_run_remembers_for_itself(
    state: Path, tmp_path: Path, problem: str, caplog: pytest.LogCaptureFixture
) -> None:
    if problem == "unreadable":
        (state / "catalog.key").mkdir(parents=True)
    else:
        state.write_text("a file")
    catalog = Catalog(tmp_path / "catalog")
    config = StdioConfig(server_name="s", command="run")
    with caplog.at_level(logging.WARNING):
        catalog.inside.record(config, [{"name": "a", "inputSchema": {}}])
    assert [tool.name for tool in catalog.tools(config)] == ["a"]
    (record,) = caplog.records
    assert str(state / "catalog.key") in record.message
    assert "for this run only" in record.message
    assert not catalog.folder.exists(), "nobody would find it again"
    catalog.forget(config)
    assert catalog.state(config) == "cold"


def test_no_name_gives_a_value_away_to_who_tries_likely_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    names = set[str]()
    for user in "ab":
        monkeypatch.setenv("JACKFIELD_STATE_DIR", str(tmp_path / user))
        names |= {*named(STDIO).split("-"), *named(HTTP).split("-")}
        assert "s3cret" not in "".join(names)
    assert len(names) == 8, "both parts depend on the key"
