"""How words are split and documents ranked, against the formula's source and the rules beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jackfield.catalog.ranking import (
    PHRASE_SHARE,
    RELATED_INSTEAD_SHARE,
    RELATED_SHARE,
    SATURATION,
    START_SHARE,
    SYNONYM_SHARE,
    TYPO_SHARE,
    Field,
    NameIndex,
    WordIndex,
    allowed_values,
    joined,
    parameters,
    spelled_out,
)
from jackfield.catalog.words import (
    GENERAL_WORTH,
    TALK_WORTH,
    asked_words,
    related,
    synonyms,
    without_values,
    words,
    worth,
)

PLAIN = {"text": Field(1.0, 0.0)}


def index_of(*texts: str) -> WordIndex:
    """Documents of one field whose length does not matter."""
    return WordIndex([{"text": text} for text in texts], PLAIN)


@pytest.fixture(autouse=True)
def nothing_remembered() -> None:
    """Texts are split anew in each test."""
    words.cache_clear()
    synonyms.cache_clear()


# Words


@pytest.mark.parametrize(
    ("text", "split"),
    [
        ("getUserID", ("get", "user", "id")),
        ("read_file-now.please", ("read", "file", "now")),
        ("HTTPServer2", ("http", "server", "2")),
        ("the files of the user", ("file", "user")),
        ("The THE the", ()),
        ("searching searched searches", ("search", "search", "search")),
        ("搜索关键词", ("搜索", "索关", "关键", "键词")),
        ("搜", ("搜",)),
        ("搜索", ("搜索",)),
        ("Größe", ("gr", "öß", "e")),
        ("привет мир", ("привет", "мир")),
        ("\uff21\uff42\uff43", ("abc",)),
        ("", ()),
    ],
)
def test_words(text: str, split: tuple[str, ...]) -> None:
    assert words(text) == split


@pytest.mark.parametrize(
    ("query", "without"),
    [
        ("open /root/reports/weather.md", ["open", "file", "md"]),
        ("open ./a/b.tar.gz", ["open", "file", "gz"]),
        ("open ~/notes", ["open", "file"]),
        (r"open C:\reports\weather.xlsx", ["open", "file", "xlsx"]),
        ("open weather.md", ["open", "file", "md"]),
        ("fetch https://example.org/weather/paris", ["fetch", "url"]),
        ("fetch http://a.example b", ["fetch", "url", "b"]),
        ("and/or, e.g. this", ["e", "g"]),
        ("weather weather Weather", ["weather"]),
    ],
)
def test_paths_and_addresses_count_as_what_they_are(query: str, without: list[str]) -> None:
    assert asked_words(query) == without


def test_what_stands_beside_a_path_stays_apart_from_it() -> None:
    assert without_values("(/tmp/a.csv)").split() == ["(", "file", "csv", ")"]
    assert without_values("see https://a.example now").split() == ["see", "url", "now"]


def test_synonyms_go_both_ways_and_a_word_is_none_of_its_own() -> None:
    everything = synonyms()
    assert "search" in everything["find"]
    assert "find" in everything["search"]
    assert "folder" in everything["directori"]
    for word, others in everything.items():
        assert word not in others
        assert all(word in everything[other] for other in others)
    assert not any("#" in word for word in everything), "remarks are no words"


# The formula


def by_the_formula(documents: Sequence[Mapping[str, str]], fields: Mapping[str, Field], word: str) -> dict[int, float]:
    """Robertson, Zaragoza (2009), section 3.6, word by word; averages over the documents that have the field."""
    lengths = {name: [len(document.get(name, "").split()) for document in documents] for name in fields}
    frequencies: dict[int, float] = {}
    for number, document in enumerate(documents):
        for name, field in fields.items():
            occurrences = document.get(name, "").split().count(word)
            if not occurrences:
                continue
            filled = [length for length in lengths[name] if length]
            norm = 1 - field.length_share + field.length_share * lengths[name][number] / (sum(filled) / len(filled))
            frequencies[number] = frequencies.get(number, 0.0) + field.weight * occurrences / norm
    idf = math.log(1 + (len(documents) - len(frequencies) + 0.5) / (len(frequencies) + 0.5))
    return {number: idf * tf / (SATURATION + tf) for number, tf in frequencies.items()}


# Words without stems, synonyms and neighbours of one letter.
text = st.lists(st.sampled_from(["zorp", "blick", "quux", "vum"]), max_size=6).map(" ".join)
documents = st.lists(st.fixed_dictionaries({}, optional={"name": text, "about": text}), max_size=5)


@given(documents, st.lists(st.sampled_from(["zorp", "blick", "quux", "grib"]), unique=True))
def test_scores_are_those_of_the_formula(given_documents: list[dict[str, str]], asked: list[str]) -> None:
    fields = {"name": Field(2.0, 0.3), "about": Field(0.5, 0.7)}
    expected: dict[int, float] = {}
    for word in asked:
        for number, score in by_the_formula(given_documents, fields, word).items():
            expected[number] = expected.get(number, 0.0) + score
    index = WordIndex(given_documents, fields)
    assert index.size == len(given_documents)
    assert index.scores(asked) == pytest.approx(expected)


@given(documents, st.lists(st.sampled_from(["zorp", "blick", "quux", "grib"]), unique=True))
def test_the_best_possible_is_that_of_a_document_with_all_words(
    given_documents: list[dict[str, str]], asked: list[str]
) -> None:
    index = WordIndex(given_documents, PLAIN | {"name": Field(1.0, 0.5)})
    best = index.best_possible(asked)
    of_unknown = math.log(1 + (len(given_documents) + 0.5) / 0.5)
    expected = sum(max(index.scores([word]).values(), default=of_unknown) for word in asked)
    assert best == pytest.approx(expected)
    assert all(score <= best + 1e-9 for score in index.scores(asked).values())


def test_an_empty_index() -> None:
    assert WordIndex([], {}).scores(["x"]) == {}
    assert WordIndex([{}], PLAIN).scores(["zorp"]) == {}
    assert WordIndex([], {}).best_possible([]) == 0


# What stands for a word: gold, silver and metal are synonyms, crypto and coin others; none has a stem of its own.


def own_scores(texts: Sequence[str], word: str) -> dict[int, float]:
    """What the word itself, and nothing in its place, is worth in each document."""
    return by_the_formula([{"text": text} for text in texts], PLAIN, word)


def test_a_synonym_counts_as_its_share() -> None:
    texts = ["gold zorp", "blick"]
    assert index_of(*texts).scores(["silver"]) == pytest.approx({0: SYNONYM_SHARE * own_scores(texts, "gold")[0]})


def test_of_several_synonyms_in_a_document_the_best_counts() -> None:
    texts = ["gold metal", "metal", "gold metal metal", "quux"]
    gold, metal = own_scores(texts, "gold"), own_scores(texts, "metal")
    assert gold[0] > metal[0]
    assert index_of(*texts).scores(["silver"]) == pytest.approx(
        {number: SYNONYM_SHARE * max(gold.get(number, 0), metal[number]) for number in (0, 1, 2)}
    )


def test_a_synonym_adds_only_what_it_is_worth_beyond_the_word_itself() -> None:
    texts = ["silver", "silver gold", "gold"] + ["silver"] * 9
    silver, gold = own_scores(texts, "silver"), own_scores(texts, "gold")
    assert SYNONYM_SHARE * gold[1] > silver[1]
    scores = index_of(*texts).scores(["silver"])
    assert scores[0] == pytest.approx(silver[0])
    assert scores[1] == pytest.approx(SYNONYM_SHARE * gold[1])
    assert scores[2] == pytest.approx(SYNONYM_SHARE * gold[2])
    rare = ["silver gold", "gold", "quux"]
    assert index_of(*rare).scores(["silver"])[0] == pytest.approx(own_scores(rare, "silver")[0])


def test_words_that_are_asked_for_do_not_stand_in_for_each_other() -> None:
    texts = ["gold", "silver", "quux"]
    assert index_of(*texts).scores(["gold", "silver"]) == pytest.approx(
        {0: own_scores(texts, "gold")[0], 1: own_scores(texts, "silver")[1]}
    )


def test_what_stands_in_adds_to_what_other_words_score() -> None:
    texts = ["zorp gold", "zorp", "quux"]
    zorp, gold = own_scores(texts, "zorp"), own_scores(texts, "gold")
    assert index_of(*texts).scores(["zorp", "silver"]) == pytest.approx(
        {0: zorp[0] + SYNONYM_SHARE * gold[0], 1: zorp[1]}
    )


@pytest.mark.parametrize("typo", ["xwarbon", "warbo", "warbbon", "wxrbon", "warbno", "arbon", "warbonx"])
def test_a_word_that_no_document_has_finds_those_one_letter_away(typo: str) -> None:
    texts = ["warbon", "zorp"]
    assert index_of(*texts).scores([typo]) == pytest.approx({0: TYPO_SHARE * own_scores(texts, "warbon")[0]})


@pytest.mark.parametrize("other", ["war", "wxrbonxy", "xwarbonx", "nobraw", "zoxpy"])
def test_a_word_further_away_finds_nothing(other: str) -> None:
    assert index_of("warbon", "zorp").scores([other]) == {}


def test_a_short_word_is_not_taken_for_a_typo() -> None:
    assert index_of("vump").scores(["vum"]) == {}
    assert index_of("vump").scores(["xvump"]) == {}, "four letters are too few to be meant"
    assert index_of("xvump").scores(["vump"]) == {}
    assert index_of("xvump").scores(["vvump"]) != {}, "five are enough"


def test_a_word_that_is_there_is_no_typo() -> None:
    assert index_of("zwarbon", "xwarbon").scores(["xwarbon"]).keys() == {1}


@pytest.mark.parametrize("other", ["warbonal", "warbonally", "warbo", "warb"])
def test_words_with_the_same_beginning_stand_for_each_other(other: str) -> None:
    share = TYPO_SHARE if other == "warbo" else START_SHARE
    assert index_of("warbon", "zorp").scores([other]) == pytest.approx(
        {0: share * own_scores(["warbon", "zorp"], "warbon")[0]}
    )
    assert index_of(other, "zorp").scores(["warbon"]).keys() == {0}


@pytest.mark.parametrize("other", ["warx", "warpath", "warbonallyzorps"])
def test_a_beginning_that_is_too_short_says_nothing(other: str) -> None:
    assert index_of("warbon", "zorp").scores([other]) == {}


def test_related_words_count_less_than_synonyms_and_more_where_there_is_no_other() -> None:
    assert "rain" in related()["weather"]
    texts = ["rain zorp", "blick"]
    rain = own_scores(texts, "rain")[0]
    assert index_of(*texts).scores(["humid"]) == pytest.approx({0: RELATED_INSTEAD_SHARE * rain})
    texts = ["rain zorp", "humid"]
    rain = own_scores(texts, "rain")[0]
    assert index_of(*texts).scores(["humid"])[0] == pytest.approx(RELATED_SHARE * rain)


def test_everyday_words_say_little() -> None:
    assert (worth("zorp"), worth(words("please zorp looking")[-1])) == (1.0, TALK_WORTH)
    assert worth("system") == GENERAL_WORTH
    assert index_of("zorp system").scores(["system"]) == pytest.approx(
        {0: GENERAL_WORTH * own_scores(["zorp system"], "system")[0]}
    )
    assert index_of("zorp", "zorp").share_known(["zorp", "grib"]) == 0.5
    assert index_of("zorp").share_known([]) == 1.0


# Phrases and names


def test_neighbouring_words_are_a_phrase_in_fields_that_keep_them() -> None:
    kept = {"text": Field(1.0, 0.0, has_phrases=True)}
    texts = ["zorp blick", "blick zorp", "zorp quux blick"]
    rarity = math.log(1 + (3 - 1 + 0.5) / 1.5)
    index = WordIndex([{"text": text} for text in texts], kept)
    assert index.phrase_scores(["zorp", "blick"]) == pytest.approx({0: PHRASE_SHARE * rarity})
    assert index.phrase_scores(["zorp"]) == {}
    assert index_of(*texts).phrase_scores(["zorp", "blick"]) == {}


def test_a_name_counts_where_the_query_has_two_of_its_words() -> None:
    names = NameIndex([["zorp", "blick", "vum"], ["zorp"], ["quux", "zorp"]], index_of("zorp blick vum quux"))
    assert names.shares(["zorp"]) == {}
    assert names.shares(["zorp", "blick"]) == pytest.approx({0: 2 / 3})
    assert names.shares(["quux", "zorp", "blick", "vum"]) == pytest.approx({0: 1.0, 2: 1.0})


# Texts of tools


def test_parameters_of_nested_objects() -> None:
    schema = {
        "properties": {
            "path": {"description": "Where it is.", "type": "string"},
            "options": {
                "type": "object",
                "properties": {"depth": {"description": "How deep."}, "odd": {"description": 7}},
            },
            "any": True,
        },
    }
    assert list(parameters(schema)) == [
        ("path", "Where it is."),
        ("options", ""),
        ("depth", "How deep."),
        ("odd", ""),
        ("any", ""),
    ]


@pytest.mark.parametrize("schema", [None, True, [], "x", {}, {"properties": None}, {"properties": ["a"]}])
def test_a_schema_of_no_known_shape_has_no_parameters(schema: object) -> None:
    assert list(parameters(schema)) == []


def test_values_of_nested_parameters() -> None:
    unit = {"enum": ["celsius", "kelvin", 3, None]}
    schema = {"properties": {"a": {"items": [unit]}, "b": {"anyOf": [{"properties": {"c": {"enum": ["x"]}}}]}}}
    assert list(allowed_values(schema)) == ["celsius", "kelvin", "x"]
    assert list(allowed_values({"enum": "x", "properties": None})) == []


def test_names_are_spelled_out() -> None:
    assert spelled_out("getUserID") == "get user id"
    assert spelled_out("read_file-now2") == "read file now 2"
    assert spelled_out("") == ""


def test_what_is_there_is_joined() -> None:
    assert joined(["a", None, "", "b"]) == "a b"
    assert joined([]) == ""
