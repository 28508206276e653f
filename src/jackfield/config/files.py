"""Configuration files: JSON, TOML and YAML as plain data, and `Source`: whose a file is, and where its paths start.

The program that a file belongs to is recognised by its place, else by the shape of its content. Uses no models.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from ..errors import ConfigError
from ..plain import as_table
from .programs import PROGRAMS
from .programs.apps import ANY
from .programs.table import Place, Program


def parse_file(file: Path, text: str | None = None) -> Mapping[str, Any]:
    """Read a file by its ending.

    Args:
        file: The file.
        text: Its content; what is there if omitted.

    Raises:
        ConfigError: It cannot be read, or is malformed; tells line and column.
    """
    try:
        text = file.read_text(encoding="utf-8-sig") if text is None else text
    except FileNotFoundError:
        raise ConfigError(f"{file}: there is no such file.", hint="Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{file}: this is a folder.", hint="Name the file in it.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read ({_reason(error)}).") from None
    ending = file.suffix.lower()
    try:
        if ending == ".toml":
            data: object = _parse_toml(text, file)
        elif ending in (".yaml", ".yml"):
            data = _parse_yaml(text, file)
        else:
            data = _parse_json(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"{file}: line {error.lineno}, column {error.colno}: {error.msg}.") from None
    if not isinstance(data, Mapping):
        raise ConfigError(
            f"{file}: expected a table of servers at the top.", hint='Write {"mcpServers": {"name": {...}}}.'
        )
    return cast("Mapping[str, Any]", data)


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return "it is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error.strerror)


class _Table(dict[str, Any]):
    """A table that tells which of its keys stands twice; parsers silently drop one."""

    __slots__ = ("double",)
    double: str

    @classmethod
    def marked(cls, table: Mapping[str, Any], double: str) -> _Table:
        self = cls(table)
        self.double = double
        return self


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) == len(pairs):
        return table
    keys = [key for key, _ in pairs]
    return _Table.marked(table, next(key for key in keys if keys.count(key) > 1))


def double_key(value: object, *, is_deep: bool = False) -> str | None:
    """A key that stands twice in a table, or with `is_deep` in one of the tables in it."""
    if isinstance(value, _Table):
        return value.double
    if not is_deep:
        return None
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = cast("dict[str, object]", value).values()
    elif isinstance(value, list):
        inner = cast("list[object]", value)
    return next((key for item in inner if (key := double_key(item, is_deep=True)) is not None), None)


def part_of(data: object, keys: Iterable[str]) -> object:
    """What is in a file below these keys, each in the table of the one before; `None` if there is nothing."""
    for key in keys:
        if not isinstance(data, Mapping):
            return None
        data = cast("Mapping[str, object]", data).get(key)
    return data


PARTS = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*(?:[^*]|\*(?!/))*\*/|[,{}\[\]]|[^\s",/{}\[\]]+|.')
"""The parts of a JSON text with comments: strings, comments, brackets, commas, all else, blanks."""


def _parse_json(text: str) -> object:
    """Also with the comments and the commas before a closing bracket that editors take."""
    try:
        return json.loads(text, object_pairs_hook=_table)
    except json.JSONDecodeError:
        return json.loads(_strict(text), object_pairs_hook=_table)


def _strict(text: str) -> str:
    """The text with blanks in place of comments and extra commas, so that an error names the right line and column."""
    blanks: list[tuple[int, int]] = []
    before, comma = "", None
    for match in PARTS.finditer(text):
        part = match[0]
        if part.startswith(("//", "/*")):
            blanks.append(match.span())
            continue
        if part == ",":
            comma = None if before in ("", "{", "[", ",") else match.span()
        elif part.strip():
            if part in ("}", "]") and comma is not None:
                blanks.append(comma)
            comma = None
        else:
            continue
        before = part
    pieces: list[str] = []
    position = 0
    for start, end in sorted(blanks):
        pieces += [text[position:start], re.sub(r"[^\n]", " ", text[start:end])]
        position = end
    return "".join([*pieces, text[position:]])


def _parse_toml(text: str, file: Path) -> object:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        problem, _, where = str(error).removesuffix(")").partition(" (at ")
        raise ConfigError(f"{file}: {where}: {problem}.") from None


def _parse_yaml(text: str, file: Path) -> object:
    try:
        import yaml
    except ModuleNotFoundError:
        raise ConfigError(
            f"{file}: reading YAML needs the package 'pyyaml'.", hint="Install it with: pip install 'jackfield[yaml]'"
        ) from None

    class Loader(yaml.SafeLoader):
        """Takes keys as they are written: `ON` is the name of a variable, not a truth value."""

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
            keys = [str(key.value) for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
            self.flatten_mapping(node)
            construct = cast("Callable[..., Any]", self.construct_object)  # pyright: ignore[reportUnknownMemberType]
            table = {str(key.value): construct(value, deep=True) for key, value in node.value}
            twice = next((key for key in keys if keys.count(key) > 1), None)
            return table if twice is None else _Table.marked(table, twice)

    def construct(loader: Loader, node: yaml.MappingNode) -> dict[Any, Any]:
        return loader.construct_mapping(node)

    Loader.add_constructor("tag:yaml.org,2002:map", construct)

    try:
        return yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise ConfigError(f"{file}: {where}{error.problem}.") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
        raise ConfigError(f"{file}: {where}: the character {chr(error.character)!r} is not allowed.") from None


# Whose file it is

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
        if isinstance(servers := part_of(data, [*under, "servers"]), Mapping):
            entries = as_table(cast("object", servers)).values()
            is_opencode = any(as_table(entry).get("type") in ("local", "remote") for entry in entries)
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
    whose name starts with a dot is a program's; `None` if it is not a project's file. Such a folder in the home folder
    is the user's own."""
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
