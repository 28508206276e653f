"""Pages of the reference that mkdocstrings fills: one for each part of the package that has public names."""

from __future__ import annotations

import ast
from pathlib import Path

import jackfield

PACKAGE = Path(jackfield.__file__).parent

_TITLES = {
    "manager": "Manager",
    "session": "Sessions",
    "config": "Configurations",
    "toolkit": "Toolkits",
    "router": "Router",
    "catalog": "Catalog",
    "errors": "Error classes",
    "events": "Event classes",
}
"""In the order of the navigation; parts that are not named here come behind."""


_OPTIONS = dict.fromkeys(
    ("jackfield.Session", "jackfield.SessionManager"), "\n    options:\n      inherited_members: true"
)
"""Of classes whose bases have no page of their own."""


def api_pages() -> dict[str, str]:
    """Their names, without ending, and their texts."""
    parts: dict[str, list[tuple[bool, str]]] = {part: [] for part in _TITLES}
    for home, names in jackfield._HOMES.items():
        part, _, module = home.partition(".")
        # What a part is named for comes first.
        parts.setdefault(part, []).extend((module != part, f"jackfield.{name}") for name in names)
    pages = {
        part: _page(_TITLES.get(part, part.capitalize()), _about(part), [name for _, name in sorted(names)])
        for part, names in parts.items()
        if names
    }
    for module in public_modules():
        names = [f"jackfield.{module}.{name}" for name in _exported(_path(module))]
        pages[f"jackfield.{module}"] = _page(f"jackfield.{module}", _about(module), names)
    return pages


def public_modules() -> list[str]:
    """Modules and packages beside `jackfield` itself that users import from."""
    names = [path.stem for path in PACKAGE.glob("[a-z]*.py")] + [
        path.parent.name for path in PACKAGE.glob("*/__init__.py")
    ]
    return [name for name in sorted(names) if _exported(_path(name))]


def _path(part: str) -> Path:
    """The file with its docstring and its `__all__`."""
    module = PACKAGE / f"{part}.py"
    return module if module.exists() else PACKAGE / part / "__init__.py"


def _exported(path: Path) -> list[str]:
    """What a module lists in `__all__`, without importing it: its framework may not be installed."""
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Assign) and any(
            isinstance(name, ast.Name) and name.id == "__all__" for name in node.targets
        ):
            return sorted(ast.literal_eval(node.value))
    return []


def _about(part: str) -> str:
    """The first line of its docstring."""
    docstring = ast.get_docstring(ast.parse(_path(part).read_text())) or ""
    return docstring.partition("\n\n")[0]


def _page(title: str, about: str, names: list[str]) -> str:
    # The root of the errors is told of on the page with their table.
    shown = [name for name in names if name != "jackfield.JackfieldError"]
    return "\n\n".join([f"# {title}", about, *(f"::: {name}{_OPTIONS.get(name, '')}" for name in shown)]) + "\n"
