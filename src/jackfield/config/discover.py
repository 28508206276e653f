"""Finds the configuration files of this and other programs, and the servers in them.

Which files there may be, in which order, what each gives and what is shadowed; nothing is started and no entry is
checked here. The places are those of the table of programs. Of two servers with one name the first found is taken:

1. the project: from the current directory up to the repository's root, in each folder `jackfield.json`, `.mcp.json`,
   then what VS Code, Cursor, Codex, Gemini, Zed and the others keep there, and last `mcp.json`;
2. the user: Jackfield's own file, then Claude Code (servers for this project first), Cursor, VS Code, Windsurf, Codex,
   Gemini, Zed, Claude Desktop and the others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigError
from .entries import entry_error, listed, misplaced_key, prepare
from .files import Scope, Source, parse_file, project_of
from .keys import APPROVAL, IGNORED, KEYS, NOT_USED, UnclearError, is_off, transport_of_entry
from .launch import Launch, launch_of
from .outline import ServerOutline, outlined
from .programs import PROGRAMS
from .programs.table import Place, Program
from .references import remarks

if TYPE_CHECKING:
    from .endpoint import Endpoint
    from .servers import ServerConfig

__all__ = ["Discovery", "FoundServer", "Scope", "Source", "discover", "sources", "user_file"]


@dataclass(frozen=True)
class FoundServer:
    """A server's entry in a file, unchecked."""

    name: str
    entry: Mapping[str, Any] = field(repr=False)
    source: Source
    shadowed_by: Source | None = None
    """The source that is used for this server name, if not this one."""
    problem: ConfigError | None = None
    """What is wrong with the entry itself, whatever it says."""
    off_in: Path | None = None
    """The file that turns it off, if it is not its entry that does."""

    @property
    def notes(self) -> list[str]:
        """Keys of the entry that mean something and have no effect here, or another one than a reader may expect, each
        with what follows."""
        found = _notes(self.entry, self.source.row, os.environ.__contains__)
        return list(dict.fromkeys(f"{key}: {follows}" for key, follows in found))

    def outline(self, variables: Mapping[str, str] | None) -> ServerOutline:
        """Its outline, without building the models if possible. Variables are as for `config()`.

        Raises:
            ConfigError: The entry is wrong; names file, server and key.
        """
        prepared = self.prepared(variables)
        if (outline := outlined(prepared)) is not None:
            return outline
        from .servers import outline_of_config

        return outline_of_config(self.config(variables))

    def launch(self, variables: Mapping[str, str] | None) -> Launch | None:
        """How its program is started, if it has one and this is known without the models.

        Raises:
            ConfigError: The entry is wrong; names file, server and key.
        """
        return launch_of(self.prepared(variables))

    def endpoint(self, variables: Mapping[str, str] | None) -> Endpoint | None:
        """Where it is, if it is reached over Streamable HTTP, and this is known without the models.

        Raises:
            ConfigError: The entry is wrong; names file, server and key.
        """
        from .endpoint import endpoint_of

        return endpoint_of(self.prepared(variables))

    def prepared(self, variables: Mapping[str, str] | None) -> dict[str, Any]:
        """Its entry as the models take it, but not checked by them. Variables are as for `config()`.

        Raises:
            ConfigError: A variable is not set, a key is not known, or it has neither a command nor a url.
        """
        if self.problem is not None:
            raise self.problem
        prepared = prepare(self.name, self.entry, self.source, variables)
        transport = transport_of_entry(prepared)
        if transport in KEYS and (problem := misplaced_key(prepared, transport)) is not None:
            raise entry_error(str(self.source.path), self.name, "", problem)
        return prepared

    def config(self, variables: Mapping[str, str] | None) -> ServerConfig:
        """Its configuration, checked.

        Args:
            variables: Values for `${VAR}`; `None` is the environment, and keeps references that are not set.

        Raises:
            ConfigError: The entry is wrong; names file, server and key.
        """
        from .mcp_config import checked_server

        return checked_server(self.name, self.prepared(variables), str(self.source.path))


