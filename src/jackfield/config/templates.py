"""References in configuration values: `${VAR}`, `${VAR:-default}`, `${env:VAR}`, `${file:/path}` and
`${file:/path#VAR}`; defaults may have references. `notations` rewrites those of other programs as ours.

An expanded value is as secret as the variable it came from, so it keeps its template: `repr` and
dumps show `${VAR}`, only the transport sees the value.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..masking import MASK

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
    raise ExpansionError("a reference that begins with ${ is not closed", "Close it, or write $${ for a literal ${.")


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
        kind = "asks the user, which a library cannot" if name.startswith("input:") else "is not understood"
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
