"""Runs the command on a terminal, and draws what a person sees there as docs/images/command.svg, step by step.

Run: python -m scripts.docs.terminal
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text
from scripts.docs.recording import IMAGES, ROOT, without_fonts

PICTURE = IMAGES / "command.svg"
COLUMNS = 76
STEP_SECONDS = 0.7
"""How long a command stands there alone, and its output. After six seconds all is there, and stays."""

SERVERS = {"papers": "arxiv_server.py", "wiki": "wikipedia_server.py", "notes": "notes_server.py"}
BEFORE = ["jackfield config trust --yes", "jackfield refresh"]
"""What the picture begins after."""
SHOWN = [
    "jackfield list",
    "jackfield find look for papers --limit 2",
    "jackfield call papers.search_papers qury=reefs",
    "jackfield call papers.search_papers query='coral reefs' limit=1",
    "jackfield open notes --quiet",
    "jackfield call notes.open_notebook name=reefs",
    "jackfield call notes.add_note text='Corals bleach.'",
    "jackfield close notes",
]
AFTER = ["jackfield close --all"]

_SHOWS = """\
@keyframes appear {{ from {{ visibility: hidden }} to {{ visibility: visible }} }}
.{name}-matrix text {{ animation: appear 1ms both }}
@media (prefers-reduced-motion: reduce) {{ .{name}-matrix text {{ animation: none }} }}
"""


@contextmanager
def folder_of_a_user() -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder with a file of three servers, and the environment of somebody who has used none of them yet."""
    with tempfile.TemporaryDirectory() as name:
        home, project = Path(name) / "home", Path(name) / "project"
        home.mkdir()
        project.mkdir()
        (project / "examples").symlink_to(ROOT / "examples")
        entries = {
            server: {"command": "python3", "args": [f"examples/research_assistant/servers/{file}", "stdio"]}
            for server, file in SERVERS.items()
        }
        (project / "mcp.json").write_text(json.dumps({"mcpServers": entries}))
        environment = {
            **os.environ,
            "HOME": str(home),
            "JACKFIELD_CACHE_DIR": str(home / "cache"),
            "JACKFIELD_STATE_DIR": str(home / "state"),
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "TERM": "xterm-256color",
        }
        for variable in ("NO_COLOR", "XDG_CONFIG_HOME"):
            environment.pop(variable, None)
        yield project, environment


def recorded() -> list[tuple[str, str]]:
    """The commands, and what is on the terminal once each has ended."""
    with folder_of_a_user() as (folder, environment):
        try:
            for command in BEFORE:
                on_a_terminal(command, folder, environment)
            return [(command, on_a_terminal(command, folder, environment)) for command in SHOWN]
        finally:
            for command in AFTER:
                on_a_terminal(command, folder, environment)


def on_a_terminal(command: str, folder: Path, environment: dict[str, str]) -> str:
    """What is left of a command's output: what it erased itself, such as progress, is not."""
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (40, COLUMNS))
    written = b""
    with subprocess.Popen(
        ["bash", "-c", command], stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment, cwd=folder
    ):
        os.close(theirs)
        with suppress(OSError):  # so a terminal tells that nobody writes to it any more
            while data := os.read(ours, 65536):
                written += data
    os.close(ours)
    return re.sub(r"^.*\x1b\[K", "", written.decode().replace("\r\n", "\n"), flags=re.MULTILINE).rstrip()


def picture(steps: list[tuple[str, str]]) -> str:
    """The steps as an SVG in which they appear one after another, and where nobody minds that, at once."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    begins: list[float] = []
    for number, (command, output) in enumerate(steps):
        parts = [Text.assemble(("$ ", "bold green"), (command, "bold")), Text.from_ansi(output), Text()]
        for half, part in enumerate(parts if output else [parts[0], parts[2]]):
            lines = part.wrap(console, COLUMNS)
            console.print(*lines, sep="\n")
            begins += [STEP_SECONDS * (number + (0.5 if half else 0))] * len(lines)
    frame = without_fonts(console.export_svg(title="jackfield", unique_id="command"))

    def later(match: re.Match[str]) -> str:
        return f'<text style="animation-delay:{begins[int(match[1])]:g}s" '

    frame = re.sub(r'<text (?=[^>]*clip-path="url\(#command-line-(\d+)\)")', later, frame)
    return frame.replace("</style>", _SHOWS.format(name="command") + "</style>", 1)


if __name__ == "__main__":
    PICTURE.write_text(picture(recorded()))
    print(PICTURE.relative_to(ROOT))
