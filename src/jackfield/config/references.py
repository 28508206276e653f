"""References in configuration values: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${file:/path}` and
`${file:/path#VAR}`; defaults may contain references. Other programs' references are rewritten as ours first: `$VAR` as
`${VAR}`, `{env:VAR}` as `${VAR:-}`.

An expanded value is as secret as the variable it came from, so it keeps its template: `repr` and
dumps show `${VAR}`, only the transport sees the value.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ..masking import MASK

if TYPE_CHECKING:
    from .programs.table import Program, Reference

_VARIABLE = re.compile(r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)")
_MAX_FILE_BYTES = 64 * 1024


class Expanded(str):
    """A string in which variables were replaced; shows its template, never its value."""

    __slots__ = ("template",)
    template: str

    def __new__(cls, value: str, template: str) -> Expanded:
        self = super().__new__(cls, value)
        self.template = template
        return self

    def __repr__(self) -> str:
        return repr(self.template)

    def __reduce__(self) -> tuple[type[Expanded], tuple[str, str]]:
        return Expanded, (str.__str__(self), self.template)


class ExpandedPath(type(Path())):
    """A path in which variables were replaced; shows its template. A path made of it is a plain one to look at."""

    template: str

    @classmethod
    def of(cls, text: Expanded) -> ExpandedPath:
        """The path that `text` names."""
        self = cls(str.__str__(text))
        self.template = text.template
        return self

    def __repr__(self) -> str:
        return f"Path({getattr(self, 'template', MASK)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return ExpandedPath.of, (Expanded(str(self), self.template),)

    def __deepcopy__(self, memo: object) -> ExpandedPath:
        return self


def template_of(value: str | Path) -> str:
    """The text for `value` in the file: its template, or else the value itself, escaped if it would be expanded."""
    if isinstance(value, Expanded | ExpandedPath):
        return value.template
    return str(value).replace("${", "$${")


class ExpansionError(ValueError):
    """A reference that cannot be replaced."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.hint = hint


def expand(text: str, variables: Mapping[str, str], folders: Mapping[str, str] | None = None) -> str:
    """Replace the references in `text`.

    Args:
        text: The template. `$${` stands for a literal `${`.
        variables: Where values come from, as a rule `os.environ`.
        folders: Values of the editors' own names, such as `workspaceFolder`.

    Raises:
        ExpansionError: A variable is not set and has no default, or a reference is not understood as a whole.
    """
    if "${" not in text:
        return text
    value = "".join(_parts(text, variables, folders or {}))
    return Expanded(value, text) if value != text else text


def _parts(text: str, variables: Mapping[str, str], folders: Mapping[str, str]) -> Iterator[str]:
    position = 0
    while (start := text.find("${", position)) >= 0:
        if start > position and text[start - 1] == "$":
            yield text[position : start - 1] + "${"
            position = start + 2
            continue
        yield text[position:start]
        end = closing_brace(text, start + 2)
        yield _replaced(text[start + 2 : end], variables, folders)
        position = end + 1
    yield text[position:]


