"""The help of every command: no types of Python, no doubled brackets, and examples that the commands take."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from jackfield.cli.app import main
from jackfield.cli.commands import COMMANDS, hoisted
from jackfield.cli.examples import EXAMPLES
from jackfield.cli.root import command_of

ROOT: Any = command_of(dict.fromkeys(COMMANDS.values()))


def leaves(command: Any = ROOT, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if not inner:
        yield path
    for name in inner or {}:
        yield from leaves(inner[name], (*path, name))


def test_the_help_of_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for path in leaves():
        assert main([*path, "--help"]) == 0
        text = capsys.readouterr().out
        usage = text.partition("\n\n")[0]
        for wrong in ("<", " None ", "[[", "{"):
            assert wrong not in usage.replace("[-- COMMAND [ARG]...]", ""), (path, usage)
        assert "<str>" not in text, text
        assert "<list" not in text, text
        assert " None " not in text, text
        assert text.rstrip().count("\n  Examples:\n") == 1, text


def test_each_command_has_two_examples_that_it_takes() -> None:
    assert set(EXAMPLES) == {" ".join(path) for path in leaves()}
    for name, lines in EXAMPLES.items():
        assert len(lines) >= 2, name
        for line in lines:
            # The command of a line such as `source <(jackfield completion bash)`.
            of_command = line[line.index("jackfield ") :].partition(" | ")[0]
            of_command = of_command.removesuffix(")") if "<(" in line else of_command
            _, rest = hoisted(shlex.split(of_command)[1:])
            command = ROOT
            for part in name.split():
                assert rest.pop(0) == part, line
                command = command.commands[part]
            command.make_context(name, rest)  # raises for what it does not take
