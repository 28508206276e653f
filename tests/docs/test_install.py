"""Wherever it is said how Jackfield is installed, it is said as it works today."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripts.docs import install


def test_no_page_has_another_command() -> None:
    sources = install.sources()
    other = [path.name for path in sources if (text := path.read_text()) != install.current(text, path)]
    assert other == [], "run python -m scripts.docs.install"


def test_a_release_on_an_index_changes_all_of_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    clone = "`pip install '.[ag2]' 'ag2[openai]'`"
    here = install.current(f"{clone}, or `pip install . openai`; `pip install uvloop`.", page)
    link = here.partition("](")[2].partition(")")[0]
    assert (
        here
        == f"{clone} ([in a clone]({link})), or `pip install . openai` ([in a clone]({link})); `pip install uvloop`."
    )
    monkeypatch.setattr(install, "IS_ON_AN_INDEX", True)
    released = "`pip install 'jackfield[ag2]' 'ag2[openai]'`, or `pip install jackfield openai`; `pip install uvloop`."
    assert install.current(here, page) == released
