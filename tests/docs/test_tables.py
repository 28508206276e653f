"""The tables of the docs say what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import jackfield
from jackfield import Event, JackfieldError, MCPClientSessionManager, SessionConfig
from jackfield.catalog import ranking, search, words

DOCS = Path(__file__).parents[2] / "docs"


def test_every_session_setting_is_documented_with_its_default() -> None:
    page = (DOCS / "configuration.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\w.]+) \| `MCP_SESSION_", page, re.MULTILINE))
    assert list(rows) == list(SessionConfig.model_fields)
    for name, default in SessionConfig().model_dump().items():
        is_short = isinstance(default, float | int) and default < 1e5
        expected = "none" if default is None else f"{default:g}" if is_short else str(default)
        assert rows[name] == ("off" if default is False else expected)


def test_every_error_is_documented_with_its_code() -> None:
    page = (DOCS / "sessions.md").read_text()
    errors = [error for name in jackfield.__all__ if isinstance(error := getattr(jackfield, name), type)]
    for error in errors:
        if issubclass(error, JackfieldError) and error is not JackfieldError:
            assert f"| `{error.__name__}` | `{error.code}` |" in page


def test_every_event_is_documented() -> None:
    page = (DOCS / "sessions.md").read_text()
    for name in jackfield.__all__:
        event = getattr(jackfield, name)
        if isinstance(event, type) and issubclass(event, Event) and event is not Event:
            assert f"`{name}`" in page


def test_every_public_name_of_a_manager_is_documented() -> None:
    """What only the layers above use is in `inside`, which the reference leaves out."""
    pages = "".join(page.read_text() for page in DOCS.rglob("*.md"))
    names = {name for name in dir(MCPClientSessionManager) if not name.startswith("_")} - {"inside"}
    assert {name for name in names if not re.search(rf"[.`]{name}\b", pages)} == set()


def test_the_weights_of_ranking_are_those_in_use() -> None:
    page = (DOCS / "explanation" / "ranking.md").read_text()
    weights = [float(weight) for weight in re.findall(r"^ +\| [\w' ]+ \| ([\d.]+) \|$", page, re.MULTILINE)]
    assert weights == sorted((field.weight for field in ranking.TOOL_FIELDS.values()), reverse=True)
    assert f"counts {ranking.SERVER_SHARE:g} of the match with the tool" in page
    assert (
        f"everyday synonym counts {ranking.SYNONYM_SHARE:g} of the word, a word of the same subject "
        f"{ranking.RELATED_SHARE:g} ({ranking.RELATED_INSTEAD_SHARE:g} if no tool has the word), one with the same "
        f"beginning {ranking.START_SHARE:g}, one with a wrong letter {ranking.TYPO_SHARE:g}."
    ) in " ".join(page.split())
    assert f"count {words.TALK_WORTH:g} or {words.GENERAL_WORTH:g}" in page
    assert f"{search.WEAK_BELOW:g} (with an embedder {search.WEAK_BELOW_WITH_MEANING:g})" in page
