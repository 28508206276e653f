"""Runs the demo and keeps what a terminal shows of it, as docs/images/demo.svg.

Run: python -m scripts.docs.recording
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "demo.svg"
DEMO = "examples/research_assistant/main.py"
COLUMNS = 100


def recorded() -> str:
    """What the demo writes on a terminal with colours, without the table that it redraws."""
    environment = {
        **os.environ,
        "COLORTERM": "truecolor",
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
        "TTY_INTERACTIVE": "0",
    }
    command = [sys.executable, DEMO, "--pace", "0.3"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def picture(output: str) -> str:
    """The output as an SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text("$ make demo", "bold"), Text.from_ansi(output), sep="\n")
    frame = console.export_svg(title="make demo", unique_id="demo")
    # Rich would have the font come from elsewhere.
    return re.sub(r" *@font-face \{.*?\n    \}\n", "", frame, flags=re.DOTALL)


if __name__ == "__main__":
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text(picture(recorded()))
    print(PICTURE.relative_to(ROOT))
