"""`open`, `close`, `ps`, and calls through what they keep."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ..conftest import eventually, strays
from .conftest import Command, everything, golden, golden_layouts, unruly_entry, write_servers
from .test_imports import HEAVY, PROBE

NEVER_LISTS = """
import json, sys
for line in sys.stdin:
    asked = json.loads(line)
    if asked["method"] == "initialize":
        info = {"name": "slow", "version": "1"}
        result = {"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": info}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
    elif asked["method"] == "server/discover":
        error = {"code": -32601, "message": "Method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
"""

SCRUBS = (
    (r"\b\d+(\.\d)? (ms|s|min|h)\b", "TIME"),
    (r"(?<=[ \t])\d{2,}(?=[ \t])", "PID"),
    # As wide as what stood there:
    (r" +(?=\x1b)|(?<=\x1b\[1m) +", ""),
    (r" {2,}", "  "),
)


@pytest.fixture
def kept(jackfield: Command) -> Iterator[Command]:
    """The command with two servers of the user's, and no background process left after the test."""
    jackfield.configure_user(plain=unruly_entry(), everything=everything())
    yield jackfield
    jackfield("close", "--all")
    assert eventually(lambda: strays() == [])


def count(run: Command, *options: str) -> str:
    done = run("call", "plain.count", *options)
    assert (done.exit_code, done.stderr) == (0, "")
    return done.stdout


def test_what_is_open_is_shared_by_commands(kept: Command) -> None:
    assert [count(kept), count(kept)] == ["1\n", "1\n"]
    opened = kept("open", "plain")
    assert (opened.exit_code, opened.stdout) == (0, "")
    assert "plain is open now" in opened.stderr
    assert "9 tools" in opened.stderr
    assert [count(kept), count(kept)] == ["1\n", "2\n"]
    closed = kept("close", "plain")
    assert (closed.exit_code, closed.stdout, closed.stderr) == (0, "", "Closed plain.\n")
    assert count(kept) == "1\n"


def test_read_and_prompt_go_through_it_too(kept: Command) -> None:
    kept("open", "everything")
    assert kept("read", "everything", "notes://today").stdout == "milk, eggs\n"
    assert "Summarize tea" in kept("prompt", "everything", "summarize", "topic=tea").stdout
    (session,) = kept("ps", "--json").json["sessions"]
    assert session["calls"] == 2


def test_warm_calls_get_a_session_that_nobody_has_used(kept: Command) -> None:
    warm = {"JACKFIELD_WARM": "1"}
    pids = [kept("call", "plain.pid", env=warm).stdout]

    def ahead() -> list[str]:
        return [one["key"] for one in kept("ps", "--json").json["sessions"] if one["state"] == "idle"]

    for _ in range(2):
        assert eventually(lambda: len(ahead()) == 1), "one is opened ahead of the next call"
        pids.append(kept("call", "plain.pid", env=warm).stdout)
    assert len(set(pids)) == 3, "each call has a server of its own"
    assert kept("call", "plain.crash", "code=3", env=warm).exit_code == 4
    assert kept("call", "plain.count", env=warm).stdout == "1\n", "and no call hears of the loss of another's"
    kept.configure_user(broken=unruly_entry("--exit", "3"))
    broken = kept("call", "broken.count", env=warm)
    assert broken.exit_code == 4
    assert "Server 'broken' exited with code 3 before it completed the handshake." in broken.stderr
    assert kept("call", "broken.count", env={"JACKFIELD_WARM": "0"}).exit_code == 4


def test_a_warm_call_has_the_variables_and_the_folder_that_it_was_made_with(kept: Command) -> None:
    kept.configure_user(plain={**unruly_entry(), "inherit_environment": ["PROFILE"]})
    home = kept.project
    folders = [home / "one", home / "two"]
    for folder, profile in zip(folders, ("ann", "bob"), strict=True):
        folder.mkdir()
        kept.project = folder
        for _ in range(2):
            given = {"JACKFIELD_WARM": "1", "PROFILE": profile}
            assert kept("call", "plain.environment", "name=PROFILE", env=given).stdout == f"{profile}\n"

            def ahead(here: Path = folder) -> bool:
                sessions = kept("ps", "--json").json["sessions"]
                return any(one["state"] == "idle" and psutil.Process(one["pid"]).cwd() == str(here) for one in sessions)

            assert eventually(ahead), "one is opened ahead of the next call from here"
    kept.project = home


def test_the_background_process_serves_servers_that_are_not_kept(kept: Command) -> None:
    def modules(*arguments: str, **env: str) -> set[str]:
        done = subprocess.run(
            [sys.executable, "-c", PROBE, *arguments],
            capture_output=True, text=True, env={**kept.environment, **env}, cwd=kept.project, check=True,
        )  # fmt: skip
        return set(done.stderr.splitlines()[-1].split())

    # A server that nobody has met: only the SDK finds out what it speaks.
    assert modules("list", "plain", "--live") >= {"mcp"}
    assert kept("ps", "--json").json["process"] is None
    kept("open", "everything")
    kept.remembered("plain").unlink()
    assert not HEAVY & modules("call", "plain.count")
    assert not HEAVY & modules("list", "plain", "--live")
    assert kept("list", "plain", "--json").json[0]["name"] == "echo"
    assert modules("list", "plain", "--live", JACKFIELD_WARM="0") >= {"mcp"}
    # What was opened for a command is closed when that ends.
    assert [one["server"] for one in kept("ps", "--json").json["sessions"]] == ["everything"]
    kept.configure_user(plain=unruly_entry(), everything=everything(), gone={"command": "no-such-command"})
    for done in (kept("refresh", "--json"), kept("refresh", "--json", env={"JACKFIELD_WARM": "0"})):
        assert done.exit_code == 4
        assert [(one["name"], one["tools"], one["changed"]) for one in done.json][:2] == [
            ("plain", 9, []),
            ("everything", kept("refresh", "everything", "--json").json[0]["tools"], []),
        ]
        assert (done.json[2]["tools"], done.json[2]["error"]["code"]) == (None, "start_failed")
        assert done.json[0]["seconds"] > 0
    # Another catalog is not the background process's.
    elsewhere = {"JACKFIELD_CACHE_DIR": str(kept.home / "elsewhere")}
    assert kept("list", "plain", "--live", "--quiet", env=elsewhere).stdout.startswith("echo")


def test_what_is_lent_is_closed_however_the_command_ends(kept: Command) -> None:
    kept.python = sys.executable
    kept("open", "everything")
    never_lists = {"command": sys.executable, "args": ["-S", "-c", NEVER_LISTS]}
    kept.configure_user(slow={**unruly_entry(), **never_lists}, everything=everything())
    for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
        asking = subprocess.Popen(
            kept.line("list", "slow", "--live"), env=kept.environment, cwd=kept.project,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        states = {"idle", "busy"}
        assert eventually(
            lambda states=states: any(
                one["server"] == "slow" and one["state"] in states for one in kept("ps", "--json").json["sessions"]
            )
        )
        asking.send_signal(number)
        assert asking.wait(20) in (code, -number)
        assert eventually(
            lambda: [one["server"] for one in kept("ps", "--json").json["sessions"]] == ["everything"], 10.0
        )
    assert kept("call", "slow.count", "--timeout", "1").exit_code == 6


def test_keys(kept: Command) -> None:
    for key in ("ada", "ben"):
        assert kept("open", "plain", "--key", key).exit_code == 0
    assert [count(kept, "--key", "ada"), count(kept, "--key", "ada"), count(kept, "--key", "ben")] == [
        "1\n",
        "2\n",
        "1\n",
    ]
    assert count(kept) == "1\n"  # on a session of its own
    assert kept("close", "plain", "--key", "ada").stderr == "Closed plain (ada).\n"
    missing = kept("call", "plain.count", "--key", "ada", "--json")
    assert (missing.exit_code, missing.stdout) == (4, "")
    assert missing.error == {
        "code": "keeper_failed",
        "message": "No session of server 'plain' is open under the key 'ada'.",
        "hint": "Open it: jackfield open plain --key ada",
    }
    assert [session["key"] for session in kept("ps", "--json").json["sessions"]] == ["ben"]


def test_keep_alive_needs_no_open(kept: Command) -> None:
    kept.configure_user(plain=unruly_entry(keep_alive=60))
    assert [count(kept), count(kept)] == ["1\n", "2\n"]
    (session,) = kept("ps", "--json").json["sessions"]
    assert session["idle_timeout"] == 60


def test_data(kept: Command) -> None:
    assert kept("ps", "--json").json == {"process": None, "sessions": []}
    assert kept("close", "--all", "--json").json == []
    opened = kept("open", "plain", "--idle", "60", "--json").json
    assert (opened["opened"], opened["tools"], opened["session"]["idle_timeout"]) == (True, 9, 60)
    assert opened["session"]["origin"] == str(kept.home / ".config" / "jackfield" / "jackfield.json")
    found = kept("ps", "--json").json
    assert found["process"]["pid"] != found["sessions"][0]["pid"] == opened["session"]["pid"]
    assert kept("close", "plain", "--json").json == [{"server": "plain", "key": "default"}]


def test_layouts(kept: Command) -> None:
    golden_layouts(kept, "ps.nothing", "ps")
    kept("open", "plain")
    kept("open", "everything", "--key", "ada", "--idle", "5000")
    golden_layouts(kept, "open.again", "open", "plain", scrubs=SCRUBS)
    golden_layouts(kept, "ps", "ps", scrubs=SCRUBS)
    golden_layouts(kept, "open.unknown", "open", "plan", exit_code=2)
    golden_layouts(kept, "close.neither", "close", exit_code=2)
    kept("close", "plain")
    golden_layouts(kept, "close.nothing", "close", "plain")
    golden("close.all", kept("close", "--all").stderr)
    golden("open.first", kept("open", "plain").stderr, *SCRUBS)


def test_what_is_wrong_with_a_line(kept: Command) -> None:
    for arguments, message in (
        (["open"], "SERVER"),
        (["open", "plan"], "Did you mean 'plain'?"),
        (["open", "plain", "--idle", "0"], "--idle: 0 is not a positive number"),
        (["open", "plain", "--idle", "soon"], "soon"),
        (["open", "plain", "--key", ""], "--key: it is empty"),
        (["close"], "Say which server, or --all."),
        (["close", "plan"], "Did you mean 'plain'?"),
        (["close", "plain", "--all"], "omit SERVER and --key"),
        (["ps", "plain"], "plain"),
        (["call", "any.x", "--stdio", "cat", "--key", "k"], "--key works only with sessions of configured servers"),
    ):
        done = kept(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), arguments
        assert message in done.stderr
    assert kept("ps", "--json").json["process"] is None


def test_what_is_not_trusted_is_not_started(kept: Command) -> None:
    kept.configure(project=unruly_entry("--stderr", "STARTED", keep_alive=True))
    for arguments in (["open", "project"], ["call", "project.count"]):
        done = kept(*arguments, "--json")
        assert done.exit_code == 7
        assert done.error["code"] == "not_trusted"
    assert kept("ps", "--json").json["process"] is None


def test_errors_of_a_server(kept: Command) -> None:
    kept.configure_user(
        dead=unruly_entry("--exit", "3", "--stderr", "no licence"),
        wrong={"command": "x", "comand": "y", "keep_alive": True},
        missing={"command": "no-such-command"},
        unset={"command": "x", "env": {"A": "${NOT_SET}"}},
        plain=unruly_entry(),
    )
    dead = kept("open", "dead")
    assert dead.exit_code == 4
    assert "no licence" in dead.stderr
    assert kept("open", "missing").exit_code == 4
    for arguments in (["open", "wrong"], ["call", "wrong.tool"], ["open", "unset"]):
        done = kept(*arguments)
        assert done.exit_code == 3
        assert "jackfield.json" in done.stderr
    kept("open", "plain")
    assert kept("call", "plain.fail").exit_code == 1
    assert kept("call", "plain.nothing").exit_code == 2
    assert kept("call", "plain.add", "a=x", "b=1").exit_code == 2
    assert kept("call", "plain.sleep", "seconds=20", "--timeout", "0.3").exit_code == 6
    crashed = kept("call", "plain.crash", "code=1")
    assert crashed.exit_code == 4
    assert count(kept) == "1\n"  # that its state is gone was told by the error


def test_lost_state_is_told(kept: Command) -> None:
    opened = kept("open", "plain", "--json").json
    count(kept)
    psutil.Process(opened["session"]["pid"]).kill()
    assert eventually(lambda: kept("ps", "--json").json["sessions"][0]["state"] == "lost")
    done = kept("call", "plain.count")
    assert (done.exit_code, done.stdout) == (0, "1\n")
    assert "Warning: The session of plain was lost and reopened" in done.stderr


def test_a_call_is_refused_once_its_state_is_lost(kept: Command) -> None:
    kept.configure_user(plain=unruly_entry(session={"on_state_lost": "refuse"}))
    opened = kept("open", "plain", "--json").json
    psutil.Process(opened["session"]["pid"]).kill()
    assert eventually(lambda: kept("ps", "--json").json["sessions"][0]["state"] == "lost")
    refused = kept("call", "plain.count")
    assert (refused.exit_code, refused.stdout) == (1, "")
    assert "The call of 'count' was not made" in refused.stderr
    assert "(transactions, open files, logins) was lost" in refused.stderr
    assert "call again" in refused.stderr
    assert count(kept) == "1\n"


def test_a_changed_configuration_is_told(kept: Command) -> None:
    kept("open", "plain")
    kept.configure_user(plain=unruly_entry("--stderr", "changed"))
    done = kept("call", "plain.count")
    assert (done.exit_code, done.stdout) == (0, "1\n")
    assert "Warning: The configuration of plain has changed" in done.stderr
    assert ", old" in kept("ps").stdout


def test_a_place_that_cannot_be_used(kept: Command) -> None:
    nowhere = {"XDG_RUNTIME_DIR": "/sys"}
    assert kept("call", "plain.count", env=nowhere).stdout == "1\n"
    assert kept("ps", env=nowhere).exit_code == 0
    done = kept("open", "plain", env=nowhere)
    assert done.exit_code == 4
    assert "Kept sessions need the directory /sys/jackfield" in done.stderr
    assert "XDG_RUNTIME_DIR" in done.stderr
    kept("open", "plain")
    (kept.home / ".run" / "jackfield").chmod(0o755)
    for arguments in (["ps"], ["call", "plain.count"], ["close", "--all"]):
        done = kept(*arguments)
        assert done.exit_code == 4
        assert "not trusted" in done.stderr
    (kept.home / ".run" / "jackfield").chmod(0o700)


def test_a_read_only_home(kept: Command) -> None:
    done = kept("open", "plain", env={"XDG_STATE_HOME": "/sys", "XDG_CACHE_HOME": "/sys"})
    assert done.exit_code == 0, done.stderr
    assert count(kept) == "1\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_in_mid_call(kept: Command, number: signal.Signals) -> None:
    log = kept.home / "runs.log"
    kept.configure_user(plain=unruly_entry("--log", str(log)))
    kept("open", "plain")
    with subprocess.Popen(
        kept.line("call", "plain.sleep", "seconds=60"),
        env=kept.environment,
        cwd=kept.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        assert eventually(lambda: log.exists() and "run sleep" in log.read_text(), 20)
        os.killpg(process.pid, number)  # as a terminal does
        output = process.communicate(timeout=20)
    assert output == ("", "")
    assert process.returncode == (130 if number == signal.SIGINT else -number)
    assert eventually(lambda: "cancelled" in log.read_text())
    assert count(kept) == "2\n"


def test_a_call_on_a_kept_session_imports_nothing_heavy(kept: Command) -> None:
    kept("open", "plain")
    done = subprocess.run(
        [sys.executable, "-c", PROBE, "call", "plain.echo", "text=x"],
        capture_output=True, text=True, env=kept.environment, cwd=kept.project, check=True,
    )  # fmt: skip
    assert done.stdout == "x\n"
    assert not (HEAVY | {"typer", "logging", "secrets", "shutil"}) & set(done.stderr.splitlines()[-1].split())


def test_a_server_of_the_same_name_elsewhere_is_another(kept: Command) -> None:
    other = write_servers(kept.home / "other.json", {"plain": unruly_entry()})
    kept("open", "plain")
    assert [count(kept), count(kept)] == ["1\n", "2\n"]
    assert count(kept, "--config", str(other)) == "1\n"
    # However its file is named.
    kept("open", "plain", "--config", str(other))
    assert kept("call", "plain.count", "--config", "other.json", cwd=kept.home).stdout == "1\n"
    assert count(kept, "--config", str(other)) == "2\n"
    # From wherever it is called, a server of the user's is the same.
    assert kept("call", "plain.count", cwd=kept.home).stdout == "3\n"


def test_no_secret_in_what_is_shown(kept: Command) -> None:
    kept.configure_user(plain=unruly_entry(env={"API_KEY": "${SECRET}", **unruly_entry()["env"]}))
    secret = {"SECRET": "s3cr3t-value"}
    opened = kept("open", "plain", "--json", env=secret)
    assert kept("call", "plain.environment", "name=API_KEY", env=secret).stdout == "s3cr3t-value\n"
    shown = opened.stdout + kept("ps", "--json").stdout + (kept.home / ".state/jackfield/daemon.log").read_text()
    assert "s3cr3t" not in shown
    # With another value it is another session: the two do not disturb each other.
    other = kept("call", "plain.environment", "name=API_KEY", env={"SECRET": "another"})
    assert other.stdout == "another\n"
    assert json.loads(opened.stdout)["session"]["pid"] in [one["pid"] for one in kept("ps", "--json").json["sessions"]]
