"""`Source`: a place where servers may be configured, whose it is, and where relative paths in it start.

The program that a file belongs to is told by its place, else by the shape of what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, cast

from ..plain import as_table
from .programs import PROGRAMS
from .programs.apps import ANY
from .programs.table import Place, Program

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


def writer_of(table: object) -> Program | None:
    """The program that alone writes such a table of servers, for a file of which nothing else is known."""
    is_continues = isinstance(table, list) and "${{ secrets." in str(cast("list[object]", table))
    return _BY_NAME["Continue"] if is_continues else None


def _is_entry(value: object) -> bool:
    entry = as_table(value)
    return any(isinstance(entry.get(key), str) for key in ("command", "url", "serverUrl", "httpUrl", "baseUrl"))


def sign_of(entry: Mapping[str, object]) -> Program:
    """The program that alone has such keys, for an entry in a file of which nothing is known; else any."""
    return next((_BY_NAME[name] for name, keys in _SIGNS if keys & set(entry)), ANY)


def is_comment(key: str) -> bool:
    """Whether a key is how people write a comment into JSON."""
    return key.startswith(("_", "//", "#", "$")) or key.lower() in ("comment", "comments")


Scope = Literal["given", "project", "user"]
"""The origin of a file decides who may have written it: a project's files may come from anyone."""

_DEPTH = 3
_OF_NO_PROGRAM = frozenset({".config", ".local", ".cache", ".git"})


@dataclass(frozen=True)
class Source:
    """A place where servers may be configured."""

    path: Path
    program: str
    """Whose file it is, for people."""
    scope: Scope
    folder: Path
    """Where relative paths in it start."""
    under: tuple[str, ...] = ()
    """The keys that lead to the part of the file that has the servers."""
    workspace: Path | None = None
    """What an editor's `${workspaceFolder}` means; the folder if omitted."""
    owner: str = ""
    """The program by whose rules it is read, if `program` does not name it."""
    is_of_project: bool = False
    """Whether a file that was named belongs to a project; one of scope `project` always does."""
    inherits_as_program: bool = False
    """Whether its servers get all the variables that their program would give them."""

    @classmethod
    def given(cls, file: Path, option: str) -> Source:
        """A file that the user named, by that option of the command; or that a program named."""
        owned = owner_of(file)
        project = _project_of_file(file, owned)
        is_of_user = owned is not None and owned.place.is_of_user and project is None
        return cls(
            file,
            option,
            "given",
            file.absolute().parent if project is None else project,
            owned.place.under if owned and "{project}" not in owned.place.under else (),
            project_of(Path.cwd()) if is_of_user else None,
            owned.program.name if owned else "",
            project is not None,
        )

    # What does not change is computed once: a file may have hundreds of entries.

    @cached_property
    def row(self) -> Program:
        """The program's row in the table of programs."""
        return program_named(self.owner or self.program)

    @property
    def dialect(self) -> str:
        """The program by whose rules it is read; empty if that is not known."""
        return self.row.name

    @property
    def is_foreign(self) -> bool:
        """Whether other programs may use their own keys in the file: it is not known to be Jackfield's own."""
        return self.row.name != "Jackfield"

    @property
    def default_folder(self) -> Path | None:
        """Where a server of it is started if its entry does not say: a project's in the project, wherever the command
        was run; `None`: in the current folder."""
        return self.folder if self.scope == "project" or self.is_of_project else None

    @cached_property
    def file_folder(self) -> Path:
        """The folder that the file is in."""
        return self.path.absolute().parent

    @cached_property
    def known_folders(self) -> dict[str, str]:
        """The folders that entries can name, such as `${workspaceFolder}`."""
        workspace = str(self.workspace or self.folder)
        return {
            "workspaceFolder": workspace,
            "workspaceRoot": workspace,
            "cwd": workspace,
            "workspacePath": workspace,
            f"workspaceFolder:{os.path.basename(workspace)}": workspace,
            "workspaceFolderBasename": os.path.basename(workspace),
            "CLAUDE_PROJECT_DIR": workspace,
            "CLAUDE_PLUGIN_ROOT": str(self.folder),
            "extensionPath": str(self.file_folder),
            "userHome": os.path.expanduser("~"),
            "pathSeparator": os.sep,
            "/": os.sep,
        }


def project_of(cwd: Path) -> Path:
    """The root of the repository that a folder is in; itself outside of one."""
    return next((folder for folder in (cwd, *cwd.parents) if (folder / ".git").exists()), cwd)


def _project_of_file(file: Path, owned: Owned | None) -> Path | None:
    """The project that a file belongs to: by the place at which a program keeps its own, else by the rule that a folder
    whose name starts with a dot is a program's; `None` if it is no project's file. What is in such a folder in the home
    folder is the user's own."""
    path = file.absolute()
    home = Path(os.path.expanduser("~"))
    is_owned = owned is not None and bool(owned.program.name or not path.parent.name.startswith("."))
    if owned is not None and is_owned and not owned.place.is_of_user and owned.place.is_found:
        return None if owned.root == home and owned.place.path.startswith(".") else owned.root
    for number, folder in enumerate(path.parents[:_DEPTH]):
        name = folder.name
        if name.startswith(".") and len(name) > 1 and name not in _OF_NO_PROGRAM:
            return None if folder.parent == home else path.parents[number + 1]
        if (folder / ".git").exists():
            return None
    return None
