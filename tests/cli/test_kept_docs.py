"""What docs/cli.md shows of kept sessions and of the shell is what one gets."""

from __future__ import annotations

import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from ..conftest import eventually, strays
from .conftest import Command

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cli.md").read_text()


def block(kind: str, title: str) -> str:
    (found,) = re.findall(rf'^```{kind} title="{title}"\n(.*?)^```$', PAGE, re.MULTILINE | re.DOTALL)
    return found


@pytest.fixture
def environment(jackfield: Command) -> Iterator[dict[str, str]]:
    """One in which `jackfield` is a command, and `notes` the user's server."""
    folder = jackfield.project / "bin"
    folder.mkdir()
    for name, script in {
        "python3": f'exec {shlex.quote(jackfield.python)} "$@"',
        "jackfield": f'exec {shlex.quote(jackfield.python)} -m jackfield --config notes.json "$@"',
    }.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    (jackfield.project / "notes.json").write_text(block("json", "notes.json"))
    (jackfield.project / "examples").symlink_to(ROOT / "examples")
    yield {**jackfield.environment, "PATH": f"{folder}:{jackfield.environment['PATH']}"}
    jackfield("close", "--all")
    assert eventually(lambda: strays() == [])


@pytest.mark.parametrize("title", ["kept", "script"])
def test_commands(jackfield: Command, environment: dict[str, str], title: str) -> None:
    text = block("console", title)
    got = ""
    for line in re.findall(r"^\$ (.*)$", text, re.MULTILINE):
        done = subprocess.run(
            ["bash", "-c", line],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env=environment, cwd=jackfield.project, check=False, timeout=60,
        )  # fmt: skip
        got += f"$ {line}\n{done.stdout}"
    assert got == text


def test_the_shell(jackfield: Command, environment: dict[str, str]) -> None:
    text = block("console", "shell")
    lines = re.findall(r"^(?:jackfield>|       \.\.\.) (.*)$", text, re.MULTILINE)
    terminal = pexpect.spawn(
        "bash",
        ["-c", "jackfield shell"],
        dimensions=(40, 120),
        env={**environment, "TERM": "dumb"},  # type: ignore[arg-type]
        cwd=str(jackfield.project),
        encoding="utf-8",
        timeout=60,
    )
    got = "$ jackfield shell\n"
    for line in lines:
        terminal.expect(r"jackfield> |       \.\.\. ")
        got += terminal.before + terminal.after
        terminal.send(f"{line}\n")
    terminal.expect(pexpect.EOF)
    got += terminal.before
    terminal.close()
    assert got.replace("\r\n", "\n").splitlines() == text.splitlines()
