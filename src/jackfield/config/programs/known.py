"""Finds the program that a file belongs to: by its place, else by the shape of what is in it."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from ...plain import as_table
from .agents import AGENTS
from .apps import ANY, APPS, JACKFIELD
from .editors import EDITORS
from .table import Place, Program

_FIRST = ("Claude Code", "VS Code", "Cursor", "Windsurf", "Codex", "Gemini", "Zed")


def _rank(program: Program) -> int:
    return _FIRST.index(program.name) if program.name in _FIRST else len(_FIRST)


PROGRAMS: tuple[Program, ...] = (JACKFIELD, *sorted((*AGENTS, *EDITORS, *APPS), key=_rank), ANY)
"""All of them, in the order in which their files are read."""

_BY_NAME = {program.name: program for program in PROGRAMS}
OWN_KEYS = frozenset[str]().union(*(program.own_keys for program in PROGRAMS))


_FOLDERS = ("{config}", "{dotconfig}", "{support}", "{data}", "{appdata}")
_FOLDERS_OF_SETTINGS = {".config", "Application Support", "Roaming", "Local", "share"}


class Owned(NamedTuple):
    """A file's owner and the place where the owner keeps it."""

    program: Program
    place: Place
    root: Path
    """The folder that the place is in: the project of a project's file."""


def program_named(name: str) -> Program:
    """The program of that name, perhaps with an addition (`Claude Code, for this project`); else any program."""
    return _BY_NAME.get(name.partition(",")[0], ANY)


def owner_of(file: Path) -> Owned | None:
    """The program that keeps such a file at such a place; the longest place that fits."""
    path = file.absolute()
    best: Owned | None = None
    for program in PROGRAMS:
        for place in program.places:
            tail = place.tail
            if len(tail) >= len(path.parts) or (best is not None and len(tail) <= len(best.place.tail)):
                continue
            root = path.parents[len(tail) - 1]
            is_there = not place.path.startswith(_FOLDERS) or root.name in _FOLDERS_OF_SETTINGS
            if is_there and all(map(fnmatchcase, path.parts[-len(tail) :], tail)):
                best = Owned(program, place, root)
    return best


_PLACES_IN_FILES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("VS Code", ("customizations", "vscode", "mcp")),
    ("VS Code", ("settings", "mcp")),
    ("VS Code", ("mcp",)),
)
_SIGNS = (
    ("Gemini", frozenset({"httpUrl"})),
    ("LibreChat", frozenset({"sessionConfig", "initTimeout"})),
)


def recognised(data: Mapping[str, object]) -> tuple[Program, tuple[str, ...]] | None:
    """The program whose shape the content of a file has, and the keys that lead to its tables; `None` if it has none of
    the shapes."""
    if any(table[0] in data for table in ANY.tables):
        return ANY, ()
    for name, under in _PLACES_IN_FILES:
        part: object = data
        for key in under:
            part = as_table(part).get(key)
        if isinstance(as_table(part).get("servers"), Mapping):
            servers = as_table(as_table(part)["servers"]).values()
            is_opencode = any(as_table(entry).get("type") in ("local", "remote") for entry in servers)
            return (_BY_NAME["opencode"], ()) if is_opencode else (_BY_NAME[name], under)
    mcp = [as_table(entry) for entry in as_table(data.get("mcp")).values()]
    if any(isinstance(entry.get("command"), list) or entry.get("type") in ("local", "remote") for entry in mcp):
        return _BY_NAME["opencode"], ()
    if any(_is_entry(entry) for entry in mcp):
        return _BY_NAME["Crush"], ()
    if any("cmd" in as_table(entry) or "uri" in as_table(entry) for entry in as_table(data.get("extensions")).values()):
        return _BY_NAME["Goose"], ()
    if data and all(_is_entry(entry) for name, entry in data.items() if not is_comment(name)):
        return ANY, ()
    return None


def _is_entry(value: object) -> bool:
    entry = as_table(value)
    return any(isinstance(entry.get(key), str) for key in ("command", "url", "serverUrl", "httpUrl", "baseUrl"))


def sign_of(entry: Mapping[str, object]) -> Program:
    """The program that alone has such keys, for an entry in a file of which nothing is known; else any."""
    return next((_BY_NAME[name] for name, keys in _SIGNS if keys & set(entry)), ANY)


def is_comment(key: str) -> bool:
    """Whether a key is how people write a comment into JSON."""
    return key.startswith(("_", "//", "#", "$")) or key.lower() in ("comment", "comments")
