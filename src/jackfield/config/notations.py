"""Other programs' references to variables and files, rewritten as ours: `$VAR` as `${VAR}`, `{env:VAR}` as `${VAR:-}`.

What a program does not expand stays as it is, and what is plainly another program's notation is an error: the text
would be sent to the server as it stands.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

from .programs.known import PROGRAMS
from .programs.table import Program, Reference
from .templates import ExpansionError

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_DOLLAR = re.compile(rf"(?<!\$)\$(?:(?P<name>{_NAME})|\{{(?P<braced>{_NAME})\}})")
_COMMAND = re.compile(r"(?<!\\)\$\((?!\()")
_COLON = re.compile(rf"\$env:(?P<name>{_NAME})", re.IGNORECASE)
_PERCENT = re.compile(rf"%(?P<name>{_NAME})%")
_SECRETS = re.compile(r"\$\{\{(?P<body>[^{}]*)\}\}")
_SECRET = re.compile(rf"\s*(?:secrets|inputs|env)\.(?P<name>{_NAME})\s*")
_BRACED = re.compile(rf"(?<!\$)\{{env:(?P<name>{_NAME})\}}")
_BRACED_FILE = re.compile(r"(?<!\$)\{file:(?P<path>[^{}]+)\}")
_OURS_FILE = re.compile(r"\$\{file:(?P<path>[^{}]+)\}")
_COMMANDS_RUN_BY = ("Crush",)


def users_of(reference: Reference) -> str:
    """The programs that have such references, for people."""
    return " and ".join(program.name for program in PROGRAMS if reference in program.references)


def rewritten(text: str, program: Program, folder: Path, variables: Callable[[str], bool]) -> str:
    """The text with the program's references in our notation.

    Args:
        text: As written in the file.
        program: Whose file it is.
        folder: The file's folder, where the paths of files start.
        variables: Whether a variable is set.

    Raises:
        ExpansionError: There is a reference that only another program understands.
    """
    if "$" not in text and "{" not in text and "%" not in text:
        return text
    has = program.references.__contains__
    default = ":-" if program.is_empty_if_unset else ""
    if program.placeholder and (match := re.search(program.placeholder, text)):
        raise ExpansionError(
            f"{match[0]} is filled in by {program.name} for each of its users", "Write a variable: ${VAR}."
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
                f"{match[0]} is the notation of {users_of('{env:VAR}')}", f"Write it as ${{{match['name']}}}."
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
    if has("${file:PATH}"):
        text = _OURS_FILE.sub(lambda match: f"${{file:{_absolute(match['path'], folder)}}}", text)
    if has("$env:VAR"):
        text = _COLON.sub(lambda match: f"${{{match['name']}}}", text)
    if has("$VAR"):
        if program.name in _COMMANDS_RUN_BY and (match := _COMMAND.search(text)):
            raise ExpansionError(f"{program.name} runs the command in $(...), which is not done here", "Write ${VAR}.")
        text = _DOLLAR.sub(dollar, text)
    if has("%VAR%"):
        text = _PERCENT.sub(lambda match: f"${{{match['name']}}}" if variables(match["name"]) else match[0], text)
    return text


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
