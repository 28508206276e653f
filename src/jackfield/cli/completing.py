"""Completes a command line: commands, options, servers, tools, and a tool's arguments by its schema in the catalog.

The shells' scripts (`completion.py`) call `jackfield __complete SHELL LINE`. It starts no server and never fails: what
cannot be told is not offered. The metavars of a command's arguments and options say what they accept: `SERVER`,
`SERVER.TOOL`, `SERVER[.TOOL]`, `TOOL`, `URI` and `PROMPT` (after a server), `KEY=VALUE` (after a tool), `KEY=TEXT`
(after a prompt), `FILE`, `FOLDER`, or the words themselves, as in `bash|zsh`.
"""

from __future__ import annotations

import contextlib
import itertools
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..json_schema import target
from ..names import normal
from ..plain import as_list, as_table
from .output import Output
from .text import one_cell

if TYPE_CHECKING:
    from ..catalog.entry import Kind
    from ..catalog.tools import ToolEntry
    from .servers import Servers

Candidate = tuple[str, str]
"""A candidate and its description."""

_RANKED_FROM = 3
"""Shorter words are completed at the beginning of names only."""

_WORDS = re.compile(r"[a-z]+(\|[a-z]+)+")
_BREAKS = "=:"
"""Where bash begins a new word in the middle of one."""


@dataclass(frozen=True)
class Asked:
    """The position to complete."""

    before: list[str]
    """The words before, without the program's name."""
    word: str
    """The part of the word that is already typed."""


def run(arguments: Sequence[str]) -> int:
    """Print the candidates for the last word of a line: one per line, with a tab before its description."""
    shell, line = (*arguments, "", "")[:2]
    candidates: list[Candidate] = []
    with contextlib.suppress(Exception):
        if (asked := split(line)) is None:
            return 0
        candidates = list(complete(asked))
        # These shells would leave of the word only what several have in common.
        is_found = not any(value.startswith(asked.word) for value, _ in candidates)
        if shell in ("bash", "zsh") and is_found and len(candidates) > 1:
            return 0
        if shell == "bash":
            cut = max((asked.word.rfind(char) for char in _BREAKS), default=-1) + 1
            candidates = [(value[cut:], about) for value, about in candidates]
    for value, about in candidates:
        if value.isprintable():
            sys.stdout.write(value + ("\n" if shell == "bash" or not about else f"\t{one_cell(about)}\n"))
    return 0


