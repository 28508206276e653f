"""Ctrl-C, SIGTERM and SIGHUP at any point of a call: the server is ended, and the exit code says it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pytest

from jackfield.cli.app import is_interrupt
from jackfield.cli.exits import UsageError

from ..conftest import eventually, quick_python, strays
from ..daily import daily
from .conftest import PYTHON, Command, everything, unruly_entry

SECONDS = 60
"""For what takes two on a machine with nothing else to do."""

SLEEP = ("call", "unruly.sleep", "seconds=60")


@pytest.fixture(autouse=True)
def real_python(jackfield: Command) -> None:
    """Processes are counted here, and interrupted at any moment."""
    jackfield.python = PYTHON


@pytest.fixture
def log(jackfield: Command) -> Path:
    return jackfield.home / "runs.log"


def configure(run: Command, log: Path, *options: str) -> None:
    run.configure_user(unruly=unruly_entry("--log", str(log), *options, session={"close_timeout": 1}))


def is_running(log: Path) -> bool:
    return log.exists() and "run sleep" in log.read_text()


@contextmanager
def started(run: Command, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        run.line(*arguments),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=run.environment, cwd=run.project,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def ended(terminal: pexpect.spawn[str]) -> int:
    """Its exit code, as a shell would tell it."""
    terminal.expect(pexpect.EOF)
    terminal.close()
    return 128 + terminal.signalstatus if terminal.signalstatus else terminal.exitstatus or 0


def shown(terminal: pexpect.spawn[str]) -> str:
    """What stands there, without the line that says that a server opens."""
    return re.sub(r"\r\x1b\[K(opening unruly(, about [^^\r]*)?)?", "", terminal.before or "").strip()


@pytest.mark.parametrize(
    "options",
    [[], ["--ignore-eof", "--ignore-sigterm"], ["--helper", "daemon", "--helper-ignores-sigterm"]],
    ids=["polite", "stubborn", "helper"],
)
def test_ctrl_c_in_mid_call(jackfield: Command, log: Path, options: list[str]) -> None:
    configure(jackfield, log, *options)
    terminal = jackfield.spawn(*SLEEP)
    assert eventually(lambda: is_running(log), SECONDS)
    terminal.sendintr()
    assert ended(terminal) == 130
    assert strays() == []
    assert shown(terminal) == "^C"
    if not options:
        assert "cancelled" in log.read_text(), "the server was told"


def test_ctrl_c_while_the_server_comes_up(jackfield: Command, log: Path) -> None:
    configure(jackfield, log, "--start-delay", "60")
    terminal = jackfield.spawn(*SLEEP)
    assert eventually(lambda: len(strays()) == 2, SECONDS), "the command, and the server"
    terminal.sendintr()
    assert ended(terminal) == 130
    assert strays() == []
    assert shown(terminal) == "^C"


def test_ctrl_c_again_while_a_stubborn_server_is_closed(jackfield: Command, log: Path) -> None:
    configure(jackfield, log, "--ignore-eof", "--ignore-sigterm")
    terminal = jackfield.spawn(*SLEEP)
    assert eventually(lambda: is_running(log), SECONDS)
    for _ in range(3):
        terminal.sendintr()
    assert ended(terminal) == 130
    assert eventually(lambda: strays() == [])


# What comes before the first line of it is the interpreter's own.
FROM_THE_FIRST_LINE = "print('up', flush=True)\nimport sys\nfrom jackfield.cli.app import main\nsys.exit(main())"


MOMENTS = [0.0, 0.02, 0.06, 0.1, 0.15, 0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.0]


@pytest.mark.parametrize("moment", daily(MOMENTS[::3], whole=MOMENTS))
def test_ctrl_c_at_any_moment(jackfield: Command, log: Path, moment: float) -> None:
    configure(jackfield, log, "--ignore-eof", "--ignore-sigterm")
    terminal = pexpect.spawn(
        PYTHON, ["-c", FROM_THE_FIRST_LINE, *SLEEP],
        env=jackfield.environment, cwd=str(jackfield.project), encoding="utf-8", timeout=60,
    )  # fmt: skip
    terminal.expect_exact("up")
    time.sleep(moment)  # no condition to wait for: any moment will do
    terminal.sendintr()
    assert ended(terminal) == 130, terminal.before
    assert eventually(lambda: strays() == [])


# Python 3.11 wraps what comes up there in a RuntimeError.
IN_AN_IMPORT = """
class Part:
    def __set_name__(self, owner, name):
        raise KeyboardInterrupt

