"""`jackfield call` as a real process, against real servers."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..conftest import MARK, SERVERS, TOKEN, Listening, eventually, strays
from .conftest import PYTHON, Command, Done, everything, golden, golden_layouts, unruly_entry

SHELL_SERVER = f"{PYTHON} -S {SERVERS / 'unruly.py'}"


def noting(started: Path, *options: str) -> dict[str, Any]:
    """An unruly server that leaves a file behind when it is started."""
    script = f'touch "{started}"; exec "{PYTHON}" -S "{SERVERS / "unruly.py"}" "$@"'
    return {"command": "sh", "args": ["-c", script, "sh", *options], "env": {MARK: TOKEN}}


@pytest.fixture
def run(jackfield: Command) -> Command:
    """The command with both servers, which are trusted."""
    jackfield.configure_user(everything=everything(), unruly=unruly_entry())
    return jackfield


# Results


@pytest.mark.parametrize("style", ["text", "json", "markdown", "raw"])
def test_a_result_in_each_style(run: Command, style: str) -> None:
    shown = []
    for tool, *words in (["media"], ["picture"], ["receipt", "customer=Ada"]):
        done = run("call", f"everything.{tool}", *words, "--output", style)
        assert (done.exit_code, done.stderr) == (0, "")
        shown.append(f"$ {tool}\n{done.stdout}")
    golden(f"call.{style}", "".join(shown))


def test_the_layouts_of_a_result_and_of_an_error(run: Command) -> None:
    golden_layouts(run, "call.result", "call", "unruly.add", "a=1", "b=2")
    golden_layouts(run, "call.tool_error", "call", "unruly.fail", exit_code=1)
    golden_layouts(run, "call.misfit", "call", "unruly.add", "a=1", "b=x", exit_code=2)


def test_json_gives_data_to_pipe_on(run: Command) -> None:
    assert run("call", "everything.add", "a=1", "b=2", "--json").json == 3
    assert run("call", "everything.receipt", "customer=A", "--output", "json").json["items"] == [
        {"name": "tea", "size": "large"}
    ]


def test_a_tools_own_error_goes_to_stderr_and_exits_1(run: Command) -> None:
    done = run("call", "everything.fail", "why=line one\nline two\twith a tab")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "Error: Tool 'fail' of server 'everything' reported an error:\n"
        "Error executing tool fail: line one\nline two        with a tab\n"
    )
    as_json = run("--json", "call", "everything.fail", "why=no")
    assert as_json.error == {
        "code": "tool_error",
        "message": "Tool 'fail' of server 'everything' reported an error: Error executing tool fail: no",
        "hint": None,
    }
    raw = run("call", "everything.fail", "--output", "raw")
    assert raw.exit_code == 1
    assert raw.json["isError"] is True


def test_what_a_server_writes_cannot_steer_the_terminal(run: Command) -> None:
    evil = "a\x1b]0;title\x07b\r\nc\u202ed"
    piped = run("call", "unruly.echo", f"text={evil}").stdout
    assert piped == evil.replace("\r\n", "\n") + "\n", "a pipe gets it as it is; the line end is of reading it here"
    shown = run.in_terminal("call", "unruly.echo", f"text={evil}")
    assert "a?]0;title?b\nc?d" in shown.stdout
    failed = run.in_terminal("call", "everything.fail", f"why={evil}")
    assert "\x1b]0" not in failed.stdout


# Arguments


def test_values_take_the_types_that_the_tool_asks_for(run: Command, tmp_path: Path) -> None:
    (run.project / "words.txt").write_text("from a file")
    for words, text in (
        (["value=5"], "5"),
        (["value=null"], "None"),
        (["value:=\"5\""], "'5'"),
        (["value=@words.txt"], "'from a file'"),
        (['value={"a": [1.5]}'], "{'a': [1.5]}"),
        (["--args", '{"value": true}'], "True"),
    ):  # fmt: skip
        done = run("call", "everything.arguments", *words)
        assert (done.stdout, done.stderr) == (f"{text}\n", "")
    done = run("call", "everything.preferences", "size=large", "limit=7", "tags=a", "tags=b")
    assert done.stdout == "large 7 ['a', 'b']\n"
    done = run("call", "everything.arguments", "-", stdin='{"value": "from stdin"}')
    assert done.stdout == "'from stdin'\n"


USAGE = [
    (["call"], "Missing argument 'SERVER.TOOL'"),
    (["call", "unruly"], "'unruly' names a server but no tool: write unruly.TOOL."),
    (["call", "unruly."], "'unruly.' names a server but no tool"),
    (["call", "unruly.ecko", "text=x"], "Did you mean 'unruly.echo'"),
    (["call", "unrly.echo", "text=x"], "There is no server 'unrly'.\nDid you mean 'unruly'?"),
    (["call", "echo", "text=x"], "'echo' names no server: write SERVER.TOOL.\nDid you mean unruly.echo?"),
    (["call", "unruly.echo"], "text (string) is missing"),
    (["call", "unruly.echo", "text=x", "txt=y"], "unknown 'txt'; did you mean 'text'?"),
    (["call", "unruly.add", "a=1", "b=x"], "b (integer): 'x' is not an integer"),
    (["call", "unruly.add", "a=1", "b:=\"x\""], "b: 'x' is not of type 'integer'"),
    (["call", "unruly.echo", "hello"], "'hello' has no name"),
    (["call", "unruly.echo", "--text", "hello"], "text=VALUE, without dashes"),
    (["call", "unruly.echo", "text=@gone"], "the file 'gone' cannot be read"),
    (["call", "unruly.echo", "--args", "{"], "--args: line 1, column 2"),
    (["call", "unruly.echo", "text=x", "--output", "yaml"], "there is no style 'yaml'"),
    (["call", "unruly.echo", "text=x", "--timeout", "0"], "0 is not a positive number of seconds"),
    (["call", "unruly.echo", "text=x", "--timeout", "soon"], "'soon' is not a number"),
    (["call", "unruly.echo", "text=x", "--save", "/proc/no"], "--save: the folder '/proc/no' cannot be made"),
    (["call", "unruly.echo", "text=x", "--header", "A: b"], "--header requires --http or --sse"),
    (["call", "unruly.echo", "text=x", "--http", "http://x", "--sse", "http://x"], "cannot be given together"),
]  # fmt: skip


def test_a_wrong_call_is_said_and_starts_nothing(jackfield: Command, tmp_path: Path) -> None:
    started = tmp_path / "started"
    jackfield.configure_user(unruly=noting(started))
    assert jackfield("call", "unruly.count").stdout == "1\n"
    started.unlink()
    for arguments, message in USAGE:
        done = jackfield(*arguments)
        assert (done.exit_code, done.stdout) == (2, ""), arguments
        assert message in done.stderr, arguments
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) <= 2
    for arguments, _ in USAGE[:3]:
        error = jackfield("--json", *arguments).error
        assert set(error) == {"code", "message", "hint"}
    assert not started.exists()


def test_a_wrong_call_of_a_server_that_was_never_listed_is_said_by_asking_it(jackfield: Command) -> None:
    log = jackfield.home / "log"
    jackfield.configure_user(unruly=unruly_entry("--log", str(log)))
    cache = {"JACKFIELD_CACHE_DIR": "/dev/null/nowhere"}
    for arguments, message in (
        (["unruly.ecko"], "Did you mean 'unruly.echo'"),
        (["unruly.add", "a=1", "b=x"], "b (integer): 'x' is not an integer"),
    ):
        done = jackfield("call", *arguments, env=cache)
        assert done.exit_code == 2
        assert message in done.stderr
    assert not log.exists(), "no tool ran"


def test_the_servers_own_listing_counts_and_not_the_catalog(jackfield: Command) -> None:
    """The catalog may be older than the server; what fits both is called by what the server says now."""
    jackfield.configure_user(unruly=unruly_entry())
    assert jackfield("call", "unruly.add", "a=1", "b=2").stdout == "3\n"
    (entry,) = (jackfield.home / ".cache" / "jackfield" / "catalog").glob("*.json")
    old = json.loads(entry.read_text())
    tool = next(tool for tool in old["tools"] if tool["name"] == "add")
    tool["inputSchema"]["properties"] = {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}}
    old["fetched_at"] -= 3 * 3600
    entry.write_text(json.dumps(old))
    listed = "as listed 3 h ago; to list it again: jackfield refresh unruly"
    done = jackfield("call", "unruly.add", "a=1")
    assert (done.exit_code, listed in done.stderr) == (2, True)
    assert listed in jackfield("call", "unruly.ad").stderr
    assert jackfield("call", "unruly.add", "a=1", "b=2", "c=3").exit_code == 2, "the server says now that there is no c"
    entry.write_text(json.dumps(old))
    assert jackfield("call", "unruly.add", "a=1", "b=2").stdout == "3\n", "and that a and b are numbers"


def test_names_are_taken_by_case_and_separators_but_never_guessed(jackfield: Command) -> None:
    jackfield.configure_user(**{"My.Notes": unruly_entry()}, odd=everything())
    for reference in ("My.Notes.add", "my-notes.add", "MYNOTES/ADD", "My.Notes/add"):
        assert jackfield("call", reference, "a=1", "b=2").stdout == "3\n", reference
    assert jackfield("call", "odd.odd.name/with:colons").stdout == "odd\n"
    assert jackfield("call", "my-note.add", "a=1", "b=2").exit_code == 2


def test_a_dry_run_checks_and_calls_nothing(jackfield: Command, tmp_path: Path) -> None:
    log = tmp_path / "log"
    jackfield.configure_user(unruly=unruly_entry("--log", str(log)))
    plan = {"server": "unruly", "tool": "add", "arguments": {"a": 1, "b": 2}}
    for _ in ("cold", "warm"):
        done = jackfield("call", "unruly.add", "a=1", "b=2", "--dry-run")
        assert (done.exit_code, done.json, done.stderr) == (0, plan, "Nothing was called.\n")
        assert jackfield("call", "unruly.add", "a=1", "--dry-run").exit_code == 2
    assert not log.exists()


def test_excluded_tools_cannot_be_called(jackfield: Command) -> None:
    jackfield.configure_user(unruly=unruly_entry(exclude=["e*"]))
    for _ in ("cold", "warm"):
        assert jackfield("call", "unruly.echo", "text=x").exit_code == 2


# Servers


def test_a_server_given_by_its_command(jackfield: Command) -> None:
    for reference in ("add", "any.add"):
        done = jackfield("call", "--stdio", SHELL_SERVER, reference, "a=1", "b=2")
        assert (done.exit_code, done.stdout, done.stderr) == (0, "3\n", "")
    done = jackfield("call", "--stdio", SHELL_SERVER, "environment", "name=OURS", env={"OURS": "handed on"})
    assert done.stdout == "handed on\n"
    for line, exit_code, message in (
        ("no-such-command", 4, "the command 'no-such-command' was not found"),
        ("", 2, "--stdio: it contains no command."),
        ("python '", 2, "no closing quotation"),
        (f"{SHELL_SERVER} --exit 3 --stderr 'no licence'", 4, "The server wrote: no licence"),
    ):
        done = jackfield("call", "--stdio", line, "add")
        assert (done.exit_code, message in done.stderr) == (exit_code, True), done.stderr
    done = jackfield("call", "--stdio", SHELL_SERVER, "ad", "a=1")
    assert done.stderr == "Error: There is no tool 'any.ad'. Nothing was sent.\nDid you mean 'any.add'?\n"


def test_a_server_given_by_its_address(jackfield: Command, listening: Callable[..., Listening]) -> None:
    http, sse = listening("everything.py", "streamable-http"), listening("everything.py", "sse")
    assert jackfield("call", "--http", http.url, "add", "a=1", "b=2").stdout == "3\n"
    assert jackfield("call", "--sse", sse.url, "add", "a=1", "b=2").stdout == "3\n"
    header = ["--header", "X-Who: ${WHO}"]
    done = jackfield("call", "--http", http.url, *header, "headers", "name=x-who", env={"WHO": "me"})
    assert done.stdout == "me\n"
    for arguments, exit_code, message in (
        (["--http", "ftp://x"], 2, "--http: a url must start with http:// or https://"),
        (["--http", "http://127.0.0.1:1/mcp"], 4, "cannot be reached"),
        (["--http", http.url, "--header", "secret"], 2, "--header: it has no colon."),
        (["--http", http.url, "--header", "A: ${NOT_SET}"], 2, "the environment variable NOT_SET is not set"),
    ):
        done = jackfield("call", *arguments, "add", "a=1", "b=2")
        assert (done.exit_code, message in done.stderr) == (exit_code, True), done.stderr
        assert "secret" not in done.stderr


def test_each_kind_of_failure_has_its_exit_code(jackfield: Command, listening: Callable[..., Listening]) -> None:
    faulty = listening("faulty_http.py")
    jackfield.configure_user(
        dead=unruly_entry("--exit", "3", "--stderr", "no licence key"),
        gone={"command": "no-such-command"},
        silent=unruly_entry("--silent"),
        unruly=unruly_entry(),
        wrong={"command": "x", "env": {"A": "${NOT_SET}"}},
        closed={"url": f"{faulty.url}/401"},
    )
    for arguments, exit_code, code, message in (
        (["dead.echo"], 4, "start_failed", "exited with code 3 before it completed the handshake"),
        (["gone.echo"], 4, "start_failed", "the command 'no-such-command' was not found"),
        (["silent.echo", "--timeout", "1.5"], 6, "session_timeout", "1.5 s"),
        (["unruly.sleep", "seconds=60", "--timeout", "3"], 6, "session_timeout", "within 3 s"),
        (["unruly.crash", "code=1"], 4, "session_terminated", "The call was sent and may have taken effect."),
        (["wrong.echo"], 3, "config_invalid", "the environment variable NOT_SET is not set"),
        (["closed.echo"], 5, "auth_required", "401"),
        (["nope.echo"], 2, "unknown_server", "There is no server 'nope'."),
    ):
        done = jackfield("--json", "call", *arguments)
        assert (done.exit_code, done.stdout) == (exit_code, ""), done.stderr
        assert len(done.stderr.splitlines()) == 1, done.stderr
        assert (done.error["code"], message in done.error["message"]) == (code, True), done.error
    done = jackfield("call", "unruly.crash", "code=1")
    assert done.stderr.splitlines()[-1] == "To find the problem: jackfield doctor unruly"
    done = jackfield("call", "unruly.sleep", "seconds=60", "--timeout", "2")
    assert done.stderr.splitlines()[-1] == "Allow more time with --timeout SECONDS."


def test_a_project_file_starts_nothing_before_it_is_accepted(jackfield: Command, tmp_path: Path) -> None:
    started = tmp_path / "started"
    jackfield.configure(unruly=noting(started))
    done = jackfield("call", "unruly.echo", "text=x")
    assert (done.exit_code, done.stdout) == (7, "")
    assert not started.exists()


# Files


def test_pictures_go_to_files(run: Command) -> None:
    for expected in ("shots/picture.png", "shots/picture-2.png"):
        done = run("call", "everything.picture", "--save", "shots")
        assert (done.exit_code, done.stdout) == (0, f"One pixel:\n{expected}\n")
        assert (run.project / expected).read_bytes().startswith(b"\x89PNG")
    done = run("call", "everything.media", "--save", "shots", "--json")
    assert [block.get("savedAs") for block in done.json if isinstance(block, dict)] == [
        "shots/media.wav", "shots/two.bin", None,
    ]  # fmt: skip


# Where it is written


def shell(run: Command, script: str, *arguments: str) -> Done:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {script}", "bash", *run.line(*arguments)],
        capture_output=True, text=True, env=run.environment, cwd=run.project, check=False, timeout=60,
    )  # fmt: skip
    return Done(done.returncode, done.stdout, done.stderr)


def test_a_reader_that_goes_away_is_no_error(run: Command) -> None:
    done = shell(run, '"$@" | head -c 10', "call", "unruly.flood", "bytes=5000000")
    assert (done.exit_code, done.stdout, done.stderr) == (141, "xxxxxxxxxx", "")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is a device of Linux")
def test_a_full_disk_is_said(run: Command) -> None:
    done = shell(run, '"$@" > /dev/full', "call", "unruly.echo", "text=x")
    assert done.exit_code == 74
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


def test_logs_are_for_those_who_ask(run: Command) -> None:
    quiet = run("call", "unruly.fail")
    assert len(quiet.stderr.splitlines()) == 2
    assert "jackfield" in run("call", "unruly.echo", "text=x", "--verbose").stderr


# What is imported when

PROBE = """
import sys
from jackfield.transport import spawn
started = []
real = spawn.start_program
def start_program(launch):
    started.append([name for name in ("mcp", "pydantic", "asyncio", "anyio", "httpx2") if name in sys.modules])
    return real(launch)
