"""What needs no server pays for neither the SDK nor a framework."""

from __future__ import annotations

import subprocess
import sys

import pytest

from .conftest import Command

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


@pytest.mark.parametrize("arguments", [["--help"], ["list"], ["list", "a"], ["--version"]], ids=" ".join)
def test_nothing_heavy_is_imported(jackfield: Command, arguments: list[str]) -> None:
    jackfield.configure(a={"command": "x"})
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        capture_output=True, text=True, env=jackfield.environment, cwd=jackfield.project, check=True,
    )  # fmt: skip
    modules = set(done.stderr.splitlines()[-1].split())
    assert "typer" in modules
    assert not HEAVY & modules
