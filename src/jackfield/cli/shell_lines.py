"""The lines of `jackfield shell`: their ends and their meaning. Pure."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Collection

from .conversion import loads
from .exits import UsageError

_JSON_CALL = re.compile(r"\s*(?:call\s+)?(?P<tool>[^\s{]+)\s+(?P<json>\{.*)", re.DOTALL)

_EXPRESSION = re.compile(r"\s*(?:call\s+)?(?P<call>[^\s({]+\(.*)", re.DOTALL)

PROMPT = "jackfield> "
CONTINUED = "       ... "
LEAVE = frozenset({"exit", "quit"})
HELP = "help"


def is_complete(text: str, commands: Collection[str]) -> bool:
    """Whether a line is complete; an empty line ends an incomplete one."""
    _, newline, last = text.rpartition("\n")
    if newline and not last.strip():
        return True
    if (match := _json_call(text, commands)) is not None:
        return not _goes_on(match["json"])
    if (match := _EXPRESSION.fullmatch(text)) is not None:
        return not _goes_on(match["call"][match["call"].index("(") :])
    try:
        shlex.split(text)
    except ValueError:  # within quotes, or behind a backslash
        return False
    return True


def arguments_of(line: str, commands: Collection[str]) -> list[str]:
    """The arguments of `jackfield` that a line stands for; none for an empty one, or a comment.

    `server.tool key=value`, `server.tool {"key": ...}` and `server.tool(key: ...)` are calls; what begins with a
    command is that command.

    Args:
        line: The line.
        commands: The names of the commands.

    Raises:
        UsageError: It ends within quotes.
    """
    if not line.strip() or line.lstrip().startswith("#"):
        return []
    if (match := _json_call(line, commands)) is not None:
        end = _end_of_json(match["json"])
        return ["call", match["tool"], "--args", match["json"][:end].rstrip(), *_words(match["json"][end:])]
    if (match := _EXPRESSION.fullmatch(line)) is not None and match["call"].rstrip().endswith(")"):
        return ["call", match["call"].strip()]
    words = _words(line)
    if not words or words[0] in commands or words[0].startswith("-"):
        return words
    return ["call", *words]


def _json_call(text: str, commands: Collection[str]) -> re.Match[str] | None:
    match = _JSON_CALL.fullmatch(text)
    return None if match is None or match["tool"] in commands else match


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        problem = str(error).lower()
        raise UsageError(f"The line ends too early: {problem}.", hint="Quote it as for a shell.") from None


def _end_of_json(text: str) -> int:
    """The end of the JSON value at the beginning; invalid JSON is returned whole, to be reported as such."""
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return len(text)
    return end


def _goes_on(text: str) -> bool:
    """Whether a JSON object, or a call's parentheses, are still open at the end of the text."""
    try:
        loads(text)
    except ValueError:
        pass
    else:
        return False
    depth, in_string, escaped = 0, False, False
    for char in text:
        if in_string:
            in_string = escaped or char != '"'
            escaped = not escaped and char == "\\"
        elif char == '"':
            in_string = True
        elif char in "{[(":
            depth += 1
        elif char in "}])":
            depth -= 1
            if depth <= 0:
                return False
    return True