spawn.start_program = start_program
from jackfield.cli.app import main
code = main(sys.argv[1:])
print(started, [name for name in ("mcp", "asyncio", "pydantic", "jsonschema") if name in sys.modules], file=sys.stderr)
sys.exit(code)
"""


def probe(run: Command, *arguments: str) -> str:
    done = subprocess.run(
        [PYTHON, "-c", PROBE, *arguments],
        capture_output=True, text=True, env=run.environment, cwd=run.project, check=False, timeout=60,
    )  # fmt: skip
    return done.stderr.splitlines()[-1]


def test_the_server_is_started_before_the_sdk_is_imported(run: Command) -> None:
    assert probe(run, "call", "unruly.echo", "text=x").startswith("[[]] ['mcp', 'asyncio',")


def test_a_wrong_call_imports_nothing_heavy(run: Command) -> None:
    run("call", "unruly.count")
    assert probe(run, "call", "unruly.add", "a=1", "b=x") == "[] []"
    assert probe(run, "call", "unruly.ecko") == "[] []"
    assert probe(run, "call", "unruly.add", "a=1", "b=2", "--dry-run") == "[] []"


def test_nothing_is_left_running(run: Command) -> None:
    run.configure_user(unruly=unruly_entry("--helper", "daemon", "--helper-ignores-sigterm"))
    assert run("call", "unruly.echo", "text=x").stdout == "x\n"
    assert strays() == []
    assert run("call", "unruly.crash", "code=1").exit_code == 4
    assert eventually(lambda: strays() == [])
