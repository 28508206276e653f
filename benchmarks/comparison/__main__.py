"""Try every task with every command, each in a fresh folder and home, and print what was seen.

    python -m benchmarks.comparison FOLDER [--tool NAME] [--task NAME] [--write]

FOLDER is where `install.sh` put the commands. `--write` records what was seen in `seen.json`, and writes the table of
`docs/compare.md`. Linux only.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .page import read_seen, write_page, write_seen
from .tasks import TASKS, TOOLS, Outcome, Task

HERE = Path(__file__).parent
LIMIT = 90.0
"""Seconds for a task; what takes longer has no end."""
MARK = "JACKFIELD_COMPARISON"
"""A variable whose value all processes of a task have."""
NOISE = re.compile(
    r"^\s*$|^\[mcp-inspector\]|^(?:Debugger|Waiting)|^\[\d\d/\d\d/\d\d|^npm |^\s*(?:at |\^)|server\.py:\d"
)
"""Lines that say nothing of the task."""
SHOWN = 60


def environment(installed: Path, folder: Path) -> Mapping[str, str]:
    """The variables of a task: a home of its own, and the commands on the PATH."""
    programs = folder / "bin"
    programs.mkdir()
    links = {
        "jackfield": Path(sys.executable).with_name("jackfield"),
        "python3": Path(sys.executable),
        "mcporter": installed / "mcporter/node_modules/.bin/mcporter",
        "fastmcp": installed / "fastmcp/bin/fastmcp",
        "fastmcp-python": installed / "fastmcp/bin/python",
        "mcp-inspector": installed / "inspector/node_modules/.bin/mcp-inspector",
    }
    for name, program in links.items():
        script = programs / name
        script.write_text(f'#!/bin/sh\nexec "{program}" "$@"\n')
        script.chmod(0o755)
    run = folder / "run"
    run.mkdir(mode=0o700)
    return {
        "HOME": str(folder / "home"),
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "XDG_RUNTIME_DIR": str(run),
        "LANG": "C.UTF-8",
        "TERM": "dumb",
        "NO_COLOR": "1",
        "COLUMNS": "200",
        # There is no keychain here; what it says of that is not about the task.
        "MCP_INSPECTOR_SECRET_STORE": "memory",
        **{name: value for name, value in os.environ.items() if name in ("PYTHONPATH", "LD_LIBRARY_PATH")},
    }


def tried(tool: str, task: Task, installed: Path) -> dict[str, Any]:
    """What a command did with a task."""
    if tool not in task.lines:
        return {"works": None, "exit_code": None, "shows": ""}
    with tempfile.TemporaryDirectory(prefix="jackfield-comparison-") as name:
        folder = Path(name)
        project = folder / "project"
        (project / ".cursor").mkdir(parents=True)
        (folder / "home").mkdir()
        # So it is a project, which the folder above is no part of.
        (project / ".git").mkdir()
        shutil.copy(HERE / "todo_server.py", project / "todo.py")
        entry = {"command": sys.executable, "args": [str(project / "todo.py")]}
        (project / "mcp.json").write_text(json.dumps({"mcpServers": {"todo": entry}}))
        variables = environment(installed, folder)
        subprocess.run(
            ["jackfield", "config", "trust", "--yes"], cwd=project, env=variables, capture_output=True, check=True
        )
        # Not a pipe: what a command leaves behind would hold it open.
        with (folder / "output").open("wb") as file:
            process = subprocess.Popen(
                ["bash", "-c", task.lines[tool]],
                cwd=project,
                env={**variables, MARK: str(folder)},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
            )
            try:
                exit_code = process.wait(LIMIT)
            except subprocess.TimeoutExpired:
                exit_code = None
            for left in running(str(folder)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(left, signal.SIGKILL)
            process.wait()
        output = (folder / "output").read_text(errors="replace")
        if exit_code is None:
            return {"works": False, "exit_code": None, "shows": f"no end within {LIMIT:g} s"}
        log = project / "calls.log"
        calls = len(log.read_text().splitlines()) if log.exists() else 0
        output = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", output)
        for place in (str(project), str(folder), sys.executable):
            output = output.replace(place, "...")
        seen = Outcome(exit_code, output, calls)
        return {"works": task.works(seen), "exit_code": seen.exit_code, "shows": quoted(task, output)}


def running(mark: str) -> list[int]:
    """The processes of a task, wherever they have gone."""
    wanted, found = f"{MARK}={mark}".encode(), list[int]()
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (entry / "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


def quoted(task: Task, output: str) -> str:
    """The words of an output that tell how it went."""
    lines = [" ".join(line.split()) for line in output.splitlines() if not NOISE.search(line)]
    fitting = (line for line in lines if re.fullmatch(task.shows, line))
    shown = next(fitting, next((line for line in lines if re.search(r"\w", line)), ""))
    return shown if len(shown) <= SHOWN else f"{shown[: SHOWN - 3]}..."


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tool", action="append", choices=TOOLS)
    parser.add_argument("--task", action="append", choices=[task.name for task in TASKS])
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    seen = read_seen()

    def one(where: tuple[Task, str]) -> None:
        task, tool = where
        found = tried(tool, task, given.folder.resolve())
        seen.setdefault(task.name, {})[tool] = found
        print(f"{task.name:30} {tool:10} {found['works']!s:6} {found['exit_code']!s:5} {found['shows']}", flush=True)

    tasks = [task for task in TASKS if not given.task or task.name in given.task]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(one, [(task, tool) for task in tasks for tool in given.tool or TOOLS]))
    if given.write:
        write_seen({task.name: {tool: seen[task.name][tool] for tool in TOOLS} for task in TASKS})
        write_page()


if __name__ == "__main__":
    main()
