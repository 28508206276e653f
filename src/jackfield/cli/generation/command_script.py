"""A command with a subcommand for each tool of a server: a script that makes its calls by `jackfield call`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...catalog.search import ToolEntry
from ...plain import as_table
from .listing import Listing
from .python_client import about_schema, is_required
from .source import COLUMNS, Names, docstring, literal, quoted
from .types import ANY, Choice, Either, Expression, Listed, Named, Plain, Table, Types, object_parts

_KINDS = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "None": "null"}
_METAVARS = {"string": "TEXT", "integer": "INTEGER", "number": "NUMBER", "array": "JSON", "object": "JSON"}
_PLAIN_CHOICE = re.compile(r"[\w.-]{1,20}")
_MAX_CHOICES_SHOWN = 8

_RUNNING = r'''
Kinds = Sequence[str]


def kind_of(value: object) -> str:
    """The JSON type of a value."""
    if value is None:
        return "null"
    kinds: list[tuple[type, str]] = [
        (bool, "boolean"),
        (int, "integer"),
        (float, "number"),
        (str, "string"),
        (list, "array"),
    ]
    return next((kind for one, kind in kinds if isinstance(value, one)), "object")


def no_json(text: str) -> object:
    """Refuse what JSON does not have."""
    raise ValueError(text)


def read(text: str, kinds: Kinds) -> Any:
    """A value of one of some types; of any type if there are none."""
    try:
        value = json.loads(text, parse_constant=no_json)
    except (ValueError, RecursionError):
        value = text
    kind = kind_of(value)
    if not kinds or kind in kinds or (kind == "integer" and "number" in kinds):
        return value
    if "string" in kinds:
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not {' or '.join(kinds)}")


def option(
    tool: argparse.ArgumentParser,
    flag: str,
    key: str,
    about: str,
    kinds: Kinds = (),
    *,
    required: bool = False,
    metavar: str = "VALUE",
    choices: Mapping[str, object] | None = None,
    is_list: bool = False,
    negated: str = "",
) -> None:
    """Add the option for an argument of a tool; `negated` is the one for `false`."""
    dest = f"argument {key}"

    def one(text: str) -> Any:
        if choices is None:
            return read(text, kinds)
        if text not in choices:
            expected = ", ".join(choices)
            raise argparse.ArgumentTypeError(f"{text!r} is none of: {expected}")
        return choices[text]

    def several(text: str) -> list[Any]:
        whole: Any = read(text, ["array", "string"])
        return [one(text)] if isinstance(whole, str) else whole

    if negated:
        either = tool.add_mutually_exclusive_group(required=required)
        either.add_argument(
            flag, dest=dest, help=about, action="store_const", const=True
        )
        either.add_argument(negated, dest=dest, action="store_const", const=False)
    elif is_list:
        tool.add_argument(
            flag,
            dest=dest,
            help=about,
            required=required,
            metavar=metavar,
            type=several,
            action="extend",
        )
    else:
        tool.add_argument(
            flag, dest=dest, help=about, required=required, metavar=metavar, type=one
        )


def shared(tool: argparse.ArgumentParser, taken: Sequence[str] = ()) -> None:
    """Add the options that all tools share, but those that a tool has itself."""
    for flag, metavar, about in SHARED:
        if flag in taken:
            continue
        if metavar:
            tool.add_argument(
                flag,
                dest=flag,
                metavar=metavar,
                help=about,
                default=argparse.SUPPRESS,
            )
        else:
            tool.add_argument(
                flag,
                dest=flag,
                action="store_true",
                help=about,
                default=argparse.SUPPRESS,
            )


def main(line: Sequence[str] | None = None) -> int:
    """Call the tool that a command line names; returns the exit code."""
    whole = parser()
    given = vars(whole.parse_args(line))
    arguments: dict[str, Any] = {}
    if (text := given.get("--args")) is not None:
        try:
            arguments = read(text, ["object"])
        except argparse.ArgumentTypeError as error:
            whole.error(f"argument --args: {error}")
    for name, value in given.items():
        if name.startswith("argument ") and value is not None:
            arguments[name.removeprefix("argument ")] = value
    passed: list[str] = []
    for flag, metavar, _ in SHARED:
        if given.get(flag):
            passed += [flag, given[flag]] if metavar else [flag]
    call = [*SERVER[:-1], SERVER[-1] + given["tool"]]
    return jackfield([*call, *passed, "--args", json.dumps(arguments)])


if __name__ == "__main__":
    sys.exit(main())
'''
_SHARED = (
    ("--json", "", "Print data, and errors, as JSON."),
    ("--output", "FORMAT", "Print text, json, markdown or raw."),
    ("--save", "FOLDER", "Write images and other files to this folder."),
    ("--timeout", "SECONDS", "Time limit in seconds."),
    ("--key", "KEY", "Which kept session of the server."),
    ("--dry-run", "", "Check the call without making it."),
    ("--quiet", "", "Print no notes."),
    ("--verbose", "", "Print details."),
)


@dataclass(frozen=True)
class Reached:
    """How the command reaches its server: the beginning of a `jackfield call`."""

    words: Sequence[str]
    """Before the tool's name, which is appended to the last of them."""
    paths: frozenset[int] = frozenset()
    """Which of them begin with a path that is relative to the script."""


