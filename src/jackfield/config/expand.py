"""`${VAR}`, `${VAR:-default}` and `${env:VAR}` in configuration values.

An expanded value is as secret as the variable it came from, so it keeps its template: `repr` and
dumps show `${VAR}`, only the transport sees the value.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$\{(?P<body>[^{}]*)\}")
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
        if match.start() > 0 and text[match.start() - 1] == "$":
            return match[0]
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

    value = _REFERENCE.sub(replace, text).replace("$${", "${")
    return Expanded(value, text) if value != text else text
