"""Writes the table of programs into docs/how-to/config-files.md: `python scripts/docs/programs.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from jackfield.config.programs import PROGRAMS
from jackfield.config.programs.table import ABOVE_AN_HOUR, ALWAYS, FROM_A_SECOND, NEVER, OF_THE_SDK, Place, Program

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "config-files.md"
BEGIN, END = "<!-- programs: written by scripts/docs/programs.py -->\n", "<!-- end of programs -->"

_FOLDERS = {
    "{config}": "~/.config",
    "{dotconfig}": "~/.config",
    "{support}": "~/.config",
    "{data}": "~/.local/share",
    "{appdata}": "%APPDATA%",
    "{codex}": "~/.codex",
    "{name}": "*",
}
_UNITS = {
    NEVER: "seconds",
    ALWAYS: "milliseconds",
    FROM_A_SECOND: "milliseconds from 1000, otherwise seconds",
    ABOVE_AN_HOUR: "seconds up to 3600, otherwise milliseconds",
}


def programs_table() -> str:
    """A row for each program, in the order in which their files are read."""
    head = ["program", "project files", "your own files", "table", "replaces", "`timeout`", "servers inherit"]
    rows = [head, ["---"] * len(head), *(_row(program) for program in PROGRAMS)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows) + "\n"


def page(text: str) -> str:
    """The page with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    return f"{before}{BEGIN}\n{programs_table()}\n{END}{rest.partition(END)[2]}"


def shown(path: str) -> str:
    """A path of the table for people, as on Linux."""
    for name, folder in _FOLDERS.items():
        path = path.replace(name, folder)
    return path


def _row(program: Program) -> Sequence[str]:
    timeout = program.times.get("timeout")
    references = sorted(program.references)
    more = " (unset: empty)" if program.is_empty_if_unset else " (assumed)" if program.is_assumed else ""
    return [
        f"[{program.name}]({program.page})" if program.name else "any program",
        _files(place for place in program.places if not place.is_of_user),
        _files(place for place in program.places if place.is_of_user),
        _codes(".".join(keys) for keys in program.tables),
        (_codes(references) + more) if references else "nothing",
        "" if timeout is None else _UNITS[timeout.milliseconds_from],
        _inherited(program),
    ]


def _inherited(program: Program) -> str:
    if isinstance(program.inherits, str):
        return {"everything": "all variables", "no secrets": "all but secrets"}[program.inherits]
    if program.inherits is None:
        return ""
    more = sorted(set(program.inherits).difference(OF_THE_SDK))
    return f"a few, and {_codes(more)}" if more else "a few"


def _files(places: Iterable[Place]) -> str:
    cells = (f"`{shown(place.path)}`" + (f": `{'.'.join(place.under)}`" if place.under else "") for place in places)
    return ", ".join(dict.fromkeys(cells))


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
