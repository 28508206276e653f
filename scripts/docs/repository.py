"""Files of the repository as pages, where a page of the docs links to them."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FUNCTION = re.compile(r"^(?:@.*\n|(?:    |\)).*\n)*(?:async )?def (\w+)", re.MULTILINE)

_CODE_OR_WORDS = re.compile(r"^```.*?^```|`[^`\n]*`|\[([^]\n]*)\](?!\()", re.MULTILINE | re.DOTALL)
"""Words in brackets, which mkdocstrings would take for names of ours; and code, in which they stay as they are."""


def shown(path: Path) -> str:
    """Markdown that shows a file or a folder."""
    if path.is_dir():
        names = sorted(child.name for child in path.iterdir() if not child.name.startswith(("_", ".")))
        return "\n".join([_title(path), "", *(f"- `{name}`" for name in names)]) + "\n"
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        return _CODE_OR_WORDS.sub(lambda match: match[0] if match[1] is None else f"&#91;{match[1]}]", text)
    if path.suffix != ".py":
        return f"{_title(path)}\n\n{_code(text, path)}"
    return f"{_title(path)}\n\n" + "\n".join(_by_function(text, path))


def _by_function(text: str, path: Path) -> list[str]:
    """The source with a heading before each function, to which links lead."""
    parts: list[str] = []
    begin = 0
    for match in _FUNCTION.finditer(text):
        parts += [_code(text[begin : match.start()], path), f"## {match[1]}\n"]
        begin = match.start()
    return [*parts, _code(text[begin:], path)]


def _code(text: str, path: Path) -> str:
    return f"`````{path.suffix[1:]}\n{text.strip(chr(10))}\n`````\n" if text.strip() else ""


def _title(path: Path) -> str:
    return f"# {path.relative_to(ROOT)}"
