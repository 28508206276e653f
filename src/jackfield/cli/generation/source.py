"""Python source that holds other people's text: names, string literals and docstrings that nothing can break out of."""

from __future__ import annotations

import keyword
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

_T = TypeVar("_T")

COLUMNS = 88
"""The usual width of Python source."""

_AMBIGUOUS = {"l", "O", "I"}
"""Names that linters refuse, since they look like digits."""
_CODING = re.compile(r"(coding)([:=])")
"""Source: PEP 263."""
_HALVES = re.compile("[\ud800-\udfff]")
_LAST_QUOTE = re.compile(r'(?<!\\)((?:\\\\)*)"$')
"""One at the end that is not escaped."""


def quoted(text: str) -> str:
    """A text as a string literal, in double quotes where that needs no more escapes."""
    escaped = repr("'\"" + text)[4:-1]  # with both quotes in it, `repr` escapes the single ones alone
    if '"' in text and "'" not in text:
        return f"'{escaped}'"
    escaped = escaped.replace("\\'", "'").replace('"', '\\"')
    return f'"{escaped}"'


def literal(value: str | int | bool | None) -> str:
    """A plain value as a literal."""
    return quoted(value) if isinstance(value, str) else repr(value)


def docstring(text: str, indent: str = "") -> list[str]:
    """The lines of a docstring, wrapped; none if there is no text."""
    lines = _escaped_lines(text, COLUMNS - len(indent))
    if not lines:
        return []
    lines[-1] = _LAST_QUOTE.sub(r"\1\"", lines[-1])
    if len(lines) == 1 and len(indent) + len(lines[0]) + 6 <= COLUMNS:
        return [f'{indent}"""{lines[0]}"""']
    return [f'{indent}"""{lines[0]}', *(f"{indent}{line}" if line else "" for line in lines[1:]), f'{indent}"""']


def _escaped_lines(text: str, width: int) -> list[str]:
    text = text.replace("\r\n", "\n").replace("\t", "    ").strip()
    text = text.replace("\\", "\\\\").replace('"""', r"\"\"\"")
    # Half of a pair, which no docstring of a class may hold, is written out.
    text = _HALVES.sub(lambda match: f"\\\\u{ord(match[0]):x}", text)
    text = "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in text)
    lines: list[str] = []
    for line in text.split("\n"):
        margin = line[: len(line) - len(line.lstrip())]
        wrapped = textwrap.wrap(
            line, max(width, 40), subsequent_indent=margin, break_long_words=False, break_on_hyphens=False
        )
        lines += wrapped or [""]
    return lines if any(lines) else []


def comment(text: str) -> str:
    """A text as what stands behind `#`, on one line.

    In the first two lines of a file, `coding: NAME` says how Python decodes all of it, with code in what was text.
    """
    text = "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)
    return _CODING.sub(lambda match: f"{match[1]}\\x{ord(match[2]):02x}", text)


def name_of(text: str, fallback: str) -> str:
    """The Python name that is most like a text.

    Args:
        text: Anything.
        fallback: Begins the name where the text does not begin like one.
    """
    # Python reads names in this form: two texts that it takes for one name must become one name here.
    text = unicodedata.normalize("NFKC", text)
    name = "".join(char if f"a{char}".isidentifier() else "_" for char in text)
    name = unicodedata.normalize("NFKC", name.strip("_"))
    if not name.isidentifier():
        name = f"{fallback}_{name}" if f"{fallback}_{name}".isidentifier() and name else fallback
    return f"{name}_" if keyword.iskeyword(name) or name in _AMBIGUOUS else name


def class_name_of(*texts: str) -> str:
    """The name of a class that is most like some texts, one behind the other."""
    words = [word for text in texts for word in re.split(r"[\W_]+", unicodedata.normalize("NFKC", text)) if word]
    return name_of("".join(word[:1].upper() + word[1:] for word in words), "Model")


class Names:
    """The names of one scope, each given once.

    Args:
        reserved: What has another meaning there.
        joint: Stands between a name and the number that makes another one of it.
    """

    def __init__(self, reserved: Iterable[str] = (), joint: str = "_") -> None:
        self._taken = set(reserved)
        self._joint = joint

    def take(self, wanted: str) -> str:
        """The name, or if it is taken one like it."""
        name, number = wanted, 1
        while name in self._taken:
            number += 1
            name = f"{wanted}{self._joint}{number}"
        self._taken.add(name)
        return name

    def has(self, name: str) -> bool:
        """Whether it was given, or is reserved."""
        return name in self._taken

    def give_back(self, name: str) -> None:
        """Let a name be given again."""
        self._taken.discard(name)


def named(items: Sequence[_T], text_of: Callable[[_T], str], fallback: str, names: Names) -> list[str]:
    """A name for each item; those whose text is a name already are asked first, and keep it."""
    wanted = [name_of(text_of(item), fallback) for item in items]
    order = sorted(range(len(items)), key=lambda index: wanted[index] != text_of(items[index]))
    given = {index: names.take(wanted[index]) for index in order}
    return [given[index] for index in range(len(items))]
