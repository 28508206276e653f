"""A test that hangs or dies costs itself, and the run says the truth of all others."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

OURS = Path(__file__).parent.parent

CONFTEST = """
import time, pytest
from tests.run_guard import pytest_runtest_setup, pytest_runtest_teardown
from tests.workers import pytest_addoption, pytest_runtestloop

@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    if item.name == f"test_slow_report_of_{call.when}":
        time.sleep(1.5)
    return (yield)

@pytest.fixture
def bad_start():
    assert False, "the truth of its start"

@pytest.fixture
def bad_end():
    yield
    assert False, "the truth of its end"

@pytest.fixture
def slow_start():
    time.sleep(1000)

@pytest.fixture
def slow_end():
    yield
    time.sleep(1000)

@pytest.fixture
async def slow_async_end(slow_end):
    import anyio
    yield
    await anyio.sleep(1000)
"""

TESTS = """
import time

def test_slow_report_of_call():
    assert False, "the truth"

def test_slow_report_of_setup(bad_start): pass
def test_slow_report_of_teardown(bad_end): pass

def test_slow():
    time.sleep(1000)

def test_slow_start(slow_start): pass
def test_slow_end(slow_end): pass
async def test_two_slow_ends(slow_async_end): pass
def test_after_them(): pass
"""

DEATH = """
import os
def test_before(): pass
def test_death(): os._exit(0)
def test_after(): pass
"""

DEAF = """
import signal, threading
def test_before(): pass
def test_deaf():
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
    threading.Event().wait()
def test_after(): pass
"""

EXPECTED = {
    "FAILED test_hangs.py::test_slow_report_of_call - AssertionError: the truth",
    "ERROR test_hangs.py::test_slow_report_of_setup - AssertionError: the truth of its start",
    "ERROR test_hangs.py::test_slow_report_of_teardown - AssertionError: the truth of its end",
    "FAILED test_hangs.py::test_slow - Failed: Timeout (>1.0s) from pytest-timeout.",
    "ERROR test_hangs.py::test_slow_start - Failed: Timeout (>1 s) in setup.",
    "ERROR test_hangs.py::test_slow_end - Failed: Timeout (>1 s) in teardown.",
    "ERROR test_hangs.py::test_two_slow_ends - BaseExceptionGroup",
}


@pytest.mark.parametrize("workers", [0, 2])
def test_what_hangs_or_dies_costs_one_test(workers: int, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_hangs.py").write_text(TESTS)
    if workers:
        for name in "abcd":
            (tmp_path / f"test_{name}.py").write_text(DEAF if name == "d" else DEATH)
    command = [sys.executable, "-m", "pytest", "-c", str(OURS / "pyproject.toml"), "--rootdir", str(tmp_path)]
    command += ["-o", "timeout=1", "-o", "faulthandler_timeout=10", "-p", "no:cacheprovider", "-p", "no:cov"]
    command += ["--workers", str(workers), str(tmp_path)]
    wide = {**os.environ, "COLUMNS": "200"}
    run = subprocess.run(command, cwd=tmp_path, env=wide, capture_output=True, text=True, timeout=100)
    assert run.returncode == 1, run.stdout + run.stderr
    lines = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    told = {line.partition(": errors while")[0] for line in lines}
    crash = re.compile(r"FAILED (test_[abcd]\.py::test_(death|deaf)) - worker .* crashed while running '\1'")
    deaths = {line for line in told if crash.match(line)}
    assert len(deaths) == (4 if workers else 0), run.stdout
    assert told - deaths == EXPECTED
    count = f"{2 + len(deaths)} failed, {4 + 2 * len(deaths)} passed, 5 errors in "
    assert count in run.stdout.splitlines()[-1]
