"""`${VAR}`, `${VAR:-default}` and `${env:VAR}` in configuration values.

An expanded value is as secret as the variable it came from, so it keeps its template: `repr` and
dumps show `${VAR}`, only the transport sees the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from ..masking import MASK

_REFERENCE = re.compile(r"(?P<literal>\$\$\{)|\$\{(?P<body>[^{}]*)\}")
_VARIABLE = re.compile(r"(?:env:)?(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<rest>:-(?P<default>.*))?", re.DOTALL)


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
        ExpansionError: A variable is not set and has no default, or the reference is not understood.
    """

    def replace(match: re.Match[str]) -> str:
        if match["literal"]:
            return "${"
        body = match["body"]
        if folders and body in folders:
            return folders[body]
        variable = _VARIABLE.fullmatch(body)
        if variable is None:
            kind = "asks the user, which a library cannot" if body.startswith("input:") else "is not understood"
            raise ExpansionError(f"{match[0]} {kind}", "Use ${VAR}, ${VAR:-default} or ${env:VAR}.")
        value = variables.get(variable["name"])
        # As in a shell, `:-` also replaces a variable that is set but empty.
        if variable["rest"] is not None and not value:
            return variable["default"]
        if value is None:
            name = variable["name"]
            raise ExpansionError(
                f"the environment variable {name} is not set",
                f"Set it before you start, or give a default: ${{{name}:-default}}.",
            )
        return value

    value = _REFERENCE.sub(replace, text)
    return Expanded(value, text) if value != text else text


def shown(value: str | Path) -> str:
    """The value, or its template where `${VAR}` was expanded in it."""
    return value.template if isinstance(value, Expanded | ExpandedPath) else str(value)


def text_of(value: object) -> str | None:
    """A variable's or header's value: numbers become text as they would in a shell. `None` for any other kind."""
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else None
