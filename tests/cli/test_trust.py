"""Nothing of a project's file is started or reached before the user accepted it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from jackfield.cli.trust_store import TrustStore, entry_hash
from jackfield.config.discover import FoundServer, Source

from ..conftest import MARK, TOKEN
from .conftest import Command, golden, golden_layouts, unruly_entry, write_servers


@pytest.fixture
def project(jackfield: Command, tmp_path: Path) -> Command:
    """A project whose server leaves a trace when it is started."""
    trace = tmp_path / "started"
    jackfield.configure(
        evil={"command": "sh", "args": ["-c", f"touch {trace}; exec sleep 1"], "env": {MARK: TOKEN}},
    )
    return jackfield


def was_started(run: Command) -> bool:
    return (run.home.parent / "started").exists()


STARTING = [
    ["list", "evil", "--live"],
    ["list", "--live"],
    ["refresh"],
    ["refresh", "evil"],
    ["doctor"],
    ["doctor", "evil"],
]
"""Commands of which at least one would start the server, did it not ask."""


@pytest.mark.parametrize("arguments", STARTING, ids=" ".join)
def test_nothing_is_started_before_it_is_accepted(project: Command, arguments: list[str]) -> None:
    done = project(*arguments)
    assert not was_started(project)
    assert done.exit_code == (7 if "evil" in arguments else 0)
    assert "jackfield config trust" in done.stderr + done.stdout
    as_json = project(*arguments, "--json")
    assert not was_started(project)
    if "evil" in arguments:
        assert as_json.error["code"] == "not_trusted"
        assert as_json.error["hint"].endswith("jackfield config trust evil")


@pytest.mark.parametrize(
    "arguments",
    [["list"], ["list", "evil"], ["show", "evil"], ["find", "x"], ["tokens"], ["config", "path"], ["config", "check"],
     ["config", "explain", "evil"], ["config", "trust"], ["__complete", "bash", "jackfield show e"]],
    ids=" ".join,
)  # fmt: skip
def test_looking_starts_nothing(project: Command, arguments: list[str]) -> None:
    project(*arguments)
    assert not was_started(project)


@pytest.mark.parametrize(
    "file", ["jackfield.json", ".mcp.json", ".vscode/mcp.json", ".cursor/mcp.json", ".gemini/settings.json",
             ".zed/settings.json", ".codex/config.toml"]
)  # fmt: skip
def test_all_files_of_a_project_are_asked_about(jackfield: Command, file: str) -> None:
    path = jackfield.project / file
    path.parent.mkdir(exist_ok=True)
    if file.endswith(".toml"):
        path.write_text('[mcp_servers.s]\ncommand = "x"\n')
    else:
        table = {".vscode/mcp.json": "servers", ".zed/settings.json": "context_servers"}.get(file, "mcpServers")
        path.write_text(json.dumps({table: {"s": {"command": "x"}}}))
    assert jackfield("doctor", "s").exit_code == 7


def test_a_remote_server_is_not_sent_what_variables_hold(jackfield: Command, listening: Any) -> None:
    server = listening("everything.py", "streamable-http")
    jackfield.configure(remote={"url": server.url, "headers": {"X-Leak": "${SECRET}"}})
    assert jackfield("list", "remote", "--live", env={"SECRET": "s3cret"}).exit_code == 7
    jackfield.accept()
    assert jackfield("list", "remote", "--live", env={"SECRET": "s3cret"}).exit_code == 0


def test_accepting_and_taking_it_back(project: Command) -> None:
    done = project("config", "trust", "evil", "--yes")
    assert (done.exit_code, done.stderr) == (0, "Accepted: evil.\n")
    store = project.home / ".state" / "jackfield" / "trust.json"
    assert stat.S_IMODE(store.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.parent.stat().st_mode) == 0o700
    assert "sleep" not in store.read_text(), "it holds hashes"
    assert project("refresh", "evil").exit_code == 4
    assert was_started(project)
    assert project("config", "trust", "--revoke").exit_code == 0
    assert project("refresh", "evil").exit_code == 7
    assert project("config", "trust", "--yes", "--json").json == {"accepted": ["evil"]}
    assert project("config", "trust").exit_code == 0, "nothing is left to accept"


@pytest.mark.parametrize(
    "changed",
    [
        {"command": "other"},
        {"command": "x", "args": ["y"]},
        {"command": "x", "env": {"LD_PRELOAD": "./evil.so"}},
        {"command": "x", "cwd": "elsewhere"},
        {"command": "x", "inherit_environment": True},
        {"command": "x", "include": ["a"]},
        {"url": "https://h/mcp"},
    ],
    ids=str,
)
def test_a_changed_entry_asks_again(jackfield: Command, changed: dict[str, Any]) -> None:
    jackfield.configure(s={"command": "x"}, other={"command": "y"})
    jackfield.accept("s")
    assert {one["name"]: one["trust"] for one in jackfield("list", "--json").json} == {"s": "trusted", "other": "new"}
    jackfield.configure(s=changed, other={"command": "y"})
    assert {one["name"]: one["trust"] for one in jackfield("list", "--json").json} == {"s": "changed", "other": "new"}
    done = jackfield("doctor", "s", "--json")
    assert done.exit_code == 7
    assert "has changed since you accepted it" in done.error["message"]
    jackfield.configure(s={"command": "x"})
    assert [one["trust"] for one in jackfield("list", "--json").json] == ["trusted"], "it is what was accepted"


def test_the_same_entry_in_another_file_or_project_asks_again(jackfield: Command) -> None:
    jackfield.configure(s={"command": "./x"})
    jackfield.accept()
    (jackfield.project / ".mcp.json").rename(jackfield.project / "jackfield.json")
    assert jackfield("doctor", "s").exit_code == 7
    other = jackfield.home / "other"
    (other / ".git").mkdir(parents=True)
    write_servers(other / ".mcp.json", {"s": {"command": "./x"}})
    assert jackfield("doctor", "s", cwd=other).exit_code == 7


def test_a_projects_server_does_not_take_the_place_of_the_users_unseen(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry())
    assert jackfield("list", "s", "--live").exit_code == 0
    jackfield.configure(s={"command": "evil"})
    assert jackfield("list", "s", "--live").exit_code == 7


def test_what_the_user_names_or_wrote_is_trusted(jackfield: Command) -> None:
    file = jackfield.configure("given.json", s=unruly_entry())
    assert jackfield("list", "s", "--live", "--config", str(file)).exit_code == 0
    jackfield.configure_user(mine=unruly_entry())
    assert jackfield("list", "mine", "--live").exit_code == 0
    write_servers(jackfield.home / ".cursor" / "mcp.json", {"theirs": unruly_entry()})
    assert jackfield("list", "theirs", "--live").exit_code == 0


# On a terminal


def test_on_a_terminal_it_is_asked_and_shown_in_full(jackfield: Command) -> None:
    entry = unruly_entry()
    jackfield.configure(s={**entry, "env": {**entry["env"], "API_KEY": "s3cret", "NODE_OPTIONS": "--require ./x.js"}})
    terminal = jackfield.spawn("list", "s", "--live", columns=200)
    terminal.expect("is not accepted yet")
    terminal.expect("unruly.py")
    terminal.expect(r"API_KEY = \*+")
    terminal.expect("NODE_OPTIONS = --require ./x.js")
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("n")
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 7
    assert "Nothing was started" in text
    terminal = jackfield.spawn("list", "s", "--live", columns=200)
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("y")
    assert "echo" in terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0
    assert jackfield("list", "s", "--live").exit_code == 0, "it is asked once"


@pytest.mark.parametrize("answer", ["", "no", "yess", "\x04", "\x03"])
def test_anything_but_yes_is_no(project: Command, answer: str) -> None:
    terminal = project.spawn("refresh", "evil")
    terminal.expect(r"\[y/N\] ")
    if answer in ("\x04", "\x03"):
        terminal.send(answer)
    else:
        terminal.sendline(answer)
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == (130 if answer == "\x03" else 7)
    assert "Traceback" not in text
    assert not was_started(project)


def test_config_trust_on_a_terminal(project: Command) -> None:
    terminal = project.spawn("config", "trust")
    terminal.expect("sh -c")
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("yes")
    assert "Accepted: evil." in terminal.read()
    terminal.close()
    assert terminal.exitstatus == 0


def test_piped_input_is_not_taken_for_an_answer(project: Command) -> None:
    assert project("refresh", "evil", stdin="y\n").exit_code == 7
    assert project("config", "trust", stdin="y\n").exit_code == 7
    assert not was_started(project)


def test_an_entry_cannot_draw_over_the_question(jackfield: Command) -> None:
    jackfield.configure(**{"x\x1b[2J": {"command": "evil\x1b[8m\x1b]0;t\x07", "args": ["\u202egood"]}})
    done = jackfield("config", "trust")
    assert done.exit_code == 7
    assert not {char for char in done.stderr if not char.isprintable()} - {"\n"}


# The store


def test_layouts(project: Command) -> None:
    scrubs = ((str(project.home.parent), "TMP"), (TOKEN, "TOKEN"))
    piped = project("config", "trust")
    assert piped.exit_code == 7
    golden("config-trust.asked", piped.stderr, *scrubs)
    golden_layouts(project, "config-trust", "config", "trust", "--revoke", scrubs=scrubs)


def test_it_is_kept_where_the_state_is_said_to_be(project: Command) -> None:
    place = {"JACKFIELD_STATE_DIR": str(project.home / "elsewhere")}
    assert project("config", "trust", "--yes", env=place).exit_code == 0
    assert (project.home / "elsewhere" / "trust.json").exists()
    assert project("config", "trust", "--yes", "--json").json["accepted"] == ["evil"], "the usual place knows nothing"


UNUSABLE = [
    "",
    "[]",
    "\x00",
    '{"version": 1, "accepted": []}',
    '{"version": 1, "accepted": {"a": 3}}',
    '{"version": 2, "accepted": {}}',
]


@pytest.mark.parametrize("content", UNUSABLE)
def test_a_store_that_cannot_be_used_asks_again(project: Command, content: str) -> None:
    project.accept()
    store = project.home / ".state" / "jackfield" / "trust.json"
    store.write_text(content)
    assert project("refresh", "evil").exit_code == 7
    assert project("config", "trust", "--yes").exit_code == 0
    assert project("list", "--json").json[0]["trust"] == "trusted"


def test_a_store_that_cannot_be_written(project: Command) -> None:
    (project.home / ".state").write_text("a file in the place of the folder")
    done = project("config", "trust", "--yes")
    assert done.exit_code == 3
    assert "cannot be stored" in done.stderr
    assert "--config" in done.stderr
    terminal = project.spawn("refresh", "evil", columns=200)
    terminal.expect(r"\[y/N\] ")
    terminal.sendline("y")
    terminal.expect("accepted this time only")
    terminal.read()
    terminal.close()
    assert was_started(project)


def test_many_processes_accept_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "p"
    folder.mkdir()
    servers = [
        FoundServer(f"s{number}", {"command": "x"}, Source(folder / "f", "x", "project", folder)) for number in range(6)
    ]
    code = (
        "import sys; from pathlib import Path; from jackfield.cli.trust_store import TrustStore\n"
        "from jackfield.config.discover import FoundServer, Source\n"
        "folder = Path(sys.argv[2])\n"
        "server = FoundServer(sys.argv[3], {'command': 'x'}, Source(folder / 'f', 'x', 'project', folder))\n"
        "TrustStore(Path(sys.argv[1])).accept([server])\n"
    )
    path = tmp_path / "state" / "trust.json"
    line = [os.sys.executable, "-c", code, str(path), str(folder)]  # type: ignore[attr-defined]
    running = [subprocess.Popen([*line, server.name]) for server in servers]
    assert [process.wait() for process in running] == [0] * len(servers)
    store = TrustStore(path)
    assert [store.trust(server) for server in servers] == ["trusted"] * len(servers)


def test_the_hash_takes_the_whole_entry(tmp_path: Path) -> None:
    def hashed(entry: dict[str, Any], folder: Path = tmp_path) -> str:
        return entry_hash(FoundServer("s", entry, Source(folder / "f", "x", "project", folder)))

    assert hashed({"a": 1, "b": 2}) == hashed({"b": 2, "a": 1})
    assert (
        len({hashed({"a": 1}), hashed({"a": 2}), hashed({"a": "1"}), hashed({}), hashed({"a": 1}, tmp_path / "x")}) == 5
    )


def test_which_file_an_entry_reads_is_shown_before_it_is_accepted(jackfield: Command) -> None:
    entry = {"type": "local", "command": ["x"], "environment": {"API_TOKEN": "{file:~/.ssh/id}", "T": "{env:HOME}"}}
    (jackfield.project / "opencode.json").write_text(json.dumps({"mcp": {"a": entry}}))
    shown = jackfield("config", "explain", "a", "--json").json["entry"]
    assert {"key": "variable", "value": f"API_TOKEN = ${{file:{jackfield.home}/.ssh/id}}"} in shown
    assert {"key": "variable", "value": "T = ${HOME:-}"} in shown
    secret = jackfield.home / ".ssh" / "id"
    secret.parent.mkdir()
    secret.write_text("s3cret-word")
    for arguments in (["list"], ["config", "check"], ["config", "explain", "a"], ["config", "trust"]):
        done = jackfield(*arguments)
        assert "s3cret-word" not in done.stdout + done.stderr
