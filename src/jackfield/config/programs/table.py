"""What a row of the table of programs holds. Data only: `files`, `entries`, `keys` and `references` use it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal, NamedTuple

Reference = Literal[
    "${VAR}",
    "${env:VAR}",
    "$VAR",
    "%VAR%",
    "{env:VAR}",
    "{file:PATH}",
    "${{ secrets.VAR }}",
    "$env:VAR",
    "${file:PATH}",
]
"""A way to refer to a variable or a file. `${VAR}` means `${VAR:-default}` as well. The names of folders, such as
`${workspaceFolder}`, are read in the files of all programs that have files in projects."""

USUAL: frozenset[Reference] = frozenset({"${VAR}", "${env:VAR}"})
"""What is taken to be read by a program of which this is not known."""

OURS: frozenset[Reference] = frozenset({*USUAL, "${file:PATH}"})
"""What is read in Jackfield's own files, and in those of no known program."""

Inherited = Literal["everything", "no secrets"] | tuple[str, ...]
"""What a program gives its servers of its variables: all, all that are not named like secrets, or those of these
names."""

OF_THE_SDK = ("HOME", "LOGNAME", "PATH", "SHELL", "TERM", "USER")

Format = Literal["json", "toml", "yaml"]

ALWAYS = 0.0
FROM_A_SECOND = 1000.0
ABOVE_AN_HOUR = 3600.5
NEVER = float("inf")


@dataclass(frozen=True)
class Place:
    """Where a program keeps a file."""

    path: str
    """In a project; or the user's own if it starts with `~`, a name in braces (`{config}`, `{support}`) or `/`.
    `*` stands for any name."""

    under: tuple[str, ...] = ()
    """The keys that lead to the part of the file with the tables; `{project}` is the folder of a project."""

    is_found: bool = True
    """Whether discovery looks for it; a file that is not looked for is still recognised when it is named."""

    # Computed once: each file that is read is compared with all places.

    is_of_user: bool = field(init=False)
    """Whether it is the user's own file rather than a project's."""

    tail: tuple[str, ...] = field(init=False)
    """The names at the end of the path that tell whose file it is."""

    def __post_init__(self) -> None:
        path = self.path.replace("{codex}", ".codex").replace("{name}", "*")
        object.__setattr__(self, "is_of_user", self.path[0] in "~{/")
        object.__setattr__(self, "tail", tuple(part for part in path.split("/") if part and part[0] not in "~{"))


class Times(NamedTuple):
    """What a number of a key means."""

    settings: tuple[str, ...]
    """The settings of a session that it gives."""

    milliseconds_from: float = NEVER
    """The number from which it counts milliseconds; smaller ones are seconds."""


CALLS_IN_SECONDS = Times(("call_timeout",))
CALLS_IN_MILLISECONDS = Times(("call_timeout",), FROM_A_SECOND)
CALLS = Times(("call_timeout",), ABOVE_AN_HOUR)


class Writing(NamedTuple):
    """How an entry is written into a program's file."""

    path: str
    """The file, as in `Place`."""
    table: tuple[str, ...]
    """The keys that lead to the table of servers."""
    style: Literal["standard", "vscode", "copilot", "codex", "opencode", "zed", "windsurf", "gemini", "crush", "goose"]
    """The words of an entry."""
    variable: str = "${VAR}"
    """How the program is told to take a variable from its environment; empty if it cannot."""


class Program(NamedTuple):
    """A program that knows MCP servers."""

    name: str
    places: tuple[Place, ...] = ()
    tables: tuple[tuple[str, ...], ...] = (("mcpServers",),)
    """The keys that lead to the table of servers; of several, each is read."""
    references: frozenset[Reference] = USUAL
    """What it expands. All else stays as it is, unless it is plainly another program's notation."""
    is_assumed: bool = False
    """Whether neither its documentation nor its source says what it expands."""
    is_empty_if_unset: bool = False
    """Whether a variable that is not set becomes empty text; otherwise it is an error."""
    times: Mapping[str, Times] = MappingProxyType({})
    own_keys: frozenset[str] = frozenset()
    """Keys that mean something to it and nothing to a client of the server, such as an icon."""
    is_empty_list_all: bool = False
    """Whether an empty list of allowed tools allows all."""
    allowed_names: tuple[tuple[str, ...], ...] = ()
    """The keys that lead to a list of the only servers that are on."""
    denied_names: tuple[tuple[str, ...], ...] = ()
    """The keys that lead to a list of servers that are off."""
    denied_in: tuple[Place, ...] = ()
    """Other files of the program with such a list, for the servers of a project's file."""
    tool_switches: tuple[tuple[str, ...], ...] = ()
    """The keys that lead to a table of tool names, prefixed with the server's, that are on or off."""
    placeholder: str = ""
    """A pattern of text that only the program itself can fill in."""
    inherits: Inherited | None = None
    """What a server that it starts inherits; `None` if that is not known. Jackfield gives the few of `StdioConfig` and
    those that are named here, and the rest to who asks for it."""
    writing: Writing | None = None
    """How an entry is written into its file, if Jackfield can."""
    user_writing: Writing | None = None
    """The same for the user's own file."""
    example: str = ""
    """The name of the example in `tests/config/programs/`."""
    page: str = ""
    """The program's own documentation of the file."""

    @property
    def is_of_projects(self) -> bool:
        """Whether it has files in projects."""
        return any(place.is_found and not place.is_of_user for place in self.places)
