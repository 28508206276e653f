"""Arguments as they stand on the command line: `key=text`, `key:=json`, `key=@file`, `--args JSON`, `-` (stdin).

`key:text` is `key=text`, and so is `key: text` in two words.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from .conversion import loads
from .exits import UsageError

_OPTIONS = [
    "--args", "--config", "--dry-run", "--header", "--help", "--http", "--json", "--key", "--no-color", "--output",
    "--quiet", "--save", "--sse", "--stdio", "--timeout", "--verbose",
]  # fmt: skip

_COLON = re.compile(r"([\w$.@-]+):(?!=)")
_COLON_BEFORE_URL = re.compile(r"[\w$.@-]+:[A-Za-z][A-Za-z0-9+.-]*://")
"""Before a `=`, a colon belongs to the name: `xml:lang=de`; but not in `url:https://example.org/?q=x`."""
_NAME_ALONE = re.compile(r"[A-Za-z_$][\w$.@-]*:")

_LIKE = 0.75
"""How much like an option a word with dashes must be to be taken for a misspelt one, and not for an argument."""


@dataclass
class Given:
    """Arguments by name, as given."""

    texts: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    """Arguments given as `key=text`, converted to the type that the schema expects; several texts if repeated."""
    values: dict[str, Any] = field(default_factory=dict[str, Any])
    """Arguments that already have a type, given by `key:=json` or `--args`."""
    positional: list[Any] = field(default_factory=list[Any])
    """Values without a name, which are those of the first parameters; only expressions have them."""

    def __bool__(self) -> bool:
        return bool(self.texts or self.values or self.positional)


def read_words(words: Sequence[str], args: str | None = None, *, read_stdin: Callable[[], str] | None = None) -> Given:
    """Read the arguments.

    Args:
        words: The words after the tool's name.
        args: The value of `--args`: a JSON object, or `@` and the name of a file that has one.
        read_stdin: Gives what is on stdin; reads this process's own if omitted.

    Raises:
        UsageError: An argument is invalid, or a file cannot be read.
    """
    stdin = _Stdin(read_stdin or _read_stdin)
    given = Given()
    for source, text in _objects(words, args, stdin):
        for name, value in _object(source, text).items():
            if name in given.values:
                raise UsageError(f"Argument {name!r} is given twice, in --args and on stdin.")
            given.values[name] = value
    rest = iter(words)
    for word in rest:
        if word != "-":
            text = next(rest, "") if _NAME_ALONE.fullmatch(word) else ""
            _read_word(word + text, given, stdin)
    return given


def _objects(words: Sequence[str], args: str | None, stdin: _Stdin) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    if args is not None:
        is_file = args.startswith("@")
        found.append((f"--args {args}" if is_file else "--args", _file("--args", args[1:], stdin) if is_file else args))
    if "-" in words:
        found.append(("stdin", stdin.read("-")))
    return found


def _object(source: str, text: str) -> Mapping[str, Any]:
    import json

    hint = """Write an object, such as '{"query": "coral", "limit": 5}'."""
    if not text.strip():
        raise UsageError(f"{source}: it is empty; expected a JSON object of arguments.", hint=hint)
    try:
        value = loads(text)
    except json.JSONDecodeError as error:
        raise UsageError(f"{source}: line {error.lineno}, column {error.colno}: {error.msg}.", hint=hint) from None
    except ValueError as error:
        raise UsageError(f"{source}: {error}.", hint=hint) from None
    if not isinstance(value, dict):
        raise UsageError(f"{source}: arguments must be a JSON object, not {_json_kind(value)}.", hint=hint)
    return cast("dict[str, Any]", value)


def _json_kind(value: object) -> str:
    kinds: list[tuple[type, str]] = [
        (bool, "true or false"),
        (str, "a string"),
        (list, "an array"),
        (object, "a number"),
    ]
    return "null" if value is None else next(name for kind, name in kinds if isinstance(value, kind))


def _read_word(word: str, given: Given, stdin: _Stdin) -> None:
    name, equals, text = word.partition("=")
    if (short := _COLON.match(word)) is not None and (not equals or _COLON_BEFORE_URL.match(word)):
        name, equals, text = short[1], ":", word[short.end() :]
    if word.startswith("-"):
        option = name.partition(":")[0]
        import difflib

        close = difflib.get_close_matches(option, _OPTIONS, 1, _LIKE)
        hint = f"Arguments of a tool are written {option.lstrip('-') or 'key'}=VALUE, without dashes."
        raise UsageError(f"No such option: {option}.", hint=f"Did you mean {close[0]}?" if close else hint)
    is_json = name.endswith(":")
    name = name.removesuffix(":") if is_json else name
    if not equals or not name:
        raise UsageError(f"{word!r} has no name.", hint="Write key=text, key:=json, key=@file, or --args JSON.")
    if name in given.values or (is_json and name in given.texts):
        raise UsageError(
            f"Argument {name!r} is given twice.",
            hint=f"An array is given as {name}:='[1, 2]', or by repeating {name}=value.",
        )
    source = f"Argument {name!r}"
    if text.startswith("@"):
        text = _file(source, text[1:], stdin)
    if is_json:
        given.values[name] = _json_value(source, text)
    else:
        given.texts.setdefault(name, []).append(text)


def _json_value(source: str, text: str) -> Any:
    import json

    try:
        return loads(text)
    except json.JSONDecodeError as error:
        where = f"character {error.pos + 1}" if "\n" not in text else f"line {error.lineno}, column {error.colno}"
        problem = f"{error.msg} at {where}"
    except ValueError as error:
        problem = str(error)
    raise UsageError(
        f"{source}: the text after := is not JSON ({problem}).", hint="Text is written key=text, or key:='\"text\"'."
    )


def _file(source: str, name: str, stdin: _Stdin) -> str:
    if name == "-":
        return stdin.read("@-")
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{source}: the file {name!r} is not UTF-8 text.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(
            f"{source}: the file {name!r} cannot be read ({reason}).",
            hint="Text that starts with @ is written key:='\"@text\"'.",
        ) from None


class _Stdin:
    """Stdin, which can be read only once."""

    def __init__(self, read: Callable[[], str]) -> None:
        self._read = read
        self._reader: str | None = None

    def read(self, reader: str) -> str:
        if self._reader is not None:
            raise UsageError(
                f"Stdin is requested twice, by {self._reader} and by {reader}.", hint="Use a file for one."
            )
        self._reader = reader
        return self._read()


def _read_stdin() -> str:
    stream = getattr(sys, "stdin", None)
    if stream is None:
        raise UsageError("Stdin is closed, so the arguments cannot be read from it.")
    try:
        return stream.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UsageError("Stdin is not UTF-8 text.") from None
    except OSError as error:
        raise UsageError(f"Stdin cannot be read ({error.strerror}).") from None
