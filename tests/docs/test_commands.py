"""Every command that README and docs show is run in a fresh folder, and prints what they say.

`$ ` begins a command; what stands below it is what it prints, where `...` stands for anything and long lines are
folded. Nothing below it: what it prints is not shown. It fails where that begins with `Error: `, and only there.
Commands of a block share a shell.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import termios
import textwrap
import threading
import tomllib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from examples.stateful_servers import browser, postgres
from tests.conftest import needs
from tests.docs.blocks import BLOCKS, COLUMNS, PAGES, ROOT, Block, write_files
from tests.postgres import running_postgres

from jackfield.cli.commands import COMMANDS as COMMANDS_OF_JACKFIELD

NOT_RUN = {
    "make ": "builds the environment that this test runs in; test_make_targets looks whether the target is there",
    "pip install ": "takes packages from the network; test_extras looks whether they are declared",
    "python3 -m venv ": "builds an environment",
    "uvicorn ": "runs until it is stopped; test_serving.py starts the same applications",
    "jackfield serve --http ": "runs until it is stopped; tests/gateway/test_bridge.py starts the same",
    "jackfield search ": "asks the network, and then adds; tests/cli/test_examples.py has a registry of its own",
    "jackfield record ": "runs until it is stopped; tests/gateway/test_recording.py records another server",
    "jackfield --config servers.json serve ": "runs until it is stopped; tests/examples/test_deploy.py starts the same",
    "npm install ": "takes a package from the network; `make third-party` installs the same",
}
"""Beginnings of commands that are not run, and why."""

NEEDS: dict[str, Callable[[], str | None]] = {
    "python3 shop.py": browser.missing,
    "| jq ": lambda: None if shutil.which("jq") else "jq is not installed: scripts/services.sh",
}
"""What is in commands that need what nobody here wrote, and what says that it is missing."""

KILLS = {"python3 crash.py"}
"""Commands that kill a process by its id, which must be the server itself; see forked.py."""

_END = "\x1e"
_MAX_SECONDS = 60


@dataclass
class Command:
    """One command of a block."""

    text: str
    output: list[str] = field(default_factory=list)

    @property
    def is_run(self) -> bool:
        return not self.text.startswith(tuple(NOT_RUN))

    @property
    def is_to_fail(self) -> bool:
        return bool(self.output) and self.output[0].startswith("Error: ")


def commands_of(block: Block) -> list[Command]:
    if block.language == "sh":
        return [Command(block.text)]
    found: list[Command] = []
    for line in block.text.splitlines():
        if line.startswith("$ "):
            found.append(Command(line[2:]))
        elif found[-1].text.endswith(("\\", "|")):
            found[-1].text += f"\n{line}"
        else:
            found[-1].output.append(line)
    return found


SHOWN = [block for block in BLOCKS if block.language in ("console", "sh") and not block.title]
"""Those with a title have a test of their own; test_code_blocks.py looks whether it is there."""

COMMANDS = [command for block in SHOWN for command in commands_of(block)]


def _marks(block: Block) -> list[pytest.MarkDecorator]:
    """What browsers do is tried every day in tests/examples/test_stateful.py."""
    return [pytest.mark.whole] if any(NEEDS.get(c.text) is browser.missing for c in commands_of(block)) else []


@pytest.mark.parametrize(
    "block",
    [pytest.param(block, marks=_marks(block)) for block in SHOWN if any(c.is_run for c in commands_of(block))],
    ids=str,
)
def test_command_block(
    block: Block, reader: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    write_files(block.page, reader)
    commands = [command for command in commands_of(block) if command.is_run]
    for command in commands:
        for part, missing in NEEDS.items():
            needs(missing() if part in command.text else None)
        if command.text in KILLS:
            monkeypatch.setenv("PATH", f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if third_party := browser._program():
        monkeypatch.setenv("PATH", f"{os.environ['PATH']}{os.pathsep}{Path(third_party).parent}")
    if any("$DATABASE_URL" in command.text for command in commands):
        needs(postgres.missing())
        monkeypatch.setenv("DATABASE_URL", request.getfixturevalue("database"))
    script = "".join(f"{command.text}\nprintf '{_END}%d{_END}' $?\n" for command in commands)
    pieces = on_a_terminal(script).split(_END)
    for command, output, code in zip(commands, pieces[::2], pieces[1::2], strict=False):
        assert (code != "0") == command.is_to_fail, f"{command.text}\n{output}"
        if command.output:
            pattern = ".*".join(re.escape(part) for part in "\n".join(command.output).strip().split("..."))
            lines = [line.rstrip() for line in output.strip().splitlines()]
            printed = ["\n".join(lines), "\n".join(map(folded, lines))]
            assert any(re.fullmatch(pattern, one, re.DOTALL) for one in printed), f"{command.text}\n{output}"
    assert len(pieces) == 2 * len(commands) + 1, pieces


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """The address of an empty PostgreSQL."""
    with running_postgres() as running:
        yield running.url


def folded(line: str) -> str:
    """A long line as pages have it: folded between words, and what follows is indented."""
    lines = textwrap.wrap(line, COLUMNS, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def on_a_terminal(script: str) -> str:
    """What bash prints for a script on a terminal as wide as blocks, without colours, and where nobody types."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, COLUMNS))
    environment = {**os.environ, "NO_COLOR": "1", "TERM": "dumb"}
    printed = b""
    with subprocess.Popen(
        ["bash", "-c", script], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment
    ) as process:
        os.close(theirs)
        timer = threading.Timer(_MAX_SECONDS, process.kill)
        timer.start()
        with suppress(OSError):  # so a terminal tells that nobody writes to it any more
            while data := os.read(ours, 65536):
                printed += data
        timer.cancel()
        timer.join()
    os.close(ours)
    return printed.decode().replace("\r\n", "\n")


def test_there_is_a_reason_for_each_command_that_is_not_run() -> None:
    for beginning in NOT_RUN:
        assert any(command.text.startswith(beginning) for command in COMMANDS), beginning


def test_commands_in_sentences_exist() -> None:
    for page in PAGES:
        for name in re.findall(r"`jackfield (?:--[a-z-]+ [\w.]+ )*([a-z][a-z-]*)", page.read_text()):
            assert name in COMMANDS_OF_JACKFIELD, f"{page.relative_to(ROOT)}: jackfield {name}"


def test_make_targets() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for command in COMMANDS:
        if command.text.startswith("make "):
            assert f"\n{command.text.split()[1]}:" in makefile, command.text


def test_extras() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for command in COMMANDS:
        if command.text.startswith("pip install "):
            for name, extras in re.findall(r"'?(jackfield|\.)(?:\[([\w,-]+)\])?'?(?:\s|$)", command.text):
                assert name
                assert set(filter(None, extras.split(","))) <= set(project["optional-dependencies"]), command.text


def test_the_first_commands_of_the_readme() -> None:
    commands = re.findall(r"^\$ make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert commands == ["demo", "test"]
