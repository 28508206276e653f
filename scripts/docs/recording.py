"""Runs the demos and keeps what a terminal shows of them, as docs/images/demo.svg and serve-demo.svg.

Run: python -m scripts.docs.recording [demo] [serve-demo]
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
IMAGES = ROOT / "docs" / "images"
DEMOS = {
    "demo": ["examples/research_assistant/main.py", "--pace", "0.3"],
    "serve-demo": ["examples/serving/demo/main.py"],
}
"""By the target of make, which names the picture too."""

COLUMNS = 100


def recorded(demo: str) -> str:
    """What a demo writes on a terminal with colours, without the table that it redraws."""
    environment = {
        **os.environ,
        "COLORTERM": "truecolor",
        "COLUMNS": str(COLUMNS),
        "FORCE_COLOR": "1",
        "PYTHONUTF8": "1",
        "TERM": "xterm-256color",
        "TTY_INTERACTIVE": "0",
    }
    done = subprocess.run(
        [sys.executable, *DEMOS[demo]], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


def picture(demo: str, output: str) -> str:
    """The output as an SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True, color_system="truecolor")
    console.print(Text(f"$ make {demo}", "bold"), Text.from_ansi(output), sep="\n")
    frame = console.export_svg(title=f"make {demo}", unique_id=demo)
    return without_fonts(frame)


def without_fonts(frame: str) -> str:
    """A picture of Rich's, which would have the font come from elsewhere."""
    return re.sub(r" *@font-face \{.*?\n    \}\n", "", frame, flags=re.DOTALL)


if __name__ == "__main__":
    for name in sys.argv[1:] or DEMOS:
        (IMAGES / f"{name}.svg").write_text(picture(name, recorded(name)))
        print(f"docs/images/{name}.svg")