def command_script(listing: Listing, reached: Reached) -> str:
    """The script's source.

    Args:
        listing: The server and its tools.
        reached: How the server is reached.
    """
    words = [_word(word, is_path=index in reached.paths) for index, word in enumerate(reached.words)]
    types = Types(Names())
    names = Names(joint="-")
    tools: list[str] = []
    for tool in listing.tools:
        tools += ["", *_tool(tool, _subcommand(tool.name, names), types)]
    about = f"The tools of the MCP server {listing.server_name!r} as a command."
    needs = "Needs `pip install 'jackfield[cli]'`. Its exit codes are those of `jackfield call`."
    lines = [
        "#!/usr/bin/env python3",
        *listing.header("cli"),
        *docstring(f"{about}\n\n{needs}"),
        "",
        "from __future__ import annotations",
        "",
        "import argparse",
        "import json",
        "import sys",
        "from collections.abc import Mapping, Sequence",
        *(["from pathlib import Path"] if reached.paths else []),
        "from typing import Any, Final",
        "",
        "from jackfield.cli.app import main as jackfield",
        "",
        *listing.table(),
        *(["HERE: Final = Path(__file__).resolve().parent"] if reached.paths else []),
        "SERVER: Final[Sequence[str]] = [",
        *(f"    {word}," for word in words),
        "]",
        '"""The call of a tool, up to the name of the tool."""',
        "SHARED: Final = (",
        *(f"    ({quoted(flag)}, {quoted(metavar)}, {quoted(text)})," for flag, metavar, text in _SHARED),
        ")",
        '"""The options of all tools: flag, value, help."""',
        "",
        "",
        "def parser() -> argparse.ArgumentParser:",
        '    """What reads the command line."""',
        "    whole = argparse.ArgumentParser(",
        f"        description={quoted(_unformatted(about))},",
        "        allow_abbrev=False,",
        "    )",
        "    shared(whole)",
        "    commands = whole.add_subparsers(",
        '        title="tools", metavar="TOOL", dest="tool", required=True',
        "    )",
        *tools,
        "    return whole",
        "",
        "",
        _RUNNING.strip(),
        "",
    ]
    return "\n".join(lines)


def _word(word: str, *, is_path: bool) -> str:
    return f"str(HERE / {quoted(word)})" if is_path else quoted(word)


def _subcommand(name: str, names: Names) -> str:
    """What a tool is called by on the command line; mostly its own name."""
    return names.take(re.sub(r"[^\w.-]+", "-", name).strip("-") or "tool")


def _tool(tool: ToolEntry, subcommand: str, types: Types) -> Iterator[str]:
    """The code that adds the parser of a tool."""
    schema = as_table(tool.input_schema)
    parts = object_parts(schema, schema)
    description = tool.description.strip() or f"Call {tool.name!r}."
    yield from _call(
        "    tool = commands.add_parser(",
        [
            quoted(subcommand),
            f"help={quoted(_doubled(description.partition(chr(10))[0]))}",
            f"description={quoted(_unformatted(description))}",
            "formatter_class=argparse.RawDescriptionHelpFormatter",
            "allow_abbrev=False",
        ],
    )
    yield f"    tool.set_defaults(tool={quoted(tool.name)})"
    flags = Names(["--help"], joint="-")
    for key in sorted(parts.properties, key=lambda key: not is_required(key, parts)):
        expression = types.type_of(parts.properties[key], schema, tool.name, key)
        about = _doubled(about_schema(as_table(parts.properties[key])))
        yield from _option(key, expression, about, types, flags, is_needed=is_required(key, parts))
    if (parts.others or not parts.properties) and not flags.has("--args"):
        yield from _call(
            "    tool.add_argument(",
            ['"--args"', 'dest="--args"', 'metavar="JSON"', 'help="Other arguments, as an object."'],
        )
    taken = ", ".join(quoted(flag) for flag, _, _ in _SHARED if flags.has(flag))
    yield f"    shared(tool, [{taken}])" if taken else "    shared(tool)"


