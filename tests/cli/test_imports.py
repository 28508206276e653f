"""What needs no server pays for neither the SDK nor a framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Command
from .scene import set_up

HEAVY = {
    "mcp",
    "anyio",
    "asyncio",
    "httpx",
    "httpx2",
    "pydantic",
    "rich",
    "autogen_core",
    "langchain_core",
    "prompt_toolkit",
    "keyring",
}
PROBE = """
import sys
from jackfield.cli.app import main
code = main(sys.argv[1:])
print(" ".join(sys.modules), file=sys.stderr)
sys.exit(code)
"""


LIGHT = [
    "--help",
    "--version",
    "list",
    "list files",
    "find read a file --limit 3",
    "show files",
    "show files.read_file --schema",
    "tokens",
    "config path",
    "completion bash",
    "list --help",
]


def modules_of(run: Command, *arguments: str) -> set[str]:
    """What is imported at the end of a command."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True, text=True, env=run.environment, cwd=run.project, check=False,
    )  # fmt: skip
    # `list` fails where an entry is wrong, and the scene has one.
    assert done.returncode in (0, 3 if arguments == ("list",) else 0), done.stderr
    return set(done.stderr.splitlines()[-1].split())


@pytest.fixture
def scene(jackfield: Command) -> Command:
    set_up(jackfield)
    return jackfield


@pytest.mark.parametrize("line", LIGHT)
def test_nothing_heavy_is_imported(scene: Command, line: str) -> None:
    modules = modules_of(scene, *line.split())
    assert "typer" in modules
    assert not HEAVY & modules


@pytest.mark.parametrize("line", ["jackfield ", "jackfield show files.", "jackfield list --", "jackfield config "])
def test_completion_imports_nothing_heavy(scene: Command, line: str) -> None:
    modules = modules_of(scene, "__complete", "bash", line)
    assert "jackfield.cli.completing" in modules
    assert not HEAVY & modules


def test_values_of_options_take_their_types_without_pydantic(scene: Command) -> None:
    # `cli/coercion.py` says why; where typer moves what it builds on, the tests above fail, and this one still holds.
    assert len(scene("find", "file", "--limit", "2", "--json").json) == 2
    wrong = scene("find", "file", "--limit", "two")
    assert wrong.exit_code == 2
    assert "'two' is not a whole number" in wrong.stderr
    assert scene("list", "--config", "a", "--config", "b").exit_code == 3
