"""Search: what is found by what, in which order, and how well it is said to fit."""

from __future__ import annotations

from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield import ToolEntry
from jackfield.catalog.ranking import SERVER_FIELDS, SERVER_SHARE, TOOL_FIELDS, WordIndex
from jackfield.catalog.search import MEANING_SHARE, WEAK_BELOW, ToolSearch, embedded_texts
from jackfield.catalog.tools import ServerEntry
from jackfield.catalog.words import words
from jackfield.names import normal

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


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Texts are split anew in each test."""
    words.cache_clear()


def found(query: str, **options: object) -> list[str]:
    return [hit.tool.reference for hit in ToolSearch(SERVERS).find(query, **options)]  # type: ignore[arg-type]


@pytest.mark.parametrize("query", ["read_file", "files.read_file", "readFile", "READ FILE", "files/read-file"])
def test_a_name_in_any_spelling_comes_first(query: str) -> None:
    hits = ToolSearch(SERVERS).find(query)
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
    assert found("write_file", servers=["weather", "files"])[0] == "files.write_file"
    assert len(found("file", limit=1)) == 1
    many = ToolSearch([ServerEntry("s", "", [ToolEntry("s", f"zorp_{n}") for n in range(9)])])
    assert len(many.find("zorp")) == 5


def test_a_hint_lifts_a_servers_tools_and_hides_nothing() -> None:
    one = ServerEntry("one", "", [ToolEntry("one", "vum_blick", "Quux vum."), ToolEntry("one", "fnord", "Vum.")])
    many = ServerEntry("Many-Things", "grib", [ToolEntry("Many-Things", f"do_{n}", "Quux vum.") for n in range(9)])
    search = ToolSearch([one, many])
    assert search.find("vum", 3)[0].tool.server_name == "one"
    for hint in ("many_things", "Many-Things", "something for grib"):
        assert search.find("vum", 3, server_hint=hint)[0].tool.server_name == "Many-Things"
        for query in ("vum", "quux vum blick"):
            best = search.find(query)[0].tool
            for limit in (2, 3, 5):
                assert best in [hit.tool for hit in search.find(query, limit, server_hint=hint)], "it may be wrong"
    assert search.find("vum", 3, server_hint="nothing of it") == search.find("vum", 3)
    assert search.find("One.Fnord", server_hint="Many-Things")[0].tool.name == "fnord"
    assert search.find("nowhere", server_hint="one") == []


def test_a_weak_match_is_marked_and_never_hidden() -> None:
    search = ToolSearch(SERVERS)
    assert not search.find("forecast of a city")[0].is_weak
    rare = " ".join(f"zorp{number}blick" for number in range(30))
    (weak, *_) = search.find(f"{rare} city")
    assert weak.tool.name == "get-forecast"
    assert weak.is_weak
    assert 0 < weak.score < WEAK_BELOW


def test_a_match_of_a_verb_alone_is_weak() -> None:
    search = ToolSearch(SERVERS)
    pods = search.find("list pods")
    assert pods
    assert all(hit.is_weak for hit in pods)
    assert pods[0].score > WEAK_BELOW
    for query in ("list directories", "list the content of folders", "read", "listDirectory"):
        assert not search.find(query)[0].is_weak, query


def test_the_last_place_goes_to_another_server_that_matches() -> None:
    many = ServerEntry("many", "", [ToolEntry("many", f"zorp_{number}", "zorp zorp") for number in range(9)])
    other = ServerEntry("other", "", [ToolEntry("other", "blick", "A zorp of another kind.")])
    hits = ToolSearch([many, other]).find("zorp")
    assert [hit.tool.server_name for hit in hits] == ["many"] * 4 + ["other"]
    assert [hit.tool.server_name for hit in ToolSearch([many, other]).find("zorp", 3)] == ["many"] * 3
    assert {hit.tool.server_name for hit in ToolSearch([many, other]).find("zorp", servers=["many"])} == {"many"}


@given(st.text(max_size=80))
def test_any_query_is_answered(query: str) -> None:
    hits = ToolSearch(SERVERS).find(query, 3)
    assert len(hits) <= 3
    assert all(0 <= hit.score <= 1 for hit in hits)
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert normal(query) == normal(query.upper()) or not query.isascii()


def test_an_empty_index() -> None:
    assert ToolSearch([]).find("anything") == []


def test_a_name_that_is_meant_comes_before_what_fits_as_well() -> None:
    other = ToolEntry("s", "zorp_zorp_tool", "zorp tool, zorp")
    meant = ToolEntry("s", "zorp")
    same = ToolEntry("t", "Zorp")
    search = ToolSearch([ServerEntry("s", "zorp zorp", [other, meant]), ServerEntry("t", "", [same])])
    assert [hit.tool for hit in search.find("zorp")] == [meant, other, same]
    assert [hit.tool for hit in search.find("ZORP")] == [meant, same, other], "both, in order, where neither is exact"
    assert [hit.score for hit in search.find("ZORP")][:2] == [1.0, 1.0]
    assert search.find("Zorp")[0].tool is same
    assert search.find("t.zorp")[0].tool is same


# Each part of a tool, and of its server

RICH = ToolEntry(
    "rich",
    "aword",
    "bword",
    title="cword",
    input_schema={
        "properties": {"dword": {"description": "eword"}, "fword": {"description": "gword", "enum": ["nword", 1]}}
    },
)
SERVER_OF_RICH = ServerEntry("rich", "hword", [RICH, ToolEntry("rich", "iword", "jword"), ToolEntry("rich", "kword")])
POOR = ServerEntry("poor", "lword", [ToolEntry("poor", "mword")])


@pytest.mark.parametrize(
    "word", ["aword", "bword", "cword", "dword", "eword", "fword", "gword", "hword", "nword", "rich"]
)
def test_a_tool_is_found_by_each_of_its_parts(word: str) -> None:
    assert RICH in [hit.tool for hit in ToolSearch([POOR, SERVER_OF_RICH]).find(f"{word} please")]


def test_the_score_is_what_tool_and_server_have_of_what_is_possible() -> None:
    tools = WordIndex(
        [
            {"name": "mword", "server": "poor", "about_server": "lword"},
            {
                "name": "aword cword",
                "server": "rich",
                "about_server": "hword",
                "description": "bword",
                "parameters": "dword fword",
                "about_parameters": "eword gword nword",
            },
            {"name": "iword", "server": "rich", "about_server": "hword", "description": "jword"},
            {"name": "kword", "server": "rich", "about_server": "hword"},
        ],
        TOOL_FIELDS,
    )
    servers = WordIndex(
        [
            {"server": "poor", "about_server": "lword", "names": "mword"},
            {"server": "rich", "about_server": "hword", "names": "aword iword kword", "descriptions": "bword jword"},
        ],
        SERVER_FIELDS,
    )
    search = ToolSearch([POOR, SERVER_OF_RICH])
    for asked in [[word] for word in "abcdefghijklm"] + [["a", "m"], ["b", "l", "x"], ["e", "k"], ["h", "l", "i"]]:
        asked_for = [f"{letter}word" for letter in asked]
        best = tools.best_possible(asked_for) + SERVER_SHARE * servers.best_possible(asked_for)
        best /= tools.share_known(asked_for)
        of_servers = servers.scores(asked_for)
        expected = {
            number: (score + SERVER_SHARE * of_servers.get(min(number, 1), 0.0)) / best
            for number, score in tools.scores(asked_for).items()
        }
        hits = search.find(" please ".join([*asked_for, ""]), limit=9)
        assert {search.tools.index(hit.tool): hit.score for hit in hits} == pytest.approx(expected)


# Meaning beside words


VECTORS = [[1.0, 0.0]] * 3 + [[0.0, 1.0]] + [[-1.0, 0.0]]


def test_vectors_find_what_words_do_not() -> None:
    search = ToolSearch(SERVERS, VECTORS)
    assert search.find("umbrella", query_vector=[0.0, 1.0])[0].tool.reference == "weather.get-forecast"


def test_meaning_and_words_add_up() -> None:
    query, vector = "text of a folder", [0.6, 0.8]
    by_words = {hit.tool.reference: hit.score for hit in ToolSearch(SERVERS).find(query, 9)}
    both = ToolSearch(SERVERS, VECTORS).find(query, 9, query_vector=vector)
    likeness = [0.6, 0.6, 0.6, 0.8, -0.6]
    average, spread = fmean(likeness), pstdev(likeness)
    references = [tool.reference for server in SERVERS for tool in server.tools]
    ranks = {
        reference: by_words.get(reference, 0.0) / max(by_words.values())
        + MEANING_SHARE * max(0.0, (alike - average) / spread)
        for reference, alike in zip(references, likeness, strict=True)
    }
    assert [hit.tool.reference for hit in both] == sorted((r for r in ranks if ranks[r]), key=lambda r: -ranks[r])
    for hit in both:
        alike = likeness[references.index(hit.tool.reference)]
        of_server = fmean(
            likeness[references.index(tool.reference)]
            for server in SERVERS
            for tool in server.tools
            if server.name == hit.tool.server_name
        )
        assert hit.score == pytest.approx((by_words.get(hit.tool.reference, 0.0) + alike + max(0.0, of_server)) / 3)
        assert not hit.is_weak


def test_what_neither_words_nor_meaning_match_is_not_found() -> None:
    assert ToolSearch(SERVERS, VECTORS).find("umbrella", query_vector=[0.0, 0.0]) == []


def test_without_vectors_on_both_sides_words_decide() -> None:
    plain = ToolSearch(SERVERS).find("text of a folder")
    assert plain
    assert ToolSearch(SERVERS).find("text of a folder", query_vector=[0.0, 1.0]) == plain
    assert ToolSearch(SERVERS, VECTORS).find("text of a folder") == plain


def test_what_an_embedder_is_given() -> None:
    tool = ToolEntry(
        "webSearch",
        "findPages",
        "d" * 501,
        input_schema={
            "properties": {"pageCount": {"description": "How many."}, "q": {}, "z": {"description": "e" * 400}}
        },
    )
    is_what, takes = embedded_texts(ServerEntry("webSearch", "a" * 101, [tool]), tool)
    assert is_what == f"web search find pages {'d' * 500} {'a' * 100}"
    assert takes == "find pages " + f"page count How many. q z {'e' * 400}"[:400]
    without = ToolEntry("webSearch", "findPages")
    assert set(embedded_texts(ServerEntry("webSearch", "a", [without]), without)) == {"web search find pages a"}


# Entries


def test_an_entry_is_made_of_a_tool_as_it_came_over_the_wire() -> None:
    assert ToolEntry.of(
        "s",
        {
            "name": "t",
            "description": "Does.",
            "title": "T",
            "inputSchema": {"type": "object"},
            "outputSchema": {"type": "array"},
            "annotations": {"readOnlyHint": True},
        },
    ) == ToolEntry("s", "t", "Does.", "T", {"type": "object"}, {"type": "array"}, {"readOnlyHint": True})
    assert ToolEntry.of("s", {"name": "t"}) == ToolEntry("s", "t")
    assert ToolEntry.of("s", {"name": "t", "description": None, "inputSchema": None}) == ToolEntry("s", "t")