def _option(
    key: str, expression: Expression, about: str, types: Types, flags: Names, *, is_needed: bool
) -> Iterator[str]:
    """The code that adds the option for an argument."""
    expression = without_null(resolved(expression, types))
    item = without_null(resolved(expression.item, types)) if isinstance(expression, Listed) else None
    is_list = item is not None and not {"array", "object"} & set(kinds_of(item, types)) and item != ANY
    value = item if item is not None and is_list else expression
    kinds = kinds_of(value, types)
    flag = re.sub(r"[\W_]+", "-", key).strip("-") or "argument"
    flag = flags.take(f"--{flag}")
    given = [quoted(flag), quoted(key), quoted(about)]
    if isinstance(value, Choice):
        choices = {_as_typed(one): one for one in value.values}
        pairs = ", ".join(f"{quoted(text)}: {literal(one)}" for text, one in choices.items())
        given.append(f"choices={{{pairs}}}")
        if len(choices) <= _MAX_CHOICES_SHOWN and all(_PLAIN_CHOICE.fullmatch(text) for text in choices):
            given.append(f"metavar={quoted('|'.join(choices))}")
    else:
        given += [f"kinds=[{', '.join(map(quoted, kinds))}]"] if kinds else []
        metavars = list(dict.fromkeys(_METAVARS.get(kind, "VALUE") for kind in kinds))
        given += [f"metavar={quoted(metavars[0])}"] if len(metavars) == 1 and metavars != ["VALUE"] else []
        if list(kinds) == ["boolean"] and not is_list:
            negated = flags.take(f"--no-{flag.removeprefix('--')}")
            given.append(f"negated={quoted(negated)}")
    given += ["is_list=True"] if is_list else []
    given += ["required=True"] if is_needed else []
    yield from _call("    option(", ["tool", *given])


def resolved(expression: Expression, types: Types) -> Expression:
    """The type that aliases stand for."""
    seen: set[str] = set()
    while isinstance(expression, Named) and expression.name not in seen:
        seen.add(expression.name)
        definition = types.definition(expression.name)
        if definition is None or definition.fields is not None:
            return Table(ANY)
        expression = definition.alias_of
    return expression


def without_null(expression: Expression) -> Expression:
    """The type of what is given at all: an argument that may be null is left out."""
    if isinstance(expression, Either):
        branches = tuple(one for one in expression.branches if one != Plain("None"))
        return branches[0] if len(branches) == 1 else Either(branches)
    return expression


def kinds_of(expression: Expression, types: Types) -> Sequence[str]:
    """The JSON types that a type has; none if it has all."""
    match resolved(expression, types):
        case Plain(name):
            return [_KINDS[name]] if name in _KINDS else []
        case Choice(values):
            return list(dict.fromkeys(_KINDS["None" if one is None else type(one).__name__] for one in values))
        case Listed():
            return ["array"]
        case Either(branches):
            found = [kinds_of(one, types) for one in branches]
            return list(dict.fromkeys(kind for kinds in found for kind in kinds)) if all(found) else []
        case _:
            return ["object"]


def _as_typed(value: str | int | bool | None) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _call(before: str, parts: Sequence[str]) -> list[str]:
    """A call, on one line if there is room."""
    line = f"{before}{', '.join(parts)})"
    return [line] if len(line) <= COLUMNS else [before, *(f"        {part}," for part in parts), "    )"]


def _doubled(text: str) -> str:
    """A text for argparse, which formats what it takes for help."""
    return text.replace("%", "%%")


def _unformatted(text: str) -> str:
    """A text for argparse, which formats a description only if the program's name is in it."""
    return _doubled(text) if "%(prog)" in text else text
