"""Writes how Jackfield is installed, wherever that is said: `python -m scripts.docs.install`.

Set `IS_ON_AN_INDEX` with the first release on a package index; then the pages say `pip install 'jackfield[cli]'`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
IS_ON_AN_INDEX = False

_COMMAND = re.compile(r"pip install [^`\n;]*")
_OURS = re.compile(r"(?<= )'?(?:jackfield|\.)(?:\[([\w,-]+)\])?'?(?= |$)")
_IN_A_SENTENCE = re.compile(r"(`pip install [^`\n]*`)(?: \(\[in a clone\]\([^)\n]*\)\))?")
_INSTALL = ROOT / "docs" / "index.md"


def sources() -> list[Path]:
    """The files that say it."""
    docs = (ROOT / "docs").glob("**/*.md")
    deploy = (path for path in (ROOT / "examples" / "deploy").iterdir() if path.is_file())
    return [ROOT / "README.md", *sorted(docs), *sorted(deploy)]


def requirement(extras: str) -> str:
    """What stands behind `pip install`."""
    name = "jackfield" if IS_ON_AN_INDEX else "."
    return f"'{name}[{extras}]'" if extras else name


def current(text: str, source: Path) -> str:
    """The text of a file with the commands that work today."""
    text = _COMMAND.sub(lambda command: _OURS.sub(lambda ours: requirement(ours[1] or ""), command[0]), text)
    if source.suffix != ".md":
        return text
    return _IN_A_SENTENCE.sub(lambda found: found[1] + _where(found[1], source), text)


def _where(command: str, source: Path) -> str:
    if IS_ON_AN_INDEX or source == _INSTALL or not _OURS.search(command.strip("`")):
        return ""
    return f" ([in a clone]({os.path.relpath(_INSTALL, source.parent)}#install))"


if __name__ == "__main__":
    for path in sources():
        path.write_text(current(path.read_text(encoding="utf-8"), path), encoding="utf-8")
