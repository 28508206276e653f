"""The pages, and the code blocks in them.

A block with a title is a file, which the other blocks of its page find beside them: ```python title="server.py". A
console block with a title is run by a test of its own, which names it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
COLUMNS = 88
"""How long a line of a block may be: what fits into the site's text on a laptop without scrolling."""
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(DOCS.glob("**/*.md"))]

FENCE = re.compile(
    r"^```(?P<language>\w+)(?: title=\"(?P<title>[^\"]+)\")?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """One fenced block."""

    page: Path
    line: int
    """Where its text begins."""
    language: str
    title: str | None
    """A file's name; or "before", which is another library's code, and "after", which is ours in its place."""
    text: str

    @property
    def is_file(self) -> bool:
        """Whether it is there to be written, and not to be run."""
        return self.title not in (None, "before", "after") and self.language != "console"

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page, in order."""
    text = page.read_text()
    return [
        Block(page, text.count("\n", 0, match.start()) + 2, match["language"], match["title"], match["text"])
        for match in FENCE.finditer(text)
    ]


BLOCKS = [block for page in PAGES for block in blocks_of(page)]


def write_files(page: Path, folder: Path) -> None:
    """Put the files of a page, and the examples, into a folder; those of `~/` into the reader's home."""
    (folder / "examples").symlink_to(ROOT / "examples")
    for block in blocks_of(page):
        if block.title and block.is_file:
            file = folder / Path(block.title).expanduser()
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block.text)
