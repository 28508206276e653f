"""The command's frame: shared options, help, exit codes, broken outputs, the missing extra."""

from __future__ import annotations

import subprocess
import sys

import pytest

from jackfield.cli.app import COMMANDS, hoisted

from .conftest import Command, golden

WITHOUT_TYPER = "import sys; sys.modules['typer'] = None; from jackfield.cli.app import main; sys.exit(main())"


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
    golden("help", done.stdout)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lst"], "No such command 'lst'. Did you mean 'list'?"),
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


def test_without_the_extra_it_says_what_to_install(jackfield: Command) -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_TYPER, "list"], capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "pip install 'jackfield[cli]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_goes_away_is_no_error(jackfield: Command) -> None:
    jackfield.configure(**{f"server{number}": {"command": "x"} for number in range(2000)})
    done = subprocess.run(
        ["bash", "-c", 'set -o pipefail; "$@" | head -1', "bash", *jackfield.line("list")],
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
        ["bash", "-c", '"$@" >&-', "bash", *jackfield.line("list")],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