class Whole:
    part = Part()
"""


@pytest.mark.parametrize("options", [[], ["--verbose"], ["--json"]], ids=["plain", "verbose", "json"])
def test_ctrl_c_while_a_class_is_made_in_an_import(
    jackfield: Command, log: Path, tmp_path: Path, options: list[str]
) -> None:
    configure(jackfield, log)
    (tmp_path / "pydantic.py").write_text(IN_AN_IMPORT)
    jackfield.environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    done = jackfield(*SLEEP, *options)
    assert (done.exit_code, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize(
    "error", [ExceptionGroup("g", [OSError(), ValueError()]), UsageError("no"), ValueError()], ids=repr
)
def test_what_ctrl_c_did_not_bring_about_is_no_interrupt(error: Exception) -> None:
    assert not is_interrupt(error)
    for first, last in ((error, KeyboardInterrupt()), (KeyboardInterrupt(), error)):
        first.__context__, last.__context__ = last, first  # in a circle
        assert is_interrupt(first)
        assert is_interrupt(last)
    assert is_interrupt(BaseExceptionGroup("g", [OSError(), KeyboardInterrupt()]))


ENDED = [
    (number, exit_code, options)
    for options in ([], ["--ignore-eof", "--ignore-sigterm"])
    for number, exit_code in ((signal.SIGTERM, 143), (signal.SIGHUP, 129))
]


# Every day each signal, and a server of each kind.
@pytest.mark.parametrize(("number", "exit_code", "options"), daily(ENDED[::3], whole=ENDED))
def test_a_command_that_is_ended_ends_its_server(
    jackfield: Command, log: Path, number: signal.Signals, exit_code: int, options: list[str]
) -> None:
    configure(jackfield, log, *options)
    with started(jackfield, *SLEEP) as process:
        assert eventually(lambda: is_running(log), SECONDS)
        process.send_signal(number)
        assert process.wait(SECONDS) == exit_code
        assert process.stderr
        assert process.stderr.read() == ""
    assert strays() == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_command_that_is_ended_while_the_server_comes_up(
    jackfield: Command, log: Path, number: signal.Signals
) -> None:
    configure(jackfield, log, "--start-delay", "60", "--ignore-eof", "--ignore-sigterm")
    with started(jackfield, *SLEEP) as process:
        assert eventually(lambda: len(strays()) == 2, SECONDS)
        process.send_signal(number)
        assert process.wait(SECONDS) == 128 + number
    assert eventually(lambda: strays() == [])


def test_a_signal_that_is_ignored_stays_so(jackfield: Command, log: Path) -> None:
    """As under nohup, and for jobs in the background of a script."""
    configure(jackfield, log)
    process = subprocess.Popen(
        ["bash", "-c", 'trap "" HUP INT; exec "$@"', "bash", *jackfield.line("call", "unruly.sleep", "seconds=2")],
        stdout=subprocess.PIPE, text=True, env=jackfield.environment, cwd=jackfield.project,
    )  # fmt: skip
    with process:
        assert eventually(lambda: is_running(log), SECONDS)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 0
        assert process.stdout
        assert process.stdout.read() == "slept\n"


# Progress


def test_progress_is_shown_on_a_terminal_and_wiped(jackfield: Command) -> None:
    jackfield.python = quick_python()
    jackfield.configure_user(everything=everything())
    done = jackfield.in_terminal("call", "everything.steps", "count=3")
    assert done.exit_code == 0
    assert "\r\x1b[K100% step 3" in done.stdout
    assert done.stdout.endswith("\r\x1b[K3 steps\n"), "nothing of it stays"
    for arguments, env in ((["--quiet"], {}), ([], {"TERM": "dumb"})):
        quiet = jackfield.in_terminal("call", "everything.steps", "count=3", *arguments, env=env)
        assert quiet.stdout == "3 steps\n"
    piped = jackfield("call", "everything.steps", "count=3")
    assert (piped.stdout, piped.stderr) == ("3 steps\n", "")


def test_progress_gives_way_to_an_error(jackfield: Command, log: Path) -> None:
    jackfield.configure_user(everything=everything())
    terminal = jackfield.spawn("call", "everything.slow", "seconds=60", f"log={log}")
    terminal.expect_exact(" 50% half way")
    terminal.sendintr()
    assert ended(terminal) == 130
    assert (terminal.before or "").endswith("\r\x1b[K")
    assert log.read_text() == "cancelled"
