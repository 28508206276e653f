"""`jackfield shell` in a real terminal, and as a script."""

from __future__ import annotations

import os
import re
import signal
import stat
from collections.abc import Iterator
from pathlib import Path

import pexpect
import psutil
import pytest

from ..conftest import eventually, strays
from .conftest import PYTHON, Command, everything, unruly_entry

PROMPT = re.escape("\x1b[?2004h")
"""What the terminal is told each time a line can be entered."""


class Shell:
    """A shell in a terminal."""

    def __init__(self, run: Command, *arguments: str, **env: str) -> None:
        # This terminal does not say where its cursor is.
        self.terminal = run.spawn("shell", *arguments, columns=100, env={"PROMPT_TOOLKIT_NO_CPR": "1", **env})
        self.ready()

    def ready(self) -> str:
        """Wait for the prompt; returns what was written before it."""
        self.terminal.expect(PROMPT)
        return re.sub(r"\x1b\[[0-9;]*m", "", self.terminal.before.replace("\r\n", "\n"))

    def __call__(self, line: str) -> str:
        """Enter a line; returns what it writes."""
        self.terminal.send(f"{line}\r")
        return self.ready().rpartition("\x1b[?2004l")[2].strip()

    def leave(self) -> int:
        """Leave by Ctrl-D; returns the exit code."""
        self.terminal.sendeof()
        self.terminal.expect(pexpect.EOF)
        self.terminal.close()
        return self.terminal.exitstatus if self.terminal.exitstatus is not None else -self.terminal.signalstatus


@pytest.fixture
def run(jackfield: Command) -> Iterator[Command]:
    """The command with two servers of the user's, and nothing left after the test."""
    jackfield.configure_user(
        plain=unruly_entry("--log", str(jackfield.home / "runs.log")), everything=everything(), typed=everything()
    )
    jackfield("refresh", "everything")
    yield jackfield
    assert eventually(lambda: strays() == [])


def history(run: Command) -> Path:
    return run.home / ".state" / "jackfield" / "shell_history"


def test_state_is_kept_between_lines(run: Command) -> None:
    shell = Shell(run)
    assert shell("plain.count") == "1"
    assert shell("call plain.count") == "2"
    assert shell("everything.echo text='two words'") == "two words"
    assert "Open in this shell: plain, everything." in shell("ps")
    assert shell("close plain") == "Closed plain."
    assert shell("plain.count") == "1"
    assert shell("read everything notes://today") == "milk, eggs"
    assert shell("") == ""
    assert shell.leave() == 0
    assert strays() == []
    assert run("ps", "--json").json["process"] is None


def test_json_over_several_lines(run: Command) -> None:
    shell = Shell(run)
    assert shell('everything.order {"order": {"customer": "Ada", "items": [{"name": "tea"}]}}') == "Ada: tea"
    shell.terminal.send('everything.order {"order":\r')
    shell.terminal.expect(r"\.\.\.")
    shell.terminal.send('{"customer": "Ben", "items": []},\r')
    shell.terminal.send('"express": true}\r')
    assert "Ben:  (express)" in shell.ready()
    # An empty line gives up on what never ends, and says what is wrong with it.
    shell.terminal.send('everything.order {"order":\r')
    shell.terminal.expect(r"\.\.\.")
    shell.terminal.send("\r")
    assert "--args: line 1" in shell.ready()
    assert shell.leave() == 0


def test_ctrl_c_cancels_the_call_and_not_the_shell(run: Command) -> None:
    shell = Shell(run)
    assert shell("plain.count") == "1"
    shell.terminal.send("plain.sleep seconds=60\r")
    log = run.home / "runs.log"
    assert eventually(lambda: "run sleep" in log.read_text(), 20)
    shell.terminal.sendintr()
    assert "Cancelled." in shell.ready()
    assert eventually(lambda: "cancelled" in log.read_text())
    assert shell("plain.count") == "3"
    # At the prompt it drops the line.
    shell.terminal.send("plain.crash code=1")
    shell.terminal.sendintr()
    shell.ready()
    assert shell("plain.count") == "4"
    assert shell.leave() == 0


def cmdline(process: psutil.Process) -> list[str]:
    """Its arguments; none once it has ended."""
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


def test_ctrl_c_while_a_server_starts(run: Command) -> None:
    run.configure_user(slow=unruly_entry("--start-delay", "60"))
    run.python = PYTHON
    shell = Shell(run)
    shell.terminal.send("slow.count\r")
    assert eventually(lambda: any("unruly.py" in " ".join(cmdline(process)) for process in strays()), 30)
    shell.terminal.sendintr()
    assert "Cancelled." in shell.ready()
    assert shell("close slow") == "No session of slow is kept."
    assert shell.leave() == 0


def test_errors_leave_the_shell_running(run: Command) -> None:
    shell = Shell(run)
    assert "Did you mean" in shell("plian.count")
    assert "add(a: integer, b: integer)" in shell("plain.add a=1")
    assert "it failed on purpose" in shell("plain.fail")
    assert "No such option" in shell("list --nonsense")
    assert "no closing quotation" in shell("plain.echo text='x\r")
    assert "This is the shell." in shell("shell")
    crashed = shell("plain.crash code=3")
    assert "Error: " in crashed
    assert shell("plain.count") == "1"
    assert "SERVER.TOOL key=value" in shell("help")
    assert "Usage: jackfield list" in shell("help list")
    assert shell("exit --now").startswith("Error: ")
    shell.terminal.send("exit\r")
    shell.terminal.expect(pexpect.EOF)
    shell.terminal.close()
    assert shell.terminal.exitstatus == 0


