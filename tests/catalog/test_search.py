"""Ranking and search: rules that must hold, and the floors on data."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from benchmarks.routing.evaluate import DATA_OF_OURS, SHARED_DATA, evaluate, load_set
from hypothesis import given
from hypothesis import strategies as st

from jackfield import ToolEntry
from jackfield.catalog.ranking import WordIndex, asked_words, words
from jackfield.catalog.search import ServerEntry, ToolSearch
from jackfield.errors import normal

SERVERS = [
    ServerEntry(
        "files",
        "Reads and writes files",
        [
            ToolEntry("files", "read_file", "Read a file's text.", input_schema={"properties": {"path": {}}}),
            ToolEntry("files", "write_file", "Write text to a file.", input_schema={"properties": {"path": {}}}),
            ToolEntry("files", "listDirectory", "List what is in a folder."),
        ],
    ),
    ServerEntry(
        "weather",
        "Weather service",
        [ToolEntry("weather", "get-forecast", "Forecast for a city.", input_schema={"properties": {"city": {}}})],
    ),
    ServerEntry("必应", "搜索工具", [ToolEntry("必应", "bing_search", "使用必应搜索指定的关键词")]),
]
SEARCH = ToolSearch(SERVERS)


def found(query: str, **options: object) -> list[str]:
    return [hit.tool.reference for hit in SEARCH.find(query, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("getUserID", ("get", "user", "id")),
        ("read_file-now.please", ("read", "file", "now")),
        ("HTTPServer2", ("http", "server", "2")),
        ("the files of the user", ("file", "user")),
        ("搜索关键词", ("搜索", "索关", "关键", "键词")),
        ("\uff21\uff42\uff43", ("abc",)),
        ("", ()),
    ],
)
def test_words(text: str, split: tuple[str, ...]) -> None:
    assert words(text) == split


def test_paths_and_addresses_count_as_what_they_are() -> None:
    assert asked_words("open /root/reports/weather.md") == ["open", "file", "md"]
    assert asked_words("fetch https://example.org/weather/paris") == ["fetch", "url"]
    assert asked_words("and/or, e.g. this") == ["e", "g"]


@pytest.mark.parametrize("query", ["read_file", "files.read_file", "readFile", "READ FILE", "files/read-file"])
def test_a_name_in_any_spelling_comes_first(query: str) -> None:
    hits = SEARCH.find(query)
    assert hits[0].tool.reference == "files.read_file"
    assert hits[0].score == 1.0


def test_words_synonyms_typos_and_other_scripts() -> None:
    assert found("save some text")[0] == "files.write_file"
    assert found("temperature tomorrow in Paris")[0] == "weather.get-forecast"
    assert found("show the directory's content")[0] == "files.listDirectory"
    assert found("forcast")[0] == "weather.get-forecast"
    assert found("搜索")[0] == "必应.bing_search"


def test_nothing_is_better_than_rubbish() -> None:
    assert found("bake a chocolate cake") == []
    assert found("") == []
    assert found("the of and") == []


def test_filter_and_limit() -> None:
    assert found("text of a file", servers=["weather"]) == []
    assert found("write_file", servers=["weather"]) == []
    assert len(found("file", limit=1)) == 1


@given(st.text(max_size=80))
def test_any_query_is_answered(query: str) -> None:
    hits = SEARCH.find(query, 3)
    assert len(hits) <= 3
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert normal(query) == normal(query.upper()) or not query.isascii()


def test_an_empty_index() -> None:
    assert ToolSearch([]).find("anything") == []
    assert WordIndex([], {}).scores(["x"]) == {}


def test_vectors_find_what_words_do_not() -> None:
    vectors = [[1.0, 0.0]] * 3 + [[0.0, 1.0]] + [[1.0, 0.0]]
    search = ToolSearch(SERVERS, vectors)
    assert search.find("umbrella", query_vector=[0.0, 1.0])[0].tool.reference == "weather.get-forecast"


# On data


def test_the_floors_on_our_own_set() -> None:
    figures = evaluate(*load_set(DATA_OF_OURS))
    assert figures.recall[5] >= 0.55
    assert figures.exact == 1.0
    assert figures.abstention_auc is not None
    assert figures.abstention_auc >= 0.60


@pytest.mark.skipif(not SHARED_DATA.exists(), reason=f"the shared routing data is not at {SHARED_DATA}")
def test_the_floors_on_the_shared_set() -> None:
    figures = evaluate(*load_set(SHARED_DATA))
    assert figures.recall[1] >= 0.50
    assert figures.recall[5] >= 0.72
    assert figures.server >= 0.70
    assert figures.exact == 1.0


def test_a_thousand_tools_are_searched_at_once() -> None:
    """A bound far from the measured one (benchmarks/routing): it is an accident that this would catch."""
    tools = [ToolEntry("s", f"tool_{n}", f"does the thing number {n} for file {n % 7}") for n in range(5000)]
    search = ToolSearch([ServerEntry("s", "", tools)])
    started = time.monotonic()
    search.find("do the thing with the file")
    assert time.monotonic() - started < 1
    assert Path(DATA_OF_OURS).exists()