def split(line: str) -> Asked | None:
    """The words of a line that may end within quotes. Within the program's name there is nothing to complete."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        is_new = not closing and line[-1:].isspace() and not line.endswith("\\ ")
        if is_new and words:
            return Asked(words[1:], "")
        return Asked(words[1:-1], words[-1]) if len(words) > 1 else None
    return None


def complete(asked: Asked) -> Iterator[Candidate]:
    """What the word may be."""
    from .commands import COMMANDS, hoisted
    from .root import command_of

    shared, words = hoisted(asked.before)
    if shared[-1:] == ["--config"]:  # its file is what is being written
        yield from _files(asked.word, only_folders=False)
        return
    first = next((word for word in words if not word.startswith("-")), None)
    command: Any = command_of([COMMANDS[first]] if first in COMMANDS else dict.fromkeys(COMMANDS.values()))
    top: Any = command
    positional: list[str] = []
    takes_value: Any = None
    is_literal = False
    for word in words:
        if takes_value is not None:
            takes_value = None
        elif word == "--" and not is_literal:
            is_literal = True
        elif word.startswith("-") and not is_literal:
            takes_value = _option(command, word)
        elif word in getattr(command, "commands", {}):
            command = command.commands[word]
        else:
            positional.append(word)
    servers = _Lazy(lambda: _servers(shared))
    if takes_value is not None:
        yield from _values(takes_value, asked.word, positional, servers)
    elif asked.word.startswith("-") and not is_literal:
        yield from _options([command, top], asked)
    elif inner := getattr(command, "commands", None):
        if positional:  # a command that there is not
            return
        for name, one in cast("Mapping[str, Any]", inner).items():
            if name.startswith(asked.word) and not one.hidden:
                yield name, one.get_short_help_str(60)
    else:
        argument = _argument(command, len(positional))
        if argument is not None:
            yield from _values(argument, asked.word, positional, servers)


class _Lazy:
    """The servers, read when they are first needed."""

    def __init__(self, load: Callable[[], Servers]) -> None:
        self._load = load
        self._servers: Servers | None = None

    def __call__(self) -> Servers:
        if self._servers is None:
            self._servers = self._load()
        return self._servers


def _servers(shared: Sequence[str]) -> Servers:
    from .servers import load_servers

    files = [value for option, value in itertools.pairwise(shared) if option == "--config"]
    files += [option.partition("=")[2] for option in shared if option.startswith("--config=")]
    return load_servers([Path(file) for file in files], _Silent())


class _Silent(Output):
    """Says nothing: the person is in the middle of a line."""

    def _tell(self, text: str, end: str = "\n") -> None:
        pass


def _option(command: Any, word: str) -> Any:
    """The option whose value comes next, if there is one."""
    for param in command.params:
        if word in param.opts and not param.is_flag:
            return param
    return None


def _argument(command: Any, number: int) -> Any:
    """The argument that the next positional word is for."""
    arguments = [param for param in command.params if param.param_type_name == "argument"]
    for param in arguments:
        if param.nargs == -1 or number == 0:
            return param
        number -= 1
    return None


def _options(commands: Sequence[Any], asked: Asked) -> Iterator[Candidate]:
    for command in dict.fromkeys(commands):
        for param in command.params:
            if param.param_type_name != "option" or param.hidden:
                continue
            for name in param.opts:
                if name.startswith("--") and name.startswith(asked.word) and name not in asked.before:
                    yield name, param.help or ""
    if "--help".startswith(asked.word):
        yield "--help", "Show the command's arguments and options."


def _values(param: Any, word: str, positional: Sequence[str], servers: Callable[[], Servers]) -> Iterator[Candidate]:
    """What an argument or the value of an option may be, by its metavar."""
    metavar = str(param.metavar or "").strip("[]").removesuffix("...").strip("[]")
    match metavar:
        case "SERVER":
            yield from _server_names(word, servers())
        case "SERVER.TOOL" | "SERVER[.TOOL":
            yield from _tools(word, servers(), also_servers="[" in metavar)
        case "TOOL":
            yield from _tool_names(word, positional[0], servers())
        case "KEY=VALUE":
            yield from _tool_arguments(word, positional, servers())
        case "URI" | "PROMPT":
            yield from _offered(word, positional[0], servers(), metavar)
        case "KEY=TEXT":
            yield from _prompt_arguments(word, positional, servers())
        case "FILE" | "FOLDER" | "PROGRAM|FILE":
            yield from _files(word, only_folders=metavar == "FOLDER")
        case _ if _WORDS.fullmatch(metavar):
            yield from ((one, "") for one in metavar.split("|") if one.startswith(word))
        case _:
            pass


def _server_names(word: str, servers: Servers) -> Iterator[Candidate]:
    """Servers; where none fits, Python files, which can be given in their place."""
    names = [name for name in servers.names if name.startswith(word)]
    yield from ((name, servers.found(name).source.program) for name in names)
    if word and not names:
        yield from ((file, about) for file, about in _files(word, only_folders=False) if file.endswith(("/", ".py")))


def _tool_names(word: str, server: str, servers: Servers) -> Iterator[Candidate]:
    """The tools of a server, by their names alone."""
    from .known import first_line

    for tool in _ranked(word, servers, server):
        yield tool.name, first_line(tool.description)


def _offered(word: str, server: str, servers: Servers, metavar: str) -> Iterator[Candidate]:
    """The resources or prompts of a server."""
    from .known import first_line

    entry = servers.catalog.entry(servers.outline(server))
    kinds: list[tuple[Kind, str]] = [("resources", "uri"), ("templates", "uriTemplate")]
    if metavar == "PROMPT":
        kinds = [("prompts", "name")]
    for kind, field in kinds:
        listing = None if entry is None else entry.listing(kind)
        for one in () if listing is None else listing.entries:
            if str(one[field]).startswith(word):
                yield str(one[field]), first_line(str(one.get("description") or one.get("title") or ""))


def _prompt_arguments(word: str, positional: Sequence[str], servers: Servers) -> Iterator[Candidate]:
    """`name=` for the arguments of a prompt that are missing so far."""
    server, prompt, *given = positional
    entry = servers.catalog.entry(servers.outline(server))
    listing = None if entry is None else entry.listing("prompts")
    entries: Sequence[Mapping[str, Any]] = () if listing is None else listing.entries
    found = next((one for one in entries if one["name"] == prompt), as_table(None))
    done = {one.partition("=")[0] for one in given}
    for argument in map(as_table, as_list(found.get("arguments"))):
        name = str(argument.get("name"))
        if name.startswith(word) and name not in done:
            about = str(argument.get("description") or "")
            yield f"{name}=", about if argument.get("required") else f"{about} (optional)".strip()


def _tools(word: str, servers: Servers, *, also_servers: bool) -> Iterator[Candidate]:
    """Servers first, with a dot to go on; a server's tools once it is written. If no server's name begins so, tools of
    all whose names contain the word."""
    from .known import first_line

    found: list[ToolEntry] = []
    has_servers = False
    for outline in servers.outlines():
        name = outline.server_name
        if word.startswith(f"{name}."):
            found += _ranked(word.removeprefix(f"{name}."), servers, name)
            has_servers = True
        elif name.startswith(word):
            has_servers = True
            count = len(servers.catalog.tools(outline))
            if also_servers:
                yield name, f"{count} tools"
            if count:
                yield f"{name}.", f"{count} tools"
    for tool in found if has_servers else _ranked(word, servers, None):
        yield tool.reference, first_line(tool.description)


def _ranked(word: str, servers: Servers, server: str | None) -> list[ToolEntry]:
    """The tools whose names begin with a word, or else contain it: in the order of the search.

    Args:
        word: What is written of the tool's name.
        servers: All of them.
        server: Whose tools; if `None`, those of all that contain the word.
    """
    catalog, outlines = servers.catalog, servers.outlines()
    tools = [tool for one in outlines if server in (None, one.server_name) for tool in catalog.tools(one)]
    fitting = [] if server is None else [tool for tool in tools if tool.name.startswith(word)]
    if not fitting and len(word) >= _RANKED_FROM:
        fitting = [tool for tool in tools if normal(word) in normal(tool.name)]
    if len(fitting) < 2 or not word:
        return fitting
    index = catalog.search(outlines)
    hits = index.find(word, len(index.tools), learned=catalog.learned)
    places = {hit.tool.reference: place for place, hit in enumerate(hits)}
    return sorted(fitting, key=lambda tool: places.get(tool.reference, len(places)))


def _tool_arguments(word: str, positional: Sequence[str], servers: Servers) -> Iterator[Candidate]:
    """`name=` for the arguments that are missing so far; after it, the values that the schema allows."""
    from .known import resolve_tool

    if positional[0] in servers.names:  # the tool is the next word
        if len(positional) == 1:
            yield from _tool_names(word, positional[0], servers)
            return
        positional = [f"{positional[0]}.{positional[1]}", *positional[2:]]
    schema = resolve_tool(servers, positional[0]).input_schema
    properties = as_table(schema.get("properties"))
    name, given, value = word.partition("=")
    name, typed = (name[:-1], ":") if name.endswith(":") else (name, "")
    if given:
        if value.startswith("@"):
            for file, about in _files(value[1:], only_folders=False):
                yield f"{name}=@{file}", about
            return
        for one in _possible(as_table(properties.get(name)), schema):
            if one.startswith(value):
                yield f"{name}{typed}={one}", ""
        return
    done = {re.split(r":?=", one, maxsplit=1)[0] for one in positional[1:]}
    needed = as_list(schema.get("required"))
    for key in sorted(properties, key=lambda key: key not in needed):
        if key.startswith(word) and key not in done:
            inner = _resolved(as_table(properties[key]), schema)
            is_text = inner.get("type", "string") == "string"
            about = inner.get("description") or inner.get("type") or ""
            yield f"{key}{'=' if is_text or not typed else ':='}", f"{about}{'' if key in needed else ' (optional)'}"


def _possible(schema: Mapping[str, Any], root: Mapping[str, Any]) -> list[str]:
    """The values that a schema names."""
    schema = _resolved(schema, root)
    if isinstance(values := schema.get("enum"), list):
        return [str(value) for value in cast("list[Any]", values) if value is not None]
    if isinstance(branches := schema.get("anyOf", schema.get("oneOf")), list):
        return [one for branch in cast("list[Any]", branches) for one in _possible(as_table(branch), root)]
    return ["true", "false"] if schema.get("type") == "boolean" else []


def _resolved(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference within the tool's schema stands for."""
    return as_table(target(schema["$ref"], root)) if "$ref" in schema else schema


def _files(word: str, *, only_folders: bool) -> Iterator[Candidate]:
    folder, slash, start = word.rpartition("/")
    shown = f"{folder}{slash}"
    for path in sorted(Path(shown or ".").expanduser().iterdir()):
        if path.name.startswith(start) and (start.startswith(".") or not path.name.startswith(".")):
            if path.is_dir():
                yield f"{shown}{path.name}/", ""
            elif not only_folders:
                yield f"{shown}{path.name}", ""
