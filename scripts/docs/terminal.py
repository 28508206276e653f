"""Runs the command on a terminal, and draws what a person sees there: docs/images/command.svg, step by step, and
docs/images/top.svg, `jackfield top` while calls are made, which looks a little different every time.

Run: python -m scripts.docs.terminal [command] [top]
"""

from __future__ import annotations

import copy
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text
from scripts.docs.recording import IMAGES, ROOT, without_fonts

PICTURE = IMAGES / "command.svg"
TOP = IMAGES / "top.svg"
COLUMNS = 76
TOP_COLUMNS, TOP_LINES = 92, 11
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
WATCHED = ["jackfield open notes", "jackfield open papers", "jackfield call notes.open_notebook name=reefs"]

_COLOURS = {"default": None, "brown": "yellow", "brightblack": "bright_black", "brightbrown": "bright_yellow"}
"""Names that pyte gives colours, as Rich has them."""

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


def watched() -> pyte.Screen:
    """The screen of `jackfield top` after some calls of two kept sessions, some of which fail."""
    screen = pyte.Screen(TOP_COLUMNS, TOP_LINES)
    with folder_of_a_user() as (folder, environment):
        try:
            for command in [*BEFORE, *WATCHED]:
                on_a_terminal(command, folder, environment)
            ours, theirs = os.openpty()
            termios.tcsetwinsize(theirs, (TOP_LINES, TOP_COLUMNS))
            with subprocess.Popen(
                ["jackfield", "top"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, cwd=folder
            ):
                os.close(theirs)
                reader = threading.Thread(target=_feed, args=[pyte.ByteStream(screen), ours])
                reader.start()
                for number in range(12):
                    on_a_terminal(f"jackfield call notes.add_note text={number}", folder, environment)
                    if number % 3 == 0:
                        on_a_terminal("jackfield call papers.get_paper paper_id=none", folder, environment)
                time.sleep(1.5)  # it looks again every second
                seen = copy.deepcopy(screen)
                os.write(ours, b"q")
            reader.join()
            os.close(ours)
        finally:
            for command in AFTER:
                on_a_terminal(command, folder, environment)
    return seen


def _feed(stream: pyte.ByteStream, terminal: int) -> None:
    with suppress(OSError):
        while data := os.read(terminal, 65536):
            stream.feed(data)


def still(screen: pyte.Screen) -> str:
    """A screen as an SVG."""
    console = Console(record=True, width=TOP_COLUMNS, file=io.StringIO(), force_terminal=True)
    for number in range(screen.lines):
        line = Text()
        signs = [screen.buffer[number][column] for column in range(screen.columns)]
        for (colour, bold, reverse), those in groupby(signs, key=lambda sign: (sign.fg, sign.bold, sign.reverse)):
            style = Style(color=_COLOURS.get(colour, colour), bold=bold, reverse=reverse)
            line.append("".join(sign.data for sign in those), style)
        console.print(line)
    return without_fonts(console.export_svg(title="jackfield top", unique_id="top"))


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
    for name in sys.argv[1:] or ["command", "top"]:
        path, drawn = (TOP, still(watched())) if name == "top" else (PICTURE, picture(recorded()))
        path.write_text(drawn)
        print(path.relative_to(ROOT))
