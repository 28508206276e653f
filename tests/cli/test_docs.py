"""The calls that docs/cli.md shows print what it shows."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import Command

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "cli.md"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"^\$ (?P<line>jackfield (?:call|read|prompt) .*)\n(?P<output>(?:(?!\$ ).*\n)*)", re.MULTILINE)

EXAMPLES = [
    pytest.param(found["line"], found["output"], id=found["line"][:60])
    for block in BLOCK.findall(PAGE.read_text())
    for found in SHOWN.finditer(block)
]


def test_there_are_examples() -> None:
    assert len(EXAMPLES) > 8


@pytest.mark.parametrize(("line", "output"), EXAMPLES)
def test_an_example(jackfield: Command, line: str, output: str) -> None:
    (config,) = re.findall(r'^```json title="servers.json"\n(.*?)^```$', PAGE.read_text(), re.MULTILINE | re.DOTALL)
    (jackfield.project / "servers.json").write_text(config)
    (jackfield.project / "examples").symlink_to(ROOT / "examples")
    programs = {
        "python3": f'exec {shlex.quote(sys.executable)} "$@"',
        "jackfield": f'exec {shlex.quote(sys.executable)} -m jackfield --config servers.json "$@"',
        "jq": f"exec {shlex.quote(sys.executable)} -c 'import json, sys; print(json.load(sys.stdin)[0][\"id\"])'",
    }
    folder = jackfield.project / "bin"
    folder.mkdir()
    for name, script in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    done = subprocess.run(
        ["bash", "-c", line],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env={**jackfield.environment, "PATH": f"{folder}:{jackfield.environment['PATH']}"}, cwd=jackfield.project,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.stdout == output
