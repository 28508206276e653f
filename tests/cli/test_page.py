"""docs/cli.md names commands, options, files and exit codes that there are."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from jackfield.cli import exits
from jackfield.cli.commands import COMMANDS, hoisted
from jackfield.cli.root import command_of

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text().replace("\\\n", " ")
LINES = sorted(
    {
        re.split(r" \||  +#", line)[0]
        for line in re.findall(r"^\$ (jackfield .*)$", PAGE, re.MULTILINE)
        + re.findall(r"`(jackfield [^`|]*)`", PAGE)
        + re.findall(r"accept it: (jackfield .*)", PAGE)
    }
)


@pytest.mark.parametrize("line", LINES)
def test_every_command_and_option_exists(line: str) -> None:
    words = [word for word in shlex.split(line)[1:] if not re.fullmatch(r"\[.*\]", word)]
    command: Any = command_of(dict.fromkeys(COMMANDS.values()))
    _, words = hoisted(words)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", None) or not words, f"no command: {line}"
    known = {name for param in command.params for name in param.opts}
    given = words[: words.index("--")] if "--" in words else words
    for word in given:
        if word.startswith("--"):
            assert word.partition("=")[0] in known, line


def test_every_command_is_documented() -> None:
    for name in COMMANDS:
        assert re.search(rf"jackfield {name}\b", PAGE), name


def test_every_exit_code_is_documented() -> None:
    codes = {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
    documented = {int(code) for row in re.findall(r"^\| ([\d, ]+) \|", PAGE, re.MULTILINE) for code in row.split(", ")}
    assert documented == codes - {exits.BROKEN_PIPE}
