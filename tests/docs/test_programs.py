"""The table of programs in the documentation is the one that files are read by."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

from jackfield.config.discover import sources

ROOT = Path(__file__).parents[2]


def script() -> Any:
    spec = importlib.util.spec_from_file_location("programs", ROOT / "scripts" / "docs" / "programs.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_table_is_current() -> None:
    programs = script()
    text = programs.PAGE.read_text(encoding="utf-8")
    assert text == programs.page(text), "run python scripts/docs/programs.py"


def test_the_files_of_the_table_are_searched_in_its_order(tmp_path: Path) -> None:
    programs = script()
    rows = re.findall(
        r"^\| (?:\[.*?\]\(.*?\)|any program) \| (.*?) \| (.*?) \|", programs.programs_table(), re.MULTILINE
    )
    home, project = tmp_path / "home", tmp_path / "p"
    found = sources(project, {"HOME": str(home)}, "linux")
    searched = [str(one.path).replace(f"{home}/", "~/").replace(f"{project}/", "") for one in found]
    named_only = {
        programs.shown(place.path) for program in programs.PROGRAMS for place in program.places if not place.is_found
    }
    documented = [path for column in (0, 1) for row in rows for path in re.findall(r"(?:^|, )`([^`]+)`", row[column])]
    documented = [path for path in dict.fromkeys(documented) if "*" not in path and path not in named_only]
    first = [path for path in documented if path.startswith(("~/.config/jackfield", "~/.claude", "/", "~/.cursor"))]
    own = [path for path in documented if path.startswith(("~", "/", "%"))]
    expected = [*(path for path in documented if path not in own), *first, *(path for path in own if path not in first)]
    assert list(dict.fromkeys(searched)) == [path for path in expected if "%" not in path]
