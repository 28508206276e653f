"""Tool names: unique, valid, and the same whatever else is there in whatever order."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from jackfield.toolkit.tool_names import MAX_NAME_CHARS, assign_names, clean

# What makes collisions likely: few servers, odd characters, names around the limit.
servers = st.sampled_from(["a", "b", "a_b", "Ä", "x" * 60])
tools = st.one_of(
    st.sampled_from(
        ["t", "a_t", "b_t", "t.x", "t_x", "t/x", "", "y" * 63, "y" * 64, "y" * 65, "y" * 70 + "1", "y" * 70 + "2"]
    ),
    st.text(max_size=80),
)
references = st.lists(st.tuples(servers, tools), unique=True, max_size=12)


@given(references)
def test_names_are_unique_and_valid(given_references: list[tuple[str, str]]) -> None:
    names = assign_names(given_references)
    assert len(set(names)) == len(names)
    for name in names:
        assert re.fullmatch(r"[a-zA-Z0-9_-]{1,64}", name)


@given(references, st.randoms())
def test_the_order_does_not_matter(given_references: list[tuple[str, str]], random: object) -> None:
    first = dict(zip(given_references, assign_names(given_references), strict=True))
    shuffled = list(given_references)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert dict(zip(shuffled, assign_names(shuffled), strict=True)) == first


@given(references)
def test_a_name_that_is_alone_and_valid_stays(given_references: list[tuple[str, str]]) -> None:
    names = assign_names(given_references)
    cleaned = [clean(tool) for _, tool in given_references]
    for (_, tool), name in zip(given_references, names, strict=True):
        prefixed = [clean(f"{server}_{other}") for server, other in given_references]
        if tool == clean(tool) and len(tool) <= MAX_NAME_CHARS and cleaned.count(tool) == 1 and tool not in prefixed:
            assert name == tool


def test_examples() -> None:
    assert assign_names([("s", "search"), ("t", "read")]) == ["search", "read"]
    assert assign_names([("s", "search"), ("t", "search")]) == ["s_search", "t_search"]
    assert assign_names([("s", "a.b")]) == ["a_b"]
    assert assign_names([]) == []
    long = assign_names([("s", "n" * 80)])[0]
    assert len(long) == 64
    assert long.startswith("s_nnn")
    first, second = assign_names([("s", "a.b"), ("s", "a/b")])
    assert first != second
    assert first.startswith("s_a_b_")


def test_names_stay_the_same_from_release_to_release() -> None:
    """Prompts, logs and caches out there hold them."""
    assert assign_names([("s", "n" * 80)]) == ["s_" + "n" * 55 + "_528583"]
    assert assign_names([("s", "a.b"), ("s", "a/b")]) == ["s_a_b_407e8e", "s_a_b_fb3c0e"]


def test_the_limit_itself_is_allowed() -> None:
    at_limit = "n" * MAX_NAME_CHARS
    assert assign_names([("s", at_limit)]) == [at_limit]
    at_limit_with_server = "n" * (MAX_NAME_CHARS - 2)
    assert assign_names([("s", at_limit_with_server), ("t", at_limit_with_server)]) == [
        f"s_{at_limit_with_server}",
        f"t_{at_limit_with_server}",
    ]


def test_a_name_too_long_is_cut_and_told_apart() -> None:
    over = "n" * (MAX_NAME_CHARS + 1)
    (name,) = assign_names([("s", over)])
    assert len(name) == MAX_NAME_CHARS
    assert name.startswith("s_" + "n" * 50)
    assert name != assign_names([("t", over)])[0]


def test_clean() -> None:
    assert clean("Read-File_2") == "Read-File_2"
    assert clean("a.b/c d") == "a_b_c_d"
    assert clean("é\n") == "__"
    assert clean("") == "_"


def test_a_tool_that_is_there_twice_has_one_name() -> None:
    one, again, other = assign_names([("", "read_on"), ("", "read_on"), ("s", "read_on")])
    assert one == again != other
