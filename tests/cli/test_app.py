"""The command's frame: shared options, help, exit codes, broken outputs, the missing extra."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from jackfield.cli.commands import COMMANDS, hoisted

from ..conftest import MARK, SERVERS, TOKEN, eventually
from .conftest import PYTHON, Command, golden

WITHOUT = "import sys; sys.modules[sys.argv.pop(1)] = None; from jackfield.cli.app import main; sys.exit(main())"


def test_shared_options_are_found_wherever_they_stand() -> None:
    assert hoisted(["list", "--json", "a", "--config", "f", "--config=g"]) == (
        ["--json", "--config", "f", "--config=g"],
        ["list", "a"],
    )
    assert hoisted(["list", "--json", "--config"]) == (["--json", "--config"], [])
    assert hoisted(["call", "x", "--", "--json"]) == ([], ["call", "x", "--", "--json"])


def test_help_names_every_command(jackfield: Command) -> None:
    done = jackfield("--help")
    assert done.exit_code == 0
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)
    assert jackfield().stdout == done.stdout
    assert "..." not in done.stdout.partition("Commands:")[2], "a summary is too long for 80 columns"
    golden("help", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
        (["trust"], "No such command 'trust'.\nWrite: jackfield config trust."),
        (["generate", "notes"], "No such command 'notes'.\nWrite one of python, cli after generate."),
        (["list", "--nope"], "No such option: --nope"),
        (["list", "a", "b"], "unexpected extra argument"),
        (["list", "--config"], "requires an argument"),
    ],
)
def test_a_wrong_command_line_is_said_and_exits_2(jackfield: Command, arguments: list[str], message: str) -> None:
    done = jackfield(*arguments)
    assert done.exit_code == 2
    assert done.stdout == ""
    assert message in done.stderr
    assert "--help" in done.stderr
    assert "Traceback" not in done.stderr
    as_json = jackfield(*arguments[:1], "--json", *arguments[1:])
    assert set(as_json.error) == {"code", "message", "hint"}
    assert as_json.error["code"] == "usage"


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_the_extra_it_says_what_to_install(jackfield: Command, package: str) -> None:
    jackfield.configure(a={"command": "x"})
    terminal = pexpect.spawn(
        sys.executable, ["-c", WITHOUT, package, "list"], env=jackfield.environment, cwd=str(jackfield.project),  # type: ignore[arg-type]
        encoding="utf-8", dimensions=(40, 200),
    )  # fmt: skip
    text = terminal.read()
    terminal.close()
    assert terminal.exitstatus == 3
    assert f"needs the package '{package}'" in text
    assert "pip install 'jackfield[cli]'" in text
    assert "Traceback" not in text


def test_a_folder_that_was_deleted(jackfield: Command, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    jackfield.configure_user(a={"command": "x"})
    line = ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "bash", PYTHON, "-m", "jackfield", "list"]
    done = subprocess.run(line, capture_output=True, text=True, env=jackfield.environment, cwd=gone, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("a\tstdio")


def test_a_user_without_a_home(jackfield: Command) -> None:
    jackfield.configure(a={"command": "x"})
    environment = {name: value for name, value in jackfield.environment.items() if not name.startswith(("HOME", "XDG"))}
    line = ["bash", "-c", 'unset HOME; exec "$@"', "bash", *jackfield.line("list", "--json", "--config", ".mcp.json")]
    done = subprocess.run(line, capture_output=True, text=True, env=environment, cwd=jackfield.project, check=False)
    assert done.returncode == 0, done.stderr


def test_a_fault_of_its_own_is_told_as_such(jackfield: Command) -> None:
    broken = "import sys, jackfield.cli.known as known; known.server_facts = None"
    code = f"{broken}; from jackfield.cli.app import main; sys.exit(main(sys.argv[1:]))"
    jackfield.configure(a={"command": "x"})
    for options in ([], ["--verbose"]):
        done = subprocess.run(
            [sys.executable, "-c", code, "list", *options],
            capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=False,
        )  # fmt: skip
        assert done.returncode == 70
        assert "Internal error in Jackfield: TypeError" in done.stderr
        assert ("Traceback" in done.stderr) == bool(options)


@pytest.mark.parametrize(("name", "exit_code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 129)])
@pytest.mark.parametrize("command", ["refresh", "doctor"])
def test_whatever_ends_it_ends_the_servers(jackfield: Command, command: str, name: str, exit_code: int) -> None:
    log = jackfield.home / "log"
    script = f"echo started > {log}; exec {sys.executable} -S {SERVERS / 'unruly.py'} --silent --helper session"
    jackfield.configure_user(s={"command": "sh", "args": ["-c", script], "env": {MARK: TOKEN}})
    process = subprocess.Popen(
        jackfield.line(command),
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=jackfield.environment, cwd=jackfield.project,
    )  # fmt: skip
    assert eventually(log.exists, 30)
    process.send_signal(getattr(signal, name))
    _, text = process.communicate(timeout=30)
    assert process.returncode == exit_code, text
    assert "Traceback" not in text
    # That nothing runs on is checked after every test.


def test_a_reader_that_goes_away_is_no_error(jackfield: Command) -> None:
    jackfield.configure(**{f"server{number}": {"command": "x"} for number in range(2000)})
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", PYTHON, "-m", "jackfield", "list"],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("server0\t")
    assert done.returncode == 141
    assert done.stderr == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/dev/full is a device of Linux")
def test_a_full_disk_is_said(jackfield: Command) -> None:
    jackfield.configure(a={"command": "x"})
    for option in ([], ["--json"]):
        with open("/dev/full", "w") as full:
            done = subprocess.run(
                jackfield.line("list", *option),
                stdout=full, stderr=subprocess.PIPE, text=True, env=jackfield.environment, cwd=jackfield.project,
                check=False,
            )  # fmt: skip
        assert done.returncode == 74
        assert "No space left on device" in done.stderr
        assert "Traceback" not in done.stderr


def test_a_closed_stdout_is_no_fault(jackfield: Command) -> None:
    jackfield.configure(a={"command": "x"})
    done = subprocess.run(
        ["bash", "-c", '"$@" >&-', "bash", *jackfield.line("list", "--quiet")],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