def test_a_server_that_dies_is_told(run: Command) -> None:
    shell = Shell(run)
    pid = int(shell("plain.pid"))
    psutil.Process(pid).kill()
    assert eventually(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    answer = shell("plain.count")
    assert answer.endswith("1")
    assert "was lost and reopened" in answer
    assert shell("plain.count") == "2"
    assert shell.leave() == 0


def test_a_changed_configuration(run: Command) -> None:
    shell = Shell(run)
    assert shell("plain.count") == "1"
    run.configure_user(plain=unruly_entry())
    answer = shell("plain.count")
    assert "configuration of plain has changed" in answer
    assert answer.endswith("1")
    assert shell.leave() == 0


def test_a_kept_session_is_used_where_there_is_one(run: Command) -> None:
    run("open", "plain")
    try:
        assert run("call", "plain.count").stdout == "1\n"
        shell = Shell(run)
        assert shell("plain.count") == "2"
        assert shell.leave() == 0
        assert run("call", "plain.count").stdout == "3\n"
    finally:
        run("close", "--all")


def test_completion(run: Command) -> None:
    shell = Shell(run)

    def typed(*pieces: tuple[str, str]) -> None:
        # Only what is added is drawn.
        for typed, added in pieces:
            shell.terminal.send(f"{typed}\t")
            shell.terminal.expect_exact(added)

    typed(("everything.ec", "ho"), (" te", "xt="))
    assert shell("hello") == "hello"
    typed(("every", "thing."), ("pref", "erences"), (" si", "ze="))
    assert shell("small") == "small None None"
    typed(("call everything.pic", "ture"))
    assert "One pixel" in shell("")
    typed(("hel", "p"), (" ref", "resh"))
    assert "Usage: jackfield refresh" in shell("")
    shell.terminal.send("xyz\t\t'\t{\t")  # nothing to offer, and no trouble
    shell.terminal.sendintr()
    shell.ready()
    assert shell.leave() == 0


def test_history(run: Command) -> None:
    shell = Shell(run)
    shell("plain.echo text=first")
    shell(" plain.echo text=private")
    assert shell.leave() == 0
    assert stat.S_IMODE(history(run).stat().st_mode) == 0o600
    assert "first" in history(run).read_text()
    assert "private" not in history(run).read_text()
    shell = Shell(run)
    assert shell("\x1b[A") == "first"  # arrow up
    assert shell.leave() == 0


def test_a_read_only_home_costs_only_the_history(run: Command) -> None:
    shell = Shell(run, XDG_STATE_HOME="/sys", XDG_CACHE_HOME="/sys")
    assert shell("plain.count") == "1"
    assert shell.leave() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("busy", [False, True], ids=["at the prompt", "in a call"])
def test_told_to_end_it_closes_its_servers(run: Command, number: signal.Signals, busy: bool) -> None:
    log = run.home / "runs.log"
    run.configure_user(plain=unruly_entry("--log", str(log), "--ignore-eof", session={"close_timeout": 1}))
    shell = Shell(run)
    shell("plain.count")
    if busy:
        shell.terminal.send("plain.sleep seconds=60\r")
        assert eventually(lambda: "run sleep" in log.read_text(), 20)
    os.kill(shell.terminal.pid, number)
    shell.terminal.expect(pexpect.EOF)
    shell.terminal.close()
    assert shell.terminal.exitstatus == 128 + number
    assert strays() == []


def test_a_terminal_that_goes_away(run: Command) -> None:
    shell = Shell(run)
    shell("plain.count")
    shell.terminal.close(force=False)
    assert eventually(lambda: strays() == [], 30)


def test_a_script(run: Command) -> None:
    lines = [
        "# remark",
        "plain.count",
        "",
        "plain.count",
        'everything.echo {"text":',
        '"over lines"}',
        "exit",
        "plain.fail",
    ]
    done = run("shell", stdin="\n".join(lines))
    assert (done.exit_code, done.stdout, done.stderr) == (0, "1\n2\nover lines\n", "")


def test_a_script_ends_with_what_fails(run: Command) -> None:
    done = run("shell", stdin='plain.count\n\nplain.echo {"text":\n 1}\nplain.count\n')
    assert (done.exit_code, done.stdout) == (2, "1\n")
    assert done.stderr.endswith("The script ended at line 3.\n")
    done = run("shell", "--json", stdin="plain.fail")
    assert done.exit_code == 1
    assert done.error["code"] == "tool_error"
    done = run("shell", stdin="plain.echo 'text")
    assert done.exit_code == 2


def test_its_options_are_those_of_every_line(run: Command) -> None:
    done = run("shell", "--json", stdin="everything.add a=1 b=2\nlist\n")
    assert done.stdout.startswith("3\n[")


def test_a_dumb_terminal(run: Command) -> None:
    terminal = run.spawn("shell", env={"TERM": "dumb"})
    terminal.expect_exact("jackfield> ")
    terminal.sendline("plain.count")
    terminal.expect_exact("1\r\n")
    terminal.sendeof()
    terminal.expect(pexpect.EOF)
    terminal.close()
    assert terminal.exitstatus == 0
