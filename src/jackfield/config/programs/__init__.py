"""One table of the programs whose files Jackfield reads: a row is one program, and a new program is a new row.

`table` says what a row holds; `agents`, `editors` and `apps` hold the rows.
"""

from __future__ import annotations

from .agents import AGENTS
from .apps import ANY, APPS, JACKFIELD
from .editors import EDITORS
from .table import Program

_FIRST = ("Claude Code", "VS Code", "Cursor", "Windsurf", "Codex", "Gemini", "Zed")


def _rank(program: Program) -> int:
    return _FIRST.index(program.name) if program.name in _FIRST else len(_FIRST)


PROGRAMS: tuple[Program, ...] = (JACKFIELD, *sorted((*AGENTS, *EDITORS, *APPS), key=_rank), ANY)
"""All of them, in the order in which their files are read."""
