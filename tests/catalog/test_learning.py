"""What was called after which words lifts tools; it ages, is bounded, private, and can be turned off."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from pathlib import Path

import pytest
from benchmarks.routing.evaluate import SHARED_DATA, all_sets

from jackfield import ToolEntry
from jackfield.catalog.learning import Learned
from jackfield.catalog.search import ToolSearch
from jackfield.catalog.tools import ServerEntry

TOOLS = ToolSearch([ServerEntry("s", "", [ToolEntry("s", name) for name in ("zorp", "blick", "quux")])])


@pytest.fixture
def learned(tmp_path: Path) -> Learned:
    return Learned(tmp_path / "folder" / "learned.json")


def found(query: str, learned: Learned) -> list[str]:
    return [hit.tool.name for hit in TOOLS.find(query, learned=learned)]


def test_a_tool_that_served_similar_words_is_lifted(learned: Learned, tmp_path: Path) -> None:
    assert found("jot something down", learned) == []
    learned.learn(["jot a remark down"], "s.blick")
    assert found("jot something down", learned) == ["blick"]
    assert found("zorp, and jot it down", Learned(tmp_path / "folder" / "learned.json")) == ["zorp", "blick"]
    assert found("please help", learned) == []
    learned.learn(["jot a remark down"], "gone.tool")
    assert found("jot", learned) == ["blick"], "what is not there any more is not found"


def test_what_served_before_is_no_weak_match(learned: Learned) -> None:
    learned.learn(["jot a remark down"], "s.blick")
    for query, is_weak in (
        ("remark", False),
        ("remark of winter", False),
        ("one remark: snow, frost and winter", True),
    ):
        (hit,) = TOOLS.find(query, learned=learned)
        assert (hit.tool.name, hit.is_weak) == ("blick", is_weak), query


def test_an_exact_name_is_never_pushed_down(learned: Learned) -> None:
    for _ in range(30):
        learned.learn(["zorp"], "s.blick")
    assert found("zorp", learned) == ["zorp", "blick"]
    assert found("S.Zorp", learned)[0] == "zorp"


def test_a_word_that_led_to_many_tools_says_less(learned: Learned) -> None:
    learned.learn(["jot"], "s.blick")
    (alone,) = learned.shares(["jot"]).values()
    learned.learn(["jot"], "s.quux")
    shares = learned.shares(["jot", "remark"])
    assert shares == {"s.blick": pytest.approx(shares["s.quux"]), "s.quux": shares["s.quux"]}
    assert shares["s.blick"] < alone / 2


def test_counts_age_and_are_bounded(learned: Learned, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    learned.learn(["jot"], "s.blick")
    now, months = time.time(), 3 * 30 * 24 * 3600
    (before,) = learned.shares(["jot"]).values()
    monkeypatch.setattr("jackfield.catalog.learning.time.time", lambda: now + months)
    (after,) = learned.shares(["jot"]).values()
    assert after < before / 3
    monkeypatch.setattr("jackfield.catalog.learning._MOST_TOOLS", 3)
    monkeypatch.setattr("jackfield.catalog.learning._MOST_WORDS", 2)
    for number in range(5):
        learned.learn(["gadget widget sprocket"], f"s.tool{number}")
    tools = json.loads((tmp_path / "folder" / "learned.json").read_text())["tools"]
    assert [*tools] == ["s.tool2", "s.tool3", "s.tool4"]
    assert {len(words) for words in tools.values()} == {2}


def test_the_file_is_private_and_has_neither_secrets_nor_paths(learned: Learned, tmp_path: Path) -> None:
    query = "upload /home/ada/salaries.csv, token=ghp_abcdefgh0123 password: hunter for 'Grace Hopper' as ada@x.example"
    query += " and bob@x.org, https://x.org?user=carol"
    learned.learn([query], "s.blick")
    (file,) = [path for path in (tmp_path / "folder").iterdir() if path.suffix == ".json"]
    assert file.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.read_text())["tools"]["s.blick"].keys() == {"upload", "file", "csv", "url"}


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"schema_version": 9}', '{"schema_version": 1, "tools": {"s.blick": {"jot": 3}}}']
)
def test_a_spoilt_file_counts_as_none(learned: Learned, tmp_path: Path, content: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "learned.json").write_text(content)
    assert learned.shares(["jot"]) == {}
    learned.learn(["jot"], "s.blick")
    assert learned.shares(["jot"])


def test_it_can_be_turned_off_and_forgotten(learned: Learned, monkeypatch: pytest.MonkeyPatch) -> None:
    learned.learn(["jot"], "s.blick")
    monkeypatch.setenv("JACKFIELD_LEARN", "0")
    assert found("jot", learned) == []
    learned.learn(["remark"], "s.blick")
    monkeypatch.delenv("JACKFIELD_LEARN")
    assert found("remark", learned) == []
    assert learned.forget()
    assert not learned.forget()
    assert found("jot", learned) == []


def test_where_it_cannot_be_written_nothing_is_learned(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    learned = Learned(tmp_path / "file" / "learned.json")
    learned.learn(["jot"], "s.blick")
    assert learned.shares(["jot"]) == {}


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")
def test_the_first_half_of_each_tasks_queries_teaches_the_second(learned: Learned) -> None:
    """An agent calls the first tool of its task that the search found."""
    agents = next(one for one in all_sets() if one.name == "agents")
    search = ToolSearch(agents.servers)
    tasks: dict[frozenset[str], list[str]] = defaultdict(list)
    for query in agents.queries:
        tasks[query.gold].append(query.text)
    before = after = count = 0
    for gold, queries in tasks.items():
        tools = {name.replace("/", ".", 1) for name in gold}
        for query in queries[: len(queries) // 2]:
            right = [hit.tool.reference for hit in search.find(query) if hit.tool.reference in tools]
            if right:
                learned.learn([query], right[0])
    for gold, queries in tasks.items():
        tools = {name.replace("/", ".", 1) for name in gold}
        for query in queries[len(queries) // 2 :] if len(queries) > 1 else ():
            count += 1
            before += any(hit.tool.reference in tools for hit in search.find(query))
            after += any(hit.tool.reference in tools for hit in search.find(query, learned=learned))
    assert after / count >= before / count + 0.07
