"""`doctor`: real servers with real faults, each named with how to mend it."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
from typing import Any

import pytest

from jackfield.cli.leftovers import leftovers

from ..conftest import MARK, SERVERS, TOKEN, Listening, eventually, strays
from .conftest import Command, everything, golden_layouts, unruly_entry

TIMES = (r"\((?:\d+ ms|\d+\.\d s)\)", "(TIME)")


def steps_of(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {step["step"]: step for step in report["steps"]}


def examined(run: Command, name: str, *options: str, exit_code: int = 0) -> dict[str, dict[str, Any]]:
    done = run("doctor", name, "--json", *options)
    assert done.exit_code == exit_code, done.stderr
    (report,) = done.json["servers"]
    assert (done.error == report["error"]) if exit_code else (done.stderr == "")
    assert report["result"] == ("failed" if exit_code else report["result"])
    return steps_of(report)


def test_a_server_that_is_well(jackfield: Command) -> None:
    jackfield.configure_user(s=everything())
    steps = examined(jackfield, "s")
    assert list(steps) == ["entry", "command", "withheld", "start", "list", "ping", "close"]
    assert steps["list"]["text"] == "22 tools, 2 resources, 1 prompt"
    assert steps["start"]["text"].startswith("everything")
    assert steps["close"]["text"] == "exited with code 0"
    assert all(steps[name]["seconds"] >= 0 for name in ("start", "list", "ping", "close"))
    assert [one["state"] for one in jackfield("list", "--json").json] == ["known"], "what was learnt is remembered"


def test_a_command_that_is_missing(jackfield: Command) -> None:
    jackfield.configure_user(a={"command": "npx"}, b={"command": "pythom3"}, c={"command": "no-such-thing"})
    # Beside this interpreter there may be an npx.
    folder = jackfield.home / "programs"
    folder.mkdir()
    (folder / "python3").symlink_to(sys.executable)
    environment = {"PATH": str(folder)}
    for name, says in (("a", "Node.js"), ("b", "Did you mean 'python3'"), ("c", "full path")):
        done = jackfield("doctor", name, "--json", env=environment)
        assert done.exit_code == 4
        step = steps_of(done.json["servers"][0])["start"]
        assert "was not found" in step["text"]
        assert says in step["hint"]


def test_a_listing_with_flaws(jackfield: Command) -> None:
    tools = json.dumps({"tools/list": {"tools": [None, {"name": "work"}]}, "ping": {}})
    log = str(jackfield.home / "asked.log")
    arguments = ["-S", str(SERVERS / "scripted.py"), "stdio", "--results", tools, "--log", log]
    jackfield.configure_user(s={"command": sys.executable, "args": arguments, "env": {MARK: TOKEN}})
    step = examined(jackfield, "s")["flaws"]
    assert step["result"] == "warning"
    assert "2 flaws" in step["text"]
    assert "tool 'work': inputSchema is missing" in str(step)


def test_a_variable_that_is_missing(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry(env={MARK: TOKEN, "KEY": "${JACKFIELD_NOT_SET}"}))
    step = examined(jackfield, "s", exit_code=3)["entry"]
    assert step["text"] == "key 'env.KEY': the environment variable JACKFIELD_NOT_SET is not set."
    assert "${JACKFIELD_NOT_SET:-default}" in step["hint"]


def test_a_server_that_says_why_it_ends(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--exit", "3", "--stderr", "Traceback:\n\nKeyError: 'TOKEN'"))
    step = examined(jackfield, "s", exit_code=4)["start"]
    assert "exited with code 3" in step["text"]
    assert step["quote"] == ["Traceback:", "KeyError: 'TOKEN'"]


def test_what_is_not_handed_on(jackfield: Command) -> None:
    jackfield.environment |= {"HTTPS_PROXY": "http://user:sesame@proxy.example", "OUR_API_KEY": "sesame"}
    jackfield.configure_user(s=unruly_entry("--exit", "3"))
    done = jackfield("doctor", "s", "--json")
    (report,) = done.json["servers"]
    assert "OUR_API_KEY" in report["withheld"]
    assert "HTTPS_PROXY" not in report["withheld"]
    steps = steps_of(report)
    assert "OUR_API_KEY" in steps["withheld"]["text"]
    assert "OUR_API_KEY" in report["error"]["hint"]
    assert "OUR_API_KEY" not in steps["start"]["hint"], "the step before says so"
    assert "sesame" not in done.stdout + done.stderr


def test_volatile_that_names_nothing(jackfield: Command) -> None:
    jackfield.environment |= {"OURS": "sesame", "WHERE": "1"}
    named = ["token", "TOKN", "ours", "where"]
    jackfield.configure_user(
        s=unruly_entry("--exit", "${WHERE}", volatile=named, env={"TOKEN": "${OURS}"}),
        t={
            "url": "http://127.0.0.1:1/mcp?key=1&flag",
            "headers": {"X-User": "me"},
            "volatile": ["KEY", "x-user", "no"],
        },
    )
    assert "volatile names TOKN, but" in examined(jackfield, "s", exit_code=4)["volatile"]["text"]
    assert "volatile names no, but" in examined(jackfield, "t", exit_code=4)["volatile"]["text"]


def test_a_server_that_never_answers(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--silent", "--stderr", "waiting", session={"timeout": 0.5}))
    step = examined(jackfield, "s", exit_code=6)["start"]
    assert "did not complete the handshake within 0.5 s" in step["text"]
    assert step["quote"] == ["waiting"]


def test_a_slow_start(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--start-delay", "5.1"))
    step = examined(jackfield, "s")["start"]
    assert step["result"] == "warning"
    assert "session.timeout" in step["hint"]


def test_output_that_is_no_message(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--stdout", "Welcome!\nLoading \x1b[31m..."))
    step = examined(jackfield, "s")["output"]
    assert step["result"] == "warning"
    assert step["quote"] == ["Welcome!", "Loading ?[31m..."]


def test_servers_that_do_not_close(jackfield: Command) -> None:
    quick = {"session": {"close_timeout": 0.5}}
    jackfield.configure_user(
        stubborn=unruly_entry("--ignore-eof", "--ignore-sigterm", **quick),
        deaf=unruly_entry("--ignore-eof", **quick),
        helper=unruly_entry("--helper", "session"),
    )
    assert "SIGKILL ended it" in examined(jackfield, "stubborn")["close"]["text"]
    assert "SIGTERM ended it" in examined(jackfield, "deaf")["close"]["text"]
    assert "left 1 process running" in examined(jackfield, "helper")["close"]["text"]


def test_wrong_addresses(jackfield: Command, listening: Any) -> None:
    http: Listening = listening("everything.py", "streamable-http")
    sse: Listening = listening("everything.py", "sse")
    jackfield.configure_user(
        transport={"url": sse.url, "type": "http"},
        back={"url": http.url, "type": "sse"},
        path={"url": http.url.removesuffix("/mcp") + "/api/v1"},
        fine={"url": http.url},
        nobody={"url": "http://127.0.0.1:9/mcp"},
        nowhere={"url": "http://no-such-host.invalid/mcp"},
    )
    reports = {one["name"]: steps_of(one) for one in jackfield("doctor", "--json").json["servers"]}
    assert '"type": "sse"' in reports["transport"]["connect"]["hint"]
    assert '"type": "http"' in reports["back"]["connect"]["hint"]
    assert "answers at /mcp" in reports["path"]["connect"]["hint"]
    assert reports["fine"]["close"]["result"] == "ok"
    assert "cannot be reached" in reports["nobody"]["connect"]["text"]
    assert "host name" in reports["nowhere"]["connect"]["text"] or "reached" in reports["nowhere"]["connect"]["text"]


def test_what_is_no_mcp_server(jackfield: Command, listening: Any) -> None:
    faulty = listening("faulty_http.py")
    jackfield.configure_user(
        page={"url": f"{faulty.url}/html"},
        locked={"url": f"{faulty.url}/401"},
        down={"url": f"{faulty.url}/503", "session": {"retry_attempts": 0}},
    )
    done = jackfield("doctor", "locked", "--json")
    assert done.exit_code == 5
    assert "jackfield auth locked" in steps_of(done.json["servers"][0])["connect"]["hint"]
    done = jackfield("doctor", "page", "down", "--json")
    assert done.exit_code == 2, "one server, or all"
    reports = {one["name"]: steps_of(one) for one in jackfield("doctor", "--json").json["servers"]}
    assert "web page" in reports["page"]["connect"]["text"]
    assert "503" in reports["down"]["connect"]["text"]


def test_a_secret_in_a_path_is_not_printed(jackfield: Command, listening: Any) -> None:
    http: Listening = listening("everything.py", "streamable-http")
    base = http.url.removesuffix("/mcp")
    jackfield.configure_user(s={"url": f"{base}/${{SECRET}}/x"})
    for options in ([], ["--json"], ["--verbose"]):
        done = jackfield("doctor", "s", *options, env={"SECRET": "s3cret"})
        assert done.exit_code == 4
        assert "s3cret" not in done.stdout + done.stderr
        assert "another path" in done.stdout


def test_all_servers_are_examined_side_by_side_and_summed_up(jackfield: Command) -> None:
    jackfield.configure(strange={"command": "evil"})
    jackfield.configure_user(
        good=unruly_entry(),
        noisy=unruly_entry("--stdout", "hi"),
        gone={"command": "no-such"},
        bad={"command": "x", "arg": []},
    )
    done = jackfield("doctor")
    assert done.exit_code == 4
    assert "5 servers: 1 well, 1 with warnings, 2 failed, 1 not accepted." in done.stderr
    assert done.stdout.count("\n\n") == 4


def test_stderr_is_shown_with_verbose(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--stderr", "listening on nothing"))
    assert "listening on nothing" in jackfield("doctor", "s", "--verbose").stderr
    assert "listening on nothing" not in jackfield("doctor", "s").stderr


def test_nothing_to_examine(jackfield: Command) -> None:
    done = jackfield("doctor")
    assert (done.exit_code, done.stdout) == (0, "")
    assert jackfield("doctor", "x").exit_code == 3


def test_interrupted_in_the_middle(jackfield: Command) -> None:
    jackfield.configure_user(s=unruly_entry("--silent", "--helper", "session", "--ignore-sigterm"))
    terminal = jackfield.spawn("doctor", "s")
    terminal.expect("starting")
    terminal.sendintr()
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 130
    assert "Traceback" not in text


ADOPTER = """
import ctypes, os, signal, subprocess, sys
libc = ctypes.CDLL(None)
libc.prctl(36, 1)  # PR_SET_CHILD_SUBREAPER: orphans come here, as they come to init
libc.prctl(15, b"init")  # PR_SET_NAME
orphan = "import os, time; os.fork() and os._exit(0); os.setsid(); print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-S", "-c", orphan], stdout=sys.stdout)
signal.pause()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="leftovers are found in /proc")
def test_what_a_killed_program_left_behind_is_found(jackfield: Command) -> None:
    environment = {**os.environ, MARK: TOKEN, "JACKFIELD_CHILD": "0123456789abcdef"}
    adopter = subprocess.Popen([sys.executable, "-c", ADOPTER], env=environment, stdout=subprocess.PIPE, text=True)
    assert adopter.stdout
    try:
        orphan = int(adopter.stdout.readline())
        assert eventually(lambda: orphan in {one.pid for one in leftovers()})
        done = jackfield("doctor")
        assert f"To end it: kill {orphan}" in done.stderr
        assert adopter.pid not in {one.pid for one in leftovers()}, "who is owned is no leftover"
        (found,) = [one for one in jackfield("doctor", "--json").json["leftovers"] if one["pid"] == orphan]
        assert "time.sleep(60)" in found["command"]
        os.kill(orphan, signal.SIGKILL)
        assert eventually(lambda: orphan not in {process.pid for process in strays()})
    finally:
        adopter.kill()
        adopter.wait()
        adopter.stdout.close()


SCENES = {
    "doctor-well": [],
    "doctor-noise": ["--stdout", "Welcome to a server that says what it thinks of the world while it starts up!"],
    "doctor-failed": ["--exit", "3", "--stderr", "KeyError: 'TOKEN'"],
}


@pytest.mark.parametrize("name", SCENES)
def test_layouts(jackfield: Command, name: str) -> None:
    entry = unruly_entry(*SCENES[name])
    program = jackfield.home / "bin" / "a-server"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec " + shlex.join([entry["command"], *entry["args"]]))
    program.chmod(0o755)
    jackfield.environment["PATH"] = f"{program.parent}:{jackfield.environment['PATH']}"
    jackfield.configure_user(server={"command": "a-server", "env": entry["env"], "inherit_environment": True})
    exit_code = 4 if name == "doctor-failed" else 0
    golden_layouts(jackfield, name, "doctor", "server", exit_code=exit_code, scrubs=(TIMES,), with_progress=False)