def closing_brace(text: str, position: int) -> int:
    """Where the reference ends whose braces begin before a position.

    Raises:
        ExpansionError: It does not end.
    """
    depth = 1
    for index in range(position, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return index
    raise ExpansionError("a reference that starts with ${ is not closed", "Close it, or write $${ for a literal ${.")


def _replaced(body: str, variables: Mapping[str, str], folders: Mapping[str, str]) -> str:
    name, has_default, default = body.partition(":-")
    if name in folders:
        return folders[name]
    if name.startswith(("file:/", "file:~")):
        path, _, variable_in_it = name.removeprefix("file:").rpartition("#")
        if not path or not _VARIABLE.fullmatch(variable_in_it):
            return _content(name.removeprefix("file:"))
        if (value := variables_in(path).get(variable_in_it)) is None:
            raise ExpansionError(f"the file {path} has no variable {variable_in_it}", "Add it.")
        return value
    variable = _VARIABLE.fullmatch(name)
    if variable is None:
        kind = "asks the user, which a library cannot do" if name.startswith("input:") else "is not understood"
        raise ExpansionError(f"${{{name}}} {kind}", "Use ${VAR}, ${VAR:-default} or ${env:VAR}.")
    value = variables.get(variable["name"])
    # As in a shell, `:-` also replaces a variable that is set but empty.
    if has_default and not value:
        return "".join(_parts(default, variables, folders))
    if value is None:
        raise ExpansionError(
            f"the environment variable {variable['name']} is not set",
            f"Set it before you start, or give a default: ${{{variable['name']}:-default}}.",
        )
    return value


def _content(path: str) -> str:
    """The text of a small file, without the line end that editors add."""
    try:
        place = Path(path).expanduser()
        if place.exists() and not place.is_file():
            raise ExpansionError(f"{path} is not a file", "Name a file.")
        with place.open("rb") as file:
            data = file.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise ExpansionError(f"the file {path} is longer than {_MAX_FILE_BYTES} bytes", "Name a smaller file.")
        return data.decode("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise ExpansionError(f"the file {path} cannot be read ({reason})", "Check its path.") from None


_LINE = re.compile(
    r"""^[ \t]*(?:export[ \t]+)?(?P<name>[\w.-]+)[ \t]*[=:][ \t]*"""
    r"""(?:(?P<quote>["'`])(?P<quoted>(?:\\.|(?!(?P=quote))[^\\])*)(?P=quote)|(?P<bare>[^#\r\n]*))""",
    re.MULTILINE | re.DOTALL,
)


def variables_in(path: str) -> dict[str, str]:
    """The variables in a file such as `.env`.

    Raises:
        ExpansionError: It cannot be read.
    """
    found: dict[str, str] = {}
    for line in _LINE.finditer(_content(path).removeprefix("\ufeff")):
        text = line["quoted"]
        if text is None:
            text = line["bare"].strip()
        elif line["quote"] == '"':
            text = text.replace("\\n", "\n").replace("\\r", "\r")
        found[line["name"]] = text
    return found


def shown(value: str | Path) -> str:
    """The value, or its template where `${VAR}` was expanded in it."""
    return value.template if isinstance(value, Expanded | ExpandedPath) else str(value)


def text_of(value: object) -> str | None:
    """A variable's or header's value: numbers become text as they would in a shell. `None` for any other kind."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None


# Other programs' references. What a program does not expand stays as it is. What is plainly another program's notation
# is an error: the text would be sent to the server unexpanded.

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_BEGINS = re.compile(r"(?<!\$)\$\{")
_DOLLAR = re.compile(rf"(?<!\$)\$(?:(?P<name>{_NAME})|\{{(?P<braced>{_NAME})\}})")
_COMMAND = re.compile(r"(?<!\\)\$\((?!\()")
_COLON = re.compile(rf"\$env:(?P<name>{_NAME})", re.IGNORECASE)
_PERCENT = re.compile(rf"%(?P<name>{_NAME})%")
_SECRETS = re.compile(r"(?<!\$)\$\{\{(?P<body>[^{}]*)\}\}")
_SECRET = re.compile(rf"\s*(?:secrets|inputs|env)\.(?P<name>{_NAME})\s*")
_BRACED = re.compile(rf"(?<!\$)\{{env:(?P<name>{_NAME})\}}")
_BRACED_FILE = re.compile(r"(?<!\$)\{file:(?P<path>[^{}]+)\}")
_OURS_FILE = re.compile(r"(?<!\$)\$\{file:(?P<path>[^{}]+)\}")
_COMMANDS_RUN_BY = ("Crush",)
_FOLDERS = re.compile(
    "workspaceFolder(:.*)?|workspaceRoot|cwd|workspacePath|workspaceFolderBasename|CLAUDE_PROJECT_DIR|CLAUDE_PLUGIN_ROOT"
    "workspaceFolder(:.*)?|workspaceRoot|cwd|workspacePath|workspaceFolderBasename|CLAUDE_PROJECT_DIR|CLAUDE_PLUGIN_ROOT"
    r"|extensionPath|userHome|pathSeparator|/"
)
_ASKED_OR_LOOKED_UP = re.compile(r"(input|command|config|promptString|pickString):.*")
_OF_THE_EDITOR = re.compile(
    r"(relative)?[fF]ile([A-Z]\w*)?|lineNumber|columnNumber|selectedText|execPath|defaultBuildTask"
)


class Ours(str):
    """A text in our notation, made of what a program says in another way than by references."""

    __slots__ = ()


def users_of(reference: Reference) -> str:
    """The programs that have such references, for people."""
    # Imported here: commands of kept sessions need `Expanded`, and must not wait for dataclasses.
    from .programs import PROGRAMS

    known = (program for program in PROGRAMS if program.name not in ("", "Jackfield") and not program.is_assumed)
    *names, last = (program.name for program in known if reference in program.references)
    return f"{', '.join(names)} and {last}" if names else last


def _escaped(text: str) -> str:
    return text.replace("${", "$${")


def _in_braces(text: str) -> Iterator[tuple[str, str | None]]:
    """The parts of a text: each with what is in its braces if it is a `${...}`, else with `None`."""
    position = 0
    for begin in _BEGINS.finditer(text):
        start = begin.start()
        if start < position or text.startswith("${{", start):
            continue
        try:
            end = closing_brace(text, start + 2)
        except ExpansionError:
            yield text[position:start], None
            yield text[start:], ""
            return
        yield text[position:start], None
        yield text[start : end + 1], text[start + 2 : end]
        position = end + 1
    yield text[position:], None


def _of_program(part: str, body: str, program: Program, *, in_shell: bool = False) -> str:
    """A `${...}` in our notation; escaped if its program does not replace it."""
    name, has_default, _ = body.partition(":-")
    reads, reads_env = "${VAR}" in program.references, "${env:VAR}" in program.references
    optional = "" if has_default or not program.is_empty_if_unset else ":-"
    if name.startswith("env:"):
        if not reads_env:
            whose = users_of("${env:VAR}")
            raise ExpansionError(f"${{{name}}} is the notation of {whose}", _instead(program, name[4:]))
        return part if has_default else f"${{{name}{optional}}}"
    if name.startswith(("file:/", "file:./", "file:../", "file:~")) and "${file:PATH}" not in program.references:
        whose = users_of("${file:PATH}")
        raise ExpansionError(f"${{{name}}} is the notation of {whose}", "Write the value, or a variable.")
    if reads or _ASKED_OR_LOOKED_UP.fullmatch(name) or name.startswith("file:"):
        return part
    if _FOLDERS.fullmatch(name) and (reads_env or program.is_of_projects):
        return part
    if reads_env and _OF_THE_EDITOR.fullmatch(name):
        raise ExpansionError(f"${{{name}}} is a location in the editor, which is unknown here", "Write the path.")
    if has_default and not in_shell:
        raise ExpansionError(f"${{{name}:-...}} is the notation of {users_of('${VAR}')}", _instead(program, name))
    return _escaped(part)


def runs_shell(entry: Mapping[str, Any]) -> bool:
    """Whether a shell is started, which replaces `${VAR}` in its arguments itself."""
    command: object = entry.get("command")
    return isinstance(command, str) and os.path.basename(command) in _SHELLS


def _instead(program: Program, name: str) -> str:
    """How a variable is written in a program's file."""
    ways = ("${VAR}", "${env:VAR}", "{env:VAR}", "${{ secrets.VAR }}")
    way = next((way for way in ways if way in program.references), None)
    if way is None:
        return f"{program.name} replaces no references: give the value, or use Jackfield's own file."
    return f"Write it as {way.replace('VAR', name)}."


def rewritten(
    text: str, program: Program, folder: Path, variables: Callable[[str], bool], *, in_shell: bool = False
) -> str:
    """The text with the program's references in our notation.

    Args:
        text: As written in the file.
        program: Whose file it is.
        folder: The file's folder, where the paths of files start.
        variables: Whether a variable is set.
        in_shell: Whether a shell reads it afterwards.

    Raises:
        ExpansionError: There is a reference that only another program understands.
    """
    if isinstance(text, Ours) or ("$" not in text and "{" not in text and "%" not in text):
        return text
    has = program.references.__contains__
    default = ":-" if program.is_empty_if_unset else ""
    text = "".join(
        part if body is None else _of_program(part, body, program, in_shell=in_shell) for part, body in _in_braces(text)
    )
    if program.placeholder and (match := re.search(program.placeholder, text)):
        raise ExpansionError(
            f"{match[0]} is filled in by {program.name} separately for each user", "Write a variable: ${VAR}."
        )

    def secret(match: re.Match[str]) -> str:
        body = _SECRET.fullmatch(match["body"])
        if not has("${{ secrets.VAR }}") or body is None:
            whose = "is not understood" if body is None else f"is the notation of {users_of('${{ secrets.VAR }}')}"
            raise ExpansionError(f"{match[0]} {whose}", "Write a variable: ${VAR}.")
        return f"${{{body['name']}}}"

    def braced(match: re.Match[str]) -> str:
        if not has("{env:VAR}"):
            raise ExpansionError(
                f"{match[0]} is the notation of {users_of('{env:VAR}')}", _instead(program, match["name"])
            )
        return f"${{{match['name']}{default}}}"

    def braced_file(match: re.Match[str]) -> str:
        path = match["path"].strip()
        if not has("{file:PATH}"):
            if not path.startswith(("/", "./", "../", "~/")):
                return match[0]
            raise ExpansionError(
                f"{match[0]} is the notation of {users_of('{file:PATH}')}", f"Write it as ${{file:{path}}}."
            )
        return f"${{file:{_absolute(path, folder)}}}"

    def dollar(match: re.Match[str]) -> str:
        return f"${{{match['name'] or match['braced']}{default}}}"

    text = _SECRETS.sub(secret, text)
    text = _BRACED_FILE.sub(braced_file, _BRACED.sub(braced, text))
    if has("${file:PATH}") and program.name:
        text = _OURS_FILE.sub(lambda match: f"${{file:{_absolute(match['path'], folder)}}}", text)
    if has("$env:VAR"):
        text = _COLON.sub(lambda match: f"${{{match['name']}}}", text)
    if has("$VAR"):
        if program.name in _COMMANDS_RUN_BY and (match := _COMMAND.search(text)):
            raise ExpansionError(f"{program.name} runs the command in $(...); Jackfield does not", "Write ${VAR}.")
        text = _DOLLAR.sub(dollar, text)
    if has("%VAR%"):
        text = _PERCENT.sub(lambda match: f"${{{match['name']}}}" if variables(match["name"]) else match[0], text)
    return text


_SHELLS = ("sh", "bash", "zsh", "dash", "fish", "cmd", "cmd.exe", "powershell", "pwsh")


def remarks(entry: Mapping[str, Any], program: Program, is_set: Callable[[str], bool]) -> Iterator[tuple[str, str]]:
    """References of an entry that a reader may expect to be replaced and that are not, or not by what they name: each
    with its key, and what becomes of it.

    Args:
        entry: As written in the file.
        program: Whose file it is.
        is_set: Whether a variable is set.
    """
    has_shell = runs_shell(entry)
    for key, text in _texts(entry):
        if has_shell and key.startswith("args"):
            continue  # the shell replaces them
        for part, body in _in_braces(text):
            name = (body or "").partition(":-")[0]
            if body is None or (":-" in body and program.is_empty_if_unset):
                continue
            variable = name.removeprefix("env:")
            try:
                is_kept = _of_program(part, body, program) == _escaped(part)
            except ExpansionError:
                continue  # an error, which says so
            if is_kept:
                yield key, f"{program.name} keeps ${{{name}}} as text. {_instead(program, variable)}"
            elif program.is_empty_if_unset and re.fullmatch(_NAME, variable) and not is_set(variable):
                yield key, f"{variable} is not set, and so ${{{name}}} is empty, as in {program.name}"
        if "$VAR" not in program.references:
            for match in _DOLLAR.finditer(text):
                if match["name"] and is_set(match["name"]):
                    yield key, f"${match['name']} is plain text here. {_instead(program, match['name'])}"


def _texts(value: object, key: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a value, each with its key."""
    if isinstance(value, str):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in cast("Mapping[str, object]", value).items():
            yield from _texts(item, f"{key}.{name}" if key else str(name))
    elif isinstance(value, list):
        for number, item in enumerate(cast("list[object]", value)):
            yield from _texts(item, f"{key}[{number}]")


def rewritten_entry(entry: Any, program: Program, folder: Path, variables: Callable[[str], bool]) -> Any:
    """An entry with all its texts rewritten; a text that is not understood stays as it is. See `rewritten`."""
    if isinstance(entry, str):
        try:
            return rewritten(entry, program, folder, variables)
        except ExpansionError:
            return entry
    if isinstance(entry, dict):
        table = cast("dict[str, Any]", entry)
        return {key: rewritten_entry(value, program, folder, variables) for key, value in table.items()}
    if isinstance(entry, list):
        return [rewritten_entry(item, program, folder, variables) for item in cast("list[Any]", entry)]
    return entry


def _absolute(path: str, folder: Path) -> str:
    return os.path.normpath(folder / os.path.expanduser(path.strip()))