def _notes(entry: Mapping[str, Any], program: Program, is_set: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    used = {key: value for key, value in entry.items() if key not in IGNORED and key not in program.own_keys}
    yield from remarks(used, program, is_set)
    for key, value in entry.items():
        if not value or (key in program.own_keys):
            continue
        if key in NOT_USED:
            yield key, NOT_USED[key]
        elif key in APPROVAL or (key == "tools" and isinstance(value, Mapping)):
            yield key, "no call is asked for here unless a hook does"


@dataclass(frozen=True)
class Discovery:
    """The discovered files and servers."""

    sources: Sequence[Source]
    """The files that are there, first to last."""
    servers: Mapping[str, FoundServer]
    """The servers in use, by name."""
    shadowed: Sequence[FoundServer]
    disabled: Sequence[FoundServer]
    """Servers that their file disables. One in Jackfield's own file turns off all of that name; other programs'
    are ignored."""
    problems: Mapping[Path, ConfigError]
    """Files that cannot be read, and why."""


def sources(cwd: Path, environment: Mapping[str, str], platform: str = sys.platform) -> list[Source]:
    """Every place where servers may be configured, first to last, whether or not the file is there.

    Args:
        cwd: The current directory.
        environment: `HOME`, `XDG_CONFIG_HOME`, `CODEX_HOME` and the like are read.
        platform: As `sys.platform`.
    """
    roots = folders_of(environment, platform)
    user = list(_of_user(cwd, roots))
    own = {source.path for source in user}
    project = [source for folder in _folders(cwd) for source in _of_project(folder) if source.path not in own]
    return [*project, *user]


def folders_of(environment: Mapping[str, str], platform: str = sys.platform) -> dict[str, Path]:
    """The folders that a path in the table of programs can begin with."""
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    roaming = Path(environment.get("APPDATA") or home / "AppData" / "Roaming")
    is_mac, is_windows = platform == "darwin", platform == "win32"
    roots = {
        "~": home,
        "{config}": config,
        "{dotconfig}": home / ".config" if is_mac else config,
        "{support}": home / "Library" / "Application Support" if is_mac else roaming if is_windows else config,
        "{data}": Path(environment.get("XDG_DATA_HOME") or home / ".local" / "share"),
        "{codex}": Path(environment.get("CODEX_HOME") or home / ".codex"),
    }
    return {**roots, "{appdata}": roaming} if is_windows else roots


def place_of(path: str, roots: Mapping[str, Path], project: Path) -> Path:
    """A path of the table of programs in the file system."""
    first, _, rest = path.partition("/")
    return roots[first] / rest if first in roots else project / path


def user_file(environment: Mapping[str, str]) -> Path:
    """Jackfield's own configuration file of the user."""
    home = environment.get("HOME") or os.path.expanduser("~")
    return Path(environment.get("XDG_CONFIG_HOME") or f"{home}/.config") / "jackfield" / "jackfield.json"


def discover(places: Sequence[Source]) -> Discovery:
    """Read the files that are there."""
    found: list[Source] = []
    servers: dict[str, FoundServer] = {}
    shadowed: list[FoundServer] = []
    disabled: list[FoundServer] = []
    taken: dict[str, Source] = {}
    problems: dict[Path, ConfigError] = {}
    parsed: dict[Path, Mapping[str, Any]] = {}
    for source in places:
        try:
            if source.path not in parsed:
                if source.path in problems or (source.scope != "given" and not source.path.is_file()):
                    continue
                parsed[source.path] = parse_file(source.path)
            read, entries = listed(parsed[source.path], source)
        except ConfigError as error:
            problems[source.path] = error
            continue
        except OSError:  # a folder on the way to it may not be entered
            continue
        found.append(source)
        for one in entries:
            server = FoundServer(one.name, one.entry, read, problem=one.problem, off_in=one.off_in)
            off = one.off_in is not None or _is_off(one.entry)
            if off and source.program != "Jackfield":
                disabled.append(server)
            elif one.name in taken:
                shadowed.append(replace(server, shadowed_by=taken[one.name]))
            else:
                taken[one.name] = source
                if off:
                    disabled.append(server)
                else:
                    servers[one.name] = server
    return Discovery(found, servers, shadowed, disabled, problems)


def _is_off(entry: Mapping[str, Any]) -> bool:
    try:
        return is_off(entry)
    except UnclearError:
        return False  # listed, and an error when it is to be used


def _folders(cwd: Path) -> list[Path]:
    """The current directory and those above it up to the repository's root; itself alone outside of one."""
    folders = [cwd, *cwd.parents]
    for number, folder in enumerate(folders):
        if (folder / ".git").exists():
            return folders[: number + 1]
    return [cwd]


def _of_project(folder: Path) -> Iterator[Source]:
    for program in PROGRAMS:
        for place in program.places:
            if place.is_found and not place.is_of_user:
                for path in _expanded(folder, place.path):
                    yield Source(path, program.name or "any program", "project", folder, place.under)


_FIRST_OF_USER = ("Jackfield", "Claude Code", "Cursor")


def _of_user(cwd: Path, roots: Mapping[str, Path]) -> Iterator[Source]:
    workspace = project_of(cwd)
    first = [program for program in PROGRAMS if program.name in _FIRST_OF_USER]
    for program in (*first, *(program for program in PROGRAMS if program not in first)):
        for place in program.places:
            if not place.is_found or not place.is_of_user:
                continue
            start, _, rest = place.path.partition("/")
            if start and start not in roots:
                continue  # of another platform
            for path in _expanded(roots[start], rest) if start else [Path(place.path)]:
                yield from _parts_of(path, program.name, place, cwd, workspace)


def _parts_of(path: Path, program: str, place: Place, cwd: Path, workspace: Path) -> Iterator[Source]:
    if "{project}" not in place.under:
        yield Source(path, program, "user", path.parent, place.under, workspace)
        return
    for folder in (cwd, *cwd.parents):
        under = tuple(str(folder) if key == "{project}" else key for key in place.under)
        yield Source(path, f"{program}, for this project", "user", folder, under)


def _expanded(folder: Path, pattern: str) -> list[Path]:
    """The files that a pattern stands for; the path itself, whether or not it is there, if it is none."""
    if "*" not in pattern:
        return [folder / pattern]
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []
