"""The demo and the small examples as people run them: output, exit codes, and nothing left running."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import psutil
import pytest
from tests.conftest import quick_python
from tests.daily import daily
from tests.forked import unmeasured

EXAMPLES = Path(__file__).parents[2] / "examples"
DEMO = "research_assistant/main.py"


class Runner:
    """Starts examples, and finds what they left running.

    The mark is a folder on PATH: of the environment only a few variables reach a server over stdio, and PATH does.
    """

    def __init__(self, mark: Path, python: str | None = None) -> None:
        self.mark = str(mark)
        self.python = python or quick_python()

    def start(self, script: str, *arguments: str) -> subprocess.Popen[str]:
        keyless = {name: value for name, value in unmeasured().items() if not name.endswith("_API_KEY")}
        path = f"{os.environ['PATH']}{os.pathsep}{self.mark}"
        environment = {**keyless, "PATH": path, "COLUMNS": "80", "PYTHONUNBUFFERED": "1", "PYTHONUTF8": "1"}
        command = [self.python, "-W", "error::ResourceWarning", str(EXAMPLES / script), *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)

    def run(self, script: str, *arguments: str, timeout: float = 60) -> tuple[int, str, str]:
        with self.start(script, *arguments) as process:
            output, errors = process.communicate(timeout=timeout)
        assert self.left() == []
        return process.returncode, output, errors

    def left(self) -> list[psutil.Process]:
        found: list[psutil.Process] = []
        for process in psutil.process_iter():
            try:
                if self.mark in process.environ().get("PATH", ""):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


@pytest.fixture
def runner(tmp_path: Path) -> Runner:
    return Runner(tmp_path)


def test_the_mark_is_found_while_a_server_runs(runner: Runner) -> None:
    with runner.start(DEMO, "--pace", "0.5") as process:
        assert process.stdout
        assert any("opened: process" in line for line in process.stdout)
        scripts = {Path(part).name for left in runner.left() for part in left.cmdline()}
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert {"arxiv_server.py", "wikipedia_server.py", "notes_server.py"} <= scripts


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("one_off_research.py", ["3 papers for", "sessions open: 0"]),
        ("in_process_server.py", ["Emma is lent to Ada.", "2 sessions"]),
        ("multi_source_routing.py", ["Open: none.", "Open:     ArxivServer\n", "Afterwards open: none"]),
        (
            "routing_agent/main.py",
            [
                "The catalog knows 8 servers",
                "The agent has find_tools, call_tool. Open: 0.",
                "units.convert_length(",
                "Answer:   0.00635 metres. A jack field",
                "Started or connected: encyclopedia, units.",
                "Never touched: papers, calculator, words, clock, notes, dice.",
                "Afterwards open: 0",
            ],
        ),
        ("wrapped_tool.py", ["ArxivServer is open as process", "'ArxivServer' released", "Answer: Read this: "]),
    ],
)
def test_a_small_example(runner: Runner, script: str, lines: list[str]) -> None:
    code, output, errors = runner.run(script)
    assert (code, errors) == (0, "")
    assert [line for line in lines if line not in output] == []


def test_the_demo(runner: Runner) -> None:
    code, output, errors = runner.run(DEMO)
    assert (code, errors) == (0, "")
    assert "Sessions open: 0" in output
    first, second, third = output.split("Question ")[1:]
    assert "Open now: ArxivServer   Not started: WikipediaServer, NotesServer" in first
    assert "Open now: ArxivServer, WikipediaServer, NotesServer" in second
    assert "opened:" not in third
    assert "of 4 notes" in third
    assert "Processes that Jackfield started: 0 running" in output
    assert "Left running in all: 0 processes" in output
    assert max(map(len, output.splitlines())) <= 80
    assert "\x1b" not in output


MOMENTS = ["Question 1", "opened: process", "Question 2", "open_notebook"]


@pytest.mark.parametrize("seen", daily(MOMENTS[1::2], whole=MOMENTS))
def test_ctrl_c_in_the_middle_of_the_demo(runner: Runner, seen: str) -> None:
    with runner.start(DEMO, "--pace", "0.3") as process:
        assert process.stdout
        assert any(seen in line for line in process.stdout)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (130, "")
    assert "Left running in all: 0 processes" in output
    assert runner.left() == []


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "gpt-4o"], "OPENAI_API_KEY"),
        (["--model", "claude-sonnet-4-5"], "ANTHROPIC_API_KEY"),
        (["--model", "unheard-of"], "No vendor is known"),
        (["--question", "Why?"], "--question needs a real model"),
    ],
)
def test_the_demo_says_what_is_missing(runner: Runner, arguments: list[str], words: str) -> None:
    code, output, errors = runner.run(DEMO, *arguments)
    assert (code, output) == (2, "")
    assert words in errors
    assert "Traceback" not in errors
