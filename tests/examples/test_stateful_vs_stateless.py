"""The comparison as people run it."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from examples.stateful_servers import browser, postgres
from tests.conftest import eventually, needs
from tests.daily import daily
from tests.examples.conftest import EXAMPLES, runs
from tests.examples.test_demo_and_scripts import Runner

EXAMPLE = "stateful_vs_stateless.py"


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


COMPARISONS = [
    pytest.param("postgresql", postgres.missing, "SELECT name ✓ Grace ✗ Ada, Grace", 8, 3, id="postgresql"),
    pytest.param("browser", browser.missing, "take a snapshot ✓ 1 in the basket ✗ about:blank", 4, 1, id="browser"),
]


@pytest.mark.third_party
@pytest.mark.parametrize(
    ("name", "missing", "last_step", "steps", "worked"),
    daily(COMPARISONS[:1], whole=COMPARISONS),
)
def test_the_comparison(
    runner: Runner, name: str, missing: Callable[[], str | None], last_step: str, steps: int, worked: int
) -> None:
    needs(missing())
    code, output, errors = runner.run(EXAMPLE, name, timeout=110)
    assert (code, errors) == (0, "")
    lines = [" ".join(line.split()) for line in output.splitlines()]
    assert last_step in lines
    assert any(line.startswith(f"one session {steps} of {steps} steps worked, 1 server starts") for line in lines)
    each = f"a session for each call {worked} of {steps} steps worked, {steps} server starts"
    assert any(line.startswith(each) for line in lines)
    assert lines[-1] == "Left running: 0 processes"
    assert "Skipped" not in output
    assert max(map(len, output.splitlines())) <= 80


def test_the_comparison_without_browser_and_database(runner: Runner) -> None:
    """What is missing is said, and the rest is done."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "import stateful_vs_stateless as example\n"
        "example.browser._program = lambda: 'playwright-mcp'\n"
        "example.browser.BROWSERS = ['no-such-browser']\n"
        "example.postgres.programs = lambda: None\n"
        "sys.exit(example.main(['shell', 'postgresql', 'browser']))\n"
    )
    done = subprocess.run([runner.python, "-c", code, str(EXAMPLES)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    skipped = done.stdout.partition("Skipped:")[2]
    assert "postgresql: PostgreSQL is not installed: apt-get install postgresql" in skipped
    assert "browser: Chromium is not installed: apt-get install chromium" in skipped
    assert "one session               4 of 4 steps worked,   1 server starts" in done.stdout
    assert "a session for each call   1 of 4 steps worked,   4 server starts" in done.stdout


def test_help_and_bad_names(runner: Runner) -> None:
    code, output, _ = runner.run(EXAMPLE, "--help")
    assert code == 0
    assert "shell, sqlite, postgresql, browser" in output
    code, output, errors = runner.run(EXAMPLE, "shel")
    assert (code, output) == (2, "")
    assert "no example is called shel. There are: shell, sqlite, postgresql, browser." in errors


def is_server(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):  # it may end while it is looked at
        return runs(process) and any("database_server" in part for part in process.cmdline())
    return False


def is_postgres(process: psutil.Process) -> bool:
    with contextlib.suppress(psutil.Error):
        return runs(process) and "postgres" in process.name()
    return False


@pytest.mark.third_party
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.whole)])
def test_ctrl_c_leaves_nothing(tmp_path: Path, number: int) -> None:
    needs(browser.missing() or postgres.missing())
    runner = Runner(tmp_path, sys.executable)  # whose servers are its children
    with runner.start(EXAMPLE, "postgresql", "browser") as process:
        family: set[psutil.Process] = set()

        def in_the_middle() -> bool:
            family.update(psutil.Process(process.pid).children(recursive=True))
            return any(map(is_server, family)) and any(map(is_postgres, family))

        assert eventually(in_the_middle, 40)
        process.send_signal(number)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert "Interrupted." in output
    assert "Left running: 0 processes" in output
    assert runner.left() == []
    assert not any(map(runs, family))
