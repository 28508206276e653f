"""Finds the configuration files of this and other programs, and the servers in them.

Pure: which files there may be, in which order, what each gives and what is shadowed; nothing is started and no
entry is checked here. Of two servers with one name the first found is taken:

1. the project: from the current directory up to the repository's root, in each folder `jackfield.json`, `.mcp.json`,
   then what VS Code, Cursor, Codex, Gemini and Zed keep there, then `mcp.json`;
2. the user: Jackfield's own file, then Claude Code (servers for this project first), Cursor, VS Code, Windsurf, Codex,
   Gemini, Zed, Claude Desktop.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ConfigError
from ..plain import as_table
from .entry import entry_error, misplaced_key, prepare
from .files import OF_PROJECTS, TABLES, is_disabled, parse_file, program_of, server_entries, starting_folder
from .keys import KEYS, transport_of_entry
from .launch import Launch, launch_of
from .outline import ServerOutline, outlined

if TYPE_CHECKING:
    from .servers import ServerConfig

Scope = Literal["given", "project", "user"]
"""The origin of a file decides who may have written it: a project's files may come from anyone."""


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

    @classmethod
    def given(cls, file: Path, option: str) -> Source:
        """A file that the user named, by that option of the command."""
        return cls(file, option, "given", starting_folder(file))

    @property
    def dialect(self) -> str:
        """The program whose meaning applies if a key has different meanings."""
        return program_of(self.path) if self.scope == "given" else self.program

    @property
    def is_foreign(self) -> bool:
        """Whether the file belongs to another program, which may use its own keys in it."""
        return self.scope != "given" and self.program != "Jackfield"


@dataclass(frozen=True)
class FoundServer:
    """A server's entry in a file, unchecked."""

    name: str
    entry: Mapping[str, Any] = field(repr=False)
    source: Source
    shadowed_by: Source | None = None
    """The source that is used for this server name, if not this one."""

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

    def prepared(self, variables: Mapping[str, str] | None) -> dict[str, Any]:
        """Its entry as the models take it, but not checked by them. Variables are as for `config()`.

        Raises:
            ConfigError: A variable is not set, a key is not known, or it has neither a command nor a url.
        """
        source = self.source
        prepared = prepare(
            self.name,
            self.entry,
            str(source.path),
            source.folder,
            variables,
            program=source.dialect,
            is_foreign=source.is_foreign,
        )
        transport = transport_of_entry(prepared)
        if transport in KEYS and (problem := misplaced_key(prepared, transport)) is not None:
            raise entry_error(str(source.path), self.name, "", problem)
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
        environment: `HOME`, `XDG_CONFIG_HOME` and `CODEX_HOME` are read.
        platform: As `sys.platform`.
    """
    home = Path(environment.get("HOME") or os.path.expanduser("~"))
    user = list(_of_user(cwd, home, environment, platform))
    own = {source.path for source in user}
    project = [source for folder in _folders(cwd) for source in _of_project(folder) if source.path not in own]
    return [*project, *user]


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
            entries = list(_entries(parsed[source.path], source))
        except ConfigError as error:
            problems[source.path] = error
            continue
        except OSError:  # a folder on the way to it may not be entered
            continue
        found.append(source)
        for name, entry in entries:
            is_off = is_disabled(entry)
            if is_off and source.program != "Jackfield":
                disabled.append(FoundServer(name, entry, source))
            elif name in taken:
                shadowed.append(FoundServer(name, entry, source, taken[name]))
            else:
                taken[name] = source
                server = FoundServer(name, entry, source)
                if is_off:
                    disabled.append(server)
                else:
                    servers[name] = server
    return Discovery(found, servers, shadowed, disabled, problems)


def _folders(cwd: Path) -> list[Path]:
    """The current directory and those above it up to the repository's root; itself alone outside of one."""
    folders = [cwd, *cwd.parents]
    for number, folder in enumerate(folders):
        if (folder / ".git").exists():
            return folders[: number + 1]
    return [cwd]


def _of_project(folder: Path) -> Iterator[Source]:
    for name, program in OF_PROJECTS.items():
        yield Source(folder / name, program, "project", folder)


def _of_user(cwd: Path, home: Path, environment: Mapping[str, str], platform: str) -> Iterator[Source]:
    config = Path(environment.get("XDG_CONFIG_HOME") or home / ".config")
    support = home / "Library" / "Application Support" if platform == "darwin" else config

    def user(path: Path, program: str, *under: str, folder: Path | None = None) -> Source:
        return Source(path, program, "user", folder or path.parent, under)

    yield user(user_file(environment), "Jackfield")
    for folder in (cwd, *cwd.parents):
        yield user(home / ".claude.json", "Claude Code, for this project", "projects", str(folder), folder=folder)
    yield user(home / ".claude.json", "Claude Code")
    yield user(home / ".cursor" / "mcp.json", "Cursor")
    yield user(support / "Code" / "User" / "mcp.json", "VS Code")
    yield user(support / "Code" / "User" / "settings.json", "VS Code", "mcp")
    yield user(home / ".codeium" / "windsurf" / "mcp_config.json", "Windsurf")
    yield user(Path(environment.get("CODEX_HOME") or home / ".codex") / "config.toml", "Codex")
    yield user(home / ".gemini" / "settings.json", "Gemini")
    yield user((home / ".config" if platform == "darwin" else config) / "zed" / "settings.json", "Zed")
    yield user(support / "Claude" / "claude_desktop_config.json", "Claude Desktop")


def _entries(data: Mapping[str, Any], source: Source) -> Iterator[tuple[str, dict[str, Any]]]:
    """The servers of a file; empty if it has no table of servers, unless the file was named explicitly."""
    part: object = data
    for key in source.under:
        part = as_table(part).get(key)
    tables = as_table(part)
    if source.scope == "given" or any(table in tables for table in TABLES):
        for name, entry in server_entries(tables, str(source.path)):
            # An extension of Zed brings the command itself: there is nothing here to start.
            if source.program != "Zed" or {"command", "url"} & set(entry):
                yield name, entry
